"""From a package to what runs it."""

from collections.abc import Callable
from pathlib import Path

from seg.inference.backends.combined import EnsembleBackend
from seg.inference.backends.fastest import fastest
from seg.inference.backends.onnx import Backend, OnnxBackend
from seg.inference.backends.openvino import OpenVinoBackend
from seg.inference.backends.ways import Way, ways_of
from seg.model_package import ModelPackage
from seg.names import AskedPrecision, Provider


def load_backend(  # noqa: PLR0913 - all that a user may choose of how a network is run
    package: ModelPackage,
    variant: str | None = None,
    provider: Provider = "auto",
    batch_size: int | None = None,
    threads: int | None = None,
    on_fallback: Callable[[str], None] = lambda reasons: None,
    precision: AskedPrecision = "auto",
) -> Backend:
    """A variant of a package, or all members of its ensemble where none is named.

    Args:
        package: to run.
        variant: of the package.
        provider: what runs it.
        batch_size: patches in a run; None leaves it to the provider.
        threads: CPU threads; None takes all cores of this process.
        on_fallback: is told why a provider that ``auto`` tried does not run it.
        precision: of the arithmetic; ``auto`` is the fastest of which the package knows that it
            loses nothing worth a word, and float32 where it knows nothing.

    Raises:
        PackageError: no variant has that name.
        ConfigError: the precision does not go with the variant or the provider.
        BackendError: a model cannot be loaded, or the provider or the precision is not here.
    """
    card = package.card
    ways = ways_of(card, variant, provider, precision)

    def load(way: Way) -> Backend:
        return load_way(package, way, variant, batch_size, threads)

    return fastest(package, variant, load, ways, threads, on_fallback)


def load_way(
    package: ModelPackage,
    way: Way,
    variant: str | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
) -> Backend:
    """The same, run in just that way.

    Raises:
        BackendError: a model cannot be loaded, or the provider is not here.
    """
    card = package.card
    names = card.members(way.variant or variant)
    members = [_opened(package.model_file(name), way, batch_size, threads) for name in names]
    if len(members) == 1:
        return members[0]
    return EnsembleBackend(members, card.task, card.averaging, card.votes)


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
    return _opened(file, Way(provider, "tf32" if tf32 else "float32"), batch_size, threads)


def _opened(
    file: Path, way: Way, batch_size: int | None, threads: int | None
) -> OnnxBackend | OpenVinoBackend:
    backend: OnnxBackend | OpenVinoBackend
    if way.provider == "openvino":
        backend = OpenVinoBackend(file, threads=threads, bfloat16=way.precision == "bfloat16")
    else:
        backend = OnnxBackend(
            file,
            provider=way.provider,
            batch_size=batch_size,
            threads=threads,
            tf32=way.precision == "tf32",
        )
    if way.provider != "auto":  # then it knows by itself where it runs
        backend.way = way
    return backend
