"""From a package to what runs it."""

from typing import Literal

from seg.inference.backends import Backend, OnnxBackend
from seg.inference.combined import EnsembleBackend
from seg.model_package import ModelPackage

Provider = Literal["auto", "cpu", "cuda"]


def load_backend(
    package: ModelPackage,
    variant: str | None = None,
    provider: Provider = "auto",
    batch_size: int | None = None,
) -> Backend:
    """A variant of a package, or all members of its ensemble where none is named.

    Raises:
        PackageError: no variant has that name.
        BackendError: a model cannot be loaded, or the provider is not here.
    """
    card = package.card
    members = [
        OnnxBackend(package.model_file(name), provider=provider, batch_size=batch_size)
        for name in card.members(variant)
    ]
    return members[0] if len(members) == 1 else EnsembleBackend(members, card.task)
