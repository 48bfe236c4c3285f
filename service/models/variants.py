"""Which variant of the network answers: the best one that keeps up with the load.

A package may hold several variants of its network, from the best to the fastest. Full quality is
given while requests are answered soon; when more come than it can answer, the next ones get a
faster variant, and full quality comes back when the load has gone. One image is answered by one
variant: tiles of two are never mixed. Nobody gets less than the operator allows, and by default
that is full quality: what a lower one is good for, only people can decide.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from seg.errors import BackendError, ConfigError
from seg.inference import Backend, load_backend, verify_golden
from seg.inference.backends.fastest import patches_a_second
from seg.inference.backends.ways import way_of
from seg.model_package import ModelPackage
from service.observability.logs import LOGGER
from service.problems.response import Problem
from service.requests.options import Ask
from service.settings import QualityLevel, Settings

VARIANT_HEADER = "X-Segmentation-Variant"
"""Name of the variant that answered, and its mean Dice in the model's validation."""


BALANCED_LOSS = 0.01
"""Mean Dice that a variant of balanced quality may lose in validation."""


FASTER = 0.95
"""Share of the next better variant's time that a rung must stay below on this machine."""


RELIEF = 0.5
"""A better variant comes back when its wait would be below this share of what is allowed."""


HOLD_S = 2.0
"""Seconds that a variant stays before a better one comes back."""


MEMORY = 0.1
"""Weight of the last request in what a request is expected to cost."""


@dataclass(frozen=True, eq=False)
class ServedVariant:
    """A variant that runs here."""

    variant: str
    backend: Backend
    dice: float | None
    """Mean over the foreground classes in validation."""
    patch_s: float
    """Seconds a patch takes on this machine with all of its devices at work."""
    package: ModelPackage
    """With the scores and the doubts of this variant."""

    @property
    def header(self) -> str:
        """For ``VARIANT_HEADER``."""
        return self.variant if self.dice is None else f"{self.variant}; dice={self.dice:.4f}"


def usable_variants(rungs: Sequence[ServedVariant], lowest: QualityLevel) -> list[ServedVariant]:
    """Rungs that are allowed and worth having on this machine, from the best to the fastest.

    Args:
        rungs: the first is the network as it was trained.
        lowest: quality below which nobody is answered.
    """
    first, *others = rungs
    chosen = [first]
    ranked = sorted(others, key=lambda rung: (-_dice(rung), rung.patch_s))
    for rung in ranked if lowest != "full" else []:
        is_allowed = lowest == "fast" or _dice(first) - _dice(rung) <= BALANCED_LOSS
        if is_allowed and rung.patch_s <= FASTER * chosen[-1].patch_s:
            chosen.append(rung)
    return chosen


def _dice(rung: ServedVariant) -> float:
    return -1.0 if rung.dice is None else rung.dice


class VariantChooser:
    """Chooses a rung for each request when its turn has come."""

    def __init__(
        self,
        rungs: Sequence[ServedVariant],
        wait_s: float,
        clock: Callable[[], float] = monotonic,
        runners: int = 1,
    ) -> None:
        """Choose among rungs, the best first, so that a new request waits ``wait_s`` at most.

        Args:
            rungs: that run here.
            wait_s: allowed.
            clock: in seconds.
            runners: patches that run at the same time.
        """
        self.rungs = tuple(rungs)
        self._wait_s = wait_s
        self._runners = runners
        self._clock = clock
        self._lock = threading.Lock()
        self._level = 0
        self._since = -math.inf
        self._patches = 1.0
        """Expected of a request."""
        self._besides_s = 0.0
        """Seconds that the machine is expected to spend on a request beside its patches: decoding,
        blending, encoding. Under a fast variant they are much of what a request costs."""

    def choose(self, ask: Ask, active: int, running: int, waited_s: float) -> ServedVariant:
        """The rung for a request that begins now.

        Args:
            ask: what it says.
            active: requests that run or wait, this one included.
            running: those of them that have begun.
            waited_s: seconds since it arrived.
        """
        with self._lock:
            level = self._adapted(active)
        if ask.quality is not None:
            level = self._level_of(ask.quality)
        if ask.deadline_s is not None:
            # never better than the load allows: others wait behind this one
            level = max(level, self._in_time(ask.deadline_s - waited_s, running))
        return self.rungs[level]

    def took(self, rung: ServedVariant, patches: int, seconds: float, running: int) -> None:
        """Learn what requests cost.

        Args:
            rung: that answered.
            patches: that the request had.
            seconds: from its turn to its answer.
            running: requests that shared the machine meanwhile, this one included.
        """
        share_s = seconds / max(running, self._runners)
        with self._lock:
            self._patches += MEMORY * (patches - self._patches)
            if math.isfinite(rung.patch_s):
                besides_s = max(0.0, share_s - patches * rung.patch_s)
                self._besides_s += MEMORY * (besides_s - self._besides_s)

    def wait_s(self, level: int, active: int) -> float:
        """Seconds until all that is there is answered, were it answered by that rung."""
        return active * (self._patches * self.rungs[level].patch_s + self._besides_s)

    def refuse_what_is_late(self, ask: Ask, active: int) -> None:
        """Turn away at once what the fastest variant could not answer in time.

        Raises:
            Problem: 503 with ``Retry-After``.
        """
        soonest_s = self.wait_s(len(self.rungs) - 1, active)
        if ask.deadline_s is not None and ask.deadline_s < soonest_s < math.inf:
            raise Problem(
                503,
                f"no variant would answer before {soonest_s:.2g} s, and the deadline is "
                f"{ask.deadline_s:.2g} s",
                {"Retry-After": str(max(1, math.ceil(soonest_s - ask.deadline_s)))},
            )

    def _adapted(self, active: int) -> int:
        """Down at once, as far as it takes; up one rung at a time, and not before it is calm."""
        now, last = self._clock(), len(self.rungs) - 1
        if not last:
            return 0
        others = active - 1  # nobody waits for itself: alone, the longest image gets the best
        if self.wait_s(self._level, others) > self._wait_s:
            self._since = now
            while self._level < last and self.wait_s(self._level, others) > self._wait_s:
                self._level += 1
        elif (
            self._level
            and now - self._since >= HOLD_S
            and self.wait_s(self._level - 1, others) <= RELIEF * self._wait_s
        ):
            self._level -= 1
            self._since = now
        return self._level

    def _level_of(self, quality: QualityLevel) -> int:
        if quality == "full":
            return 0
        if quality == "fast":
            return len(self.rungs) - 1
        least = _dice(self.rungs[0]) - BALANCED_LOSS
        return max(n for n, rung in enumerate(self.rungs) if n == 0 or _dice(rung) >= least)

    def _in_time(self, left_s: float, running: int) -> int:
        """The best rung that is likely to end in time, else the fastest."""
        levels = range(len(self.rungs))
        return next((n for n in levels if self.wait_s(n, running) <= left_s), levels[-1])


def load_rungs(package: ModelPackage, first: Backend, settings: Settings) -> list[ServedVariant]:
    """The variants that agree with their golden samples here, timed; ``first`` is loaded already.

    A variant that does not agree is left out, and the log says why; the others serve.
    """
    instead = way_of(first).variant
    names = [variant.name for variant in package.card.variants]
    if instead is not None:  # a coarser file of the first network answers in its place
        names = [instead, *(name for name in names[1:] if name != instead)]
    if settings.variant or settings.lowest_quality == "full" or package.card.ensemble:
        names = [instead or package.card.variant(settings.variant).name]
    rungs = []
    for number, name in enumerate(names):
        try:
            backend = first if not number else _proven(package, name, settings)
        except (BackendError, ConfigError) as error:
            fields = {"variant": name, "reason": str(error)}
            LOGGER.warning("variant left out", extra={"fields": fields})
            continue
        patches = package.golden(name).patches
        seconds = 1 / patches_a_second(backend, patches) if len(names) > 1 else math.inf
        is_named = number or instead is not None or settings.variant is not None
        answering = package.as_variant(name if is_named else None)
        dice = answering.card.mean_dice(name)
        rungs.append(ServedVariant(name, backend, dice, seconds, answering))
    return usable_variants(rungs, settings.lowest_quality)


def _proven(package: ModelPackage, name: str, settings: Settings) -> Backend:
    backend = load_backend(
        package,
        name,
        settings.provider,
        settings.batch_size,
        settings.network_threads,
        precision=settings.precision,
    )
    verify_golden(package, backend, name)
    return backend
