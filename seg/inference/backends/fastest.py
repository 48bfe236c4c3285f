"""Which backend runs a package fastest on this machine, asked once and then remembered."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from seg.cuda_driver import chosen_device, cuda_devices
from seg.errors import BackendError, OtherAnswerError
from seg.inference.backends.golden import agreement
from seg.inference.backends.onnx import Backend
from seg.inference.backends.remembered import place_of, recall, remember
from seg.inference.backends.ways import Way, tolerance_of
from seg.machine import cores, return_free_memory
from seg.model_package import GoldenSamples, ModelPackage
from seg.names import Provider

LOGGER = logging.getLogger(__name__)

SECONDS, ROUNDS = 0.3, 3
"""At least so long, and so often, each backend is timed, after one run for warming up."""


def fastest(
    package: ModelPackage,
    variant: str | None,
    load: Callable[[Any], Backend],
    candidates: Sequence[Way | Provider],
    threads: int | None = None,
    on_fallback: Callable[[str], None] = lambda reasons: None,
) -> Backend:
    """The backend that runs the package's golden patches fastest, of those that agree with them.

    The choice is kept in ``cache_folder()`` under the package, the machine and the versions; one
    that was made because another candidate failed is not, since a device that is busy today is
    free tomorrow. That a CPU's answers are other ones than the golden samples' is kept with it: it
    gives them each time. A CUDA device is taken without timing the CPU.

    Args:
        package: with golden samples.
        variant: to run; None is what the package runs by itself.
        load: opens the package in one of the candidates, as it is given.
        candidates: ways to try; those of a CUDA device first. A provider is its way in float32.
        threads: on which the CPU's backends run.
        on_fallback: is told why candidates failed, where another runs the package.

    Raises:
        BackendError: none of them can be loaded and agrees.
    """
    given = {each if isinstance(each, Way) else Way(each): each for each in candidates}
    allowed = [tolerance_of(package.card, variant, way) for way in given]
    facts = threads or cores(), cuda_devices(), chosen_device(), *allowed
    place = place_of("backends", package, variant, *map(str, candidates), *facts)

    def load_in(way: Way) -> Backend:
        return load(given[way])

    backend = _remembered(place, load_in, list(given), on_fallback)
    if backend:
        return backend
    trial = _Trial(package, variant, load_in)
    on_card = [way for way in given if way.provider == "cuda"]
    for ways in (on_card, [way for way in given if way not in on_card]):
        if not trial.speeds:
            trial.of(ways)
    if not trial.speeds:
        raise BackendError("no backend runs this package here; " + "; ".join(trial.reasons))
    chosen = max(trial.speeds, key=lambda way: trial.speeds[way])
    speeds = {str(way): speed for way, speed in trial.speeds.items()}
    LOGGER.info("%s is the fastest here, patches a second: %s", chosen, speeds)
    if trial.reasons:
        LOGGER.warning("%s runs the network; not taken: %s", chosen, "; ".join(trial.reasons))
        on_fallback("; ".join(trial.reasons))
    if not trial.may_pass:
        timed = {name: speed for name, speed in speeds.items() if np.isfinite(speed)}
        found = {"provider": str(chosen), "patches_a_second": timed, "not_taken": trial.reasons}
        remember(place, found)
    return trial.taken(chosen)


class _Trial:
    """Tries ways one after the other; one backend at a time is in memory."""

    def __init__(
        self, package: ModelPackage, variant: str | None, load: Callable[[Way], Backend]
    ) -> None:
        self._package, self._variant, self._load = package, variant, load
        self._last: tuple[Way, Backend] | None = None
        self.speeds: dict[Way, float] = {}
        """Of those that agree, in patches a second; infinite where there is nothing to compare."""
        self.reasons: list[str] = []
        """Why others are not taken."""
        self.may_pass = False
        """Whether one of those may be taken another time."""

    def of(self, ways: Sequence[Way]) -> None:
        for way in ways:
            backend = self._last = None  # before the next: two at a time need twice the memory
            return_free_memory()
            try:
                backend = self._load(way)
                golden = self._golden(way, ways)
                card = self._package.card
                agreement(backend, golden, card.task, tolerance_of(card, self._variant, way))
            except BackendError as error:
                self.reasons.append(f"{way}: {error}")
                is_settled = isinstance(error, OtherAnswerError) and way.provider != "cuda"
                self.may_pass = self.may_pass or not is_settled
                continue
            self._last = way, backend
            is_alone = len(ways) == 1
            self.speeds[way] = np.inf if is_alone else patches_a_second(backend, golden.patches)

    def taken(self, way: Way) -> Backend:
        if self._last and self._last[0] == way:
            return self._last[1]
        self._last = None
        return_free_memory()
        return self._load(way)

    def _golden(self, way: Way, ways: Sequence[Way]) -> GoldenSamples:
        """What it must say; of a variant without logits of its own, what the exactest says."""
        named = way.variant or self._variant
        golden = self._package.golden(named)
        if self._package.has_golden(named):
            return golden
        exact = next((other for other in ways if other.provider == "cpu"), ways[0])
        return GoldenSamples(golden.patches, _reference(self._load(exact), golden))


def _remembered(
    place: Path,
    load: Callable[[Way], Backend],
    candidates: Sequence[Way],
    on_fallback: Callable[[str], None],
) -> Backend | None:
    known = recall(place)
    for way in candidates:
        if str(way) == known.get("provider"):
            try:
                backend = load(way)
            except BackendError as error:
                LOGGER.info("%s was the fastest before and cannot be loaded now: %s", way, error)
                return None
            if reasons := known.get("not_taken"):
                on_fallback("; ".join(map(str, reasons)))
            return backend
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
