"""Which backend runs a package fastest on this machine, asked once and then remembered."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from seg.cuda_driver import chosen_device, cuda_devices
from seg.errors import BackendError
from seg.inference.backends.golden import agreement
from seg.inference.backends.onnx import Backend
from seg.inference.backends.remembered import place_of, recall, remember
from seg.machine import cores, return_free_memory
from seg.model_package import GoldenSamples, ModelPackage

LOGGER = logging.getLogger(__name__)

SECONDS, ROUNDS = 0.3, 3
"""At least so long, and so often, each backend is timed, after one run for warming up."""
Name = TypeVar("Name", bound=str)
"""Of a provider."""


def fastest(
    package: ModelPackage,
    variant: str | None,
    load: Callable[[Name], Backend],
    candidates: Sequence[Name],
    threads: int | None = None,
    on_fallback: Callable[[str], None] = lambda reasons: None,
) -> Backend:
    """The backend that runs the package's golden patches fastest, of those that agree with them.

    The choice is kept in ``cache_folder()`` under the package, the machine and the versions; one
    that was made because another candidate failed is not, since a device that is busy today is
    free tomorrow. A CUDA device is taken without timing the CPU.

    Args:
        package: with golden samples.
        variant: to run; None is what the package runs by itself.
        load: opens the package with a provider.
        candidates: providers to try.
        threads: on which the CPU's backends run.
        on_fallback: is told why candidates failed, where another runs the package.

    Raises:
        BackendError: none of them can be loaded and agrees.
    """
    facts = threads or cores(), cuda_devices(), chosen_device()
    place = place_of("backends", package, variant, *candidates, *facts)
    backend = _remembered(place, load, candidates)
    if backend:
        return backend
    golden = package.golden(variant)
    if not package.has_golden(variant):  # a variant without its own: all must say the same
        exact = next((name for name in candidates if name == "cpu"), candidates[0])
        golden = GoldenSamples(golden.patches, _reference(load(exact), golden))
    speeds: dict[Name, float] = {}
    reasons: list[str] = []
    for name in candidates:
        backend = None  # before the next is loaded: two at a time need twice the memory
        return_free_memory()
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
    if reasons:
        LOGGER.warning("%s runs the network: %s", chosen, "; ".join(reasons))
        on_fallback("; ".join(reasons))
    else:
        timed = {name: speed for name, speed in speeds.items() if np.isfinite(speed)}
        remember(place, {"provider": chosen, "patches_a_second": timed})
    if chosen != name:
        backend = None
        return_free_memory()
    return backend or load(chosen)


def _remembered(
    place: Path, load: Callable[[Name], Backend], candidates: Sequence[Name]
) -> Backend | None:
    known = recall(place).get("provider")
    for name in candidates:
        if name == known:
            try:
                return load(name)
            except BackendError as error:
                LOGGER.info("%s was the fastest before and cannot be loaded now: %s", name, error)
    return None


def _reference(backend: Backend, golden: GoldenSamples) -> Float[np.ndarray, "b k *patch"]:
    return np.concatenate([backend.run(patch[None]) for patch in golden.patches])


def patches_a_second(
    backend: Backend,
    patches: Float[np.ndarray, "b c *patch"],
    seconds: float = SECONDS,
    batch_size: int | None = None,
) -> float:
    """Throughput with all callers at work, in batches of that size or of the backend's own.

    The best round counts: what else the machine does makes rounds slower, never faster.
    """
    size = batch_size or backend.batch_size
    batch = np.ascontiguousarray(np.resize(patches, (size, *patches.shape[1:])))
    # libraries tune themselves to a size when they meet it: the first runs do not count
    with ThreadPoolExecutor(backend.callers) as pool:
        list(pool.map(backend.run, [batch] * backend.callers))
        rounds: list[float] = []
        while sum(rounds) < seconds or len(rounds) < ROUNDS:
            start = time.perf_counter()
            list(pool.map(backend.run, [batch] * backend.callers))
            rounds.append(time.perf_counter() - start)
    return backend.callers * size / min(rounds)
