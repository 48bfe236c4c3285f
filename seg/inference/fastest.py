"""Which backend runs a package fastest on this machine, asked once and then remembered."""

import json
import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from seg.errors import BackendError
from seg.files import replace_file
from seg.inference.backends import Backend, cache_folder, cores, cuda_devices
from seg.inference.golden import agreement
from seg.model_package import GoldenSamples, ModelPackage
from seg.version import version_of

LOGGER = logging.getLogger(__name__)

SECONDS = 0.3
"""At least so long each backend is timed, after one run for warming up."""
Name = TypeVar("Name", bound=str)
"""Of a provider."""

LIBRARIES = ("seg", "onnxruntime", "onnxruntime-gpu", "openvino")


def fastest(
    package: ModelPackage,
    variant: str | None,
    load: Callable[[Name], Backend],
    candidates: Sequence[Name],
    threads: int | None = None,
) -> Backend:
    """The backend that runs the package's golden patches fastest, of those that agree with them.

    The choice is kept in ``cache_folder()`` under the package, the machine and the versions. A
    CUDA device is taken without timing the CPU.

    Args:
        package: with golden samples.
        variant: to run; None is what the package runs by itself.
        load: opens the package with a provider.
        candidates: providers to try.
        threads: on which the CPU's backends run.

    Raises:
        BackendError: none of them can be loaded and agrees.
    """
    file = cache_folder() / "backends" / f"{_key(package, variant, candidates, threads)}.json"
    known = _remembered(file)
    for name in candidates:
        if name == known:
            try:
                return load(name)
            except BackendError:
                LOGGER.info("%s was the fastest before and cannot be loaded now", known)
    golden = package.golden(variant)
    if not package.has_golden(variant):  # a variant without its own: all must say the same
        golden = GoldenSamples(golden.patches, _reference(load(candidates[0]), golden))
    backend: Backend | None = None
    speeds: dict[Name, float] = {}
    reasons: list[str] = []
    for name in candidates:
        backend = None  # before the next is loaded: two at a time need twice the memory
        try:
            backend = load(name)
            agreement(backend, golden, package.card.task, package.card.tolerance(variant))
        except BackendError as error:
            reasons.append(f"{name}: {error}")
            continue
        if name == "cuda" or len(candidates) == 1:
            speeds[name] = np.inf
            break
        speeds[name] = patches_a_second(backend, golden.patches)
    if not speeds:
        raise BackendError("no backend runs this package here; " + "; ".join(reasons))
    chosen = max(speeds, key=lambda name: speeds[name])
    LOGGER.info("%s is the fastest here, patches a second: %s", chosen, speeds)
    _remember(file, chosen, speeds)
    if chosen != name:
        backend = None
    return backend or load(chosen)


def _reference(backend: Backend, golden: GoldenSamples) -> Float[np.ndarray, "b k *patch"]:
    return np.concatenate([backend.run(patch[None]) for patch in golden.patches])


def patches_a_second(
    backend: Backend, patches: Float[np.ndarray, "b c *patch"], seconds: float = SECONDS
) -> float:
    """Throughput with all callers at work."""
    batch = np.ascontiguousarray(np.resize(patches, (backend.batch_size, *patches.shape[1:])))
    with ThreadPoolExecutor(backend.callers) as pool:
        list(pool.map(backend.run, [batch] * backend.callers))
        done, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds or not done:
            list(pool.map(backend.run, [batch] * backend.callers))
            done += backend.callers * backend.batch_size
    return done / elapsed


def _key(
    package: ModelPackage, variant: str | None, candidates: Sequence[str], threads: int | None
) -> str:
    card = package.card
    facts = [
        *(card.variant(name).sha256 for name in card.members(variant)),
        card.golden_sha256,
        *candidates,
        platform.machine(),
        processor_name(),
        str(threads or cores()),
        str(cuda_devices()),
        *(version_of(name) for name in LIBRARIES),
    ]
    return sha256("\n".join(facts).encode()).hexdigest()[:32]


def processor_name() -> str:
    """What the CPU calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def _remembered(file: Path) -> str | None:
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["provider"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(file: Path, provider: str, speeds: Mapping[Name, float]) -> None:
    timed = {name: speed for name, speed in speeds.items() if np.isfinite(speed)}
    content = json.dumps({"provider": provider, "patches_a_second": timed}, indent=2)
    try:
        replace_file(file, (content + "\n").encode())
    except OSError:  # a folder that cannot be written costs the time of asking again, no more
        LOGGER.info("the choice cannot be kept in %s", file.parent)
