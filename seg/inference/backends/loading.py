"""From a package to what runs it."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from seg.cuda_driver import cuda_devices
from seg.inference.backends.combined import EnsembleBackend
from seg.inference.backends.fastest import fastest
from seg.inference.backends.onnx import Backend, OnnxBackend
from seg.inference.backends.openvino import OpenVinoBackend
from seg.model_package import ModelPackage
from seg.names import Provider


def load_backend(
    package: ModelPackage,
    variant: str | None = None,
    provider: Provider = "auto",
    batch_size: int | None = None,
    threads: int | None = None,
    on_fallback: Callable[[str], None] = lambda reasons: None,
) -> Backend:
    """A variant of a package, or all members of its ensemble where none is named.

    Args:
        package: to run.
        variant: of the package.
        provider: what runs it.
        batch_size: patches in a run; None leaves it to the provider.
        threads: CPU threads; None takes all cores of this process.
        on_fallback: is told why a provider that ``auto`` tried does not run it.

    Raises:
        PackageError: no variant has that name.
        BackendError: a model cannot be loaded, or the provider is not here.
    """
    names = package.card.members(variant)
    files = {package.model_file(name): package.card.variant(name) for name in names}

    def load(name: Provider) -> Backend:
        members = [
            open_model(file, name, batch_size, threads, tf32=member.precision == "tf32")
            for file, member in files.items()
        ]
        return (
            members[0]
            if len(members) == 1
            else EnsembleBackend(
                members, package.card.task, package.card.averaging, package.card.votes
            )
        )

    if provider != "auto":
        return load(provider)
    return fastest(package, variant, load, _candidates(), threads, on_fallback)


def open_model(
    file: Path,
    provider: Provider = "auto",
    batch_size: int | None = None,
    threads: int | None = None,
    *,
    tf32: bool = False,
) -> Backend:
    """One ONNX file; ``auto`` is a CUDA device where there is one, else onnxruntime's CPU.

    Raises:
        BackendError: the model cannot be loaded, or the provider is not here.
    """
    if provider == "openvino":
        return OpenVinoBackend(file, threads=threads)
    return OnnxBackend(file, provider=provider, batch_size=batch_size, threads=threads, tf32=tf32)


def _candidates() -> list[Provider]:
    found: list[Provider] = ["cuda"] if cuda_devices() else []
    found.append("cpu")
    if find_spec("openvino"):
        found.append("openvino")
    return found
