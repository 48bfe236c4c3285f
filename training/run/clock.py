"""How far a training run has come, in minutes or in steps, across interruptions."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import psutil

FEW_STEPS = 20
"""With fewer a network has learnt nothing."""


@dataclass
class Clock:
    """Counts wall time against a budget.

    With ``steps``, progress is counted in steps alone, so that a run can be repeated exactly;
    without, in time, so that training ends in time whatever the machine.
    """

    minutes: float
    steps: int | None = None
    spent_s: float = 0.0
    """Seconds spent before this process took over, or before training began."""
    _start: float = field(default_factory=time.monotonic, repr=False)

    def elapsed_s(self) -> float:
        """Seconds spent so far."""
        return self.spent_s + time.monotonic() - self._start

    stop_asked: bool = False

    def ask_to_stop(self) -> None:
        """End the run after the step that is being taken."""
        self.stop_asked = True

    def progress(self, step: int) -> float:
        """Share of the budget that is used up after ``step`` steps, 0 to 1."""
        used = step / self.steps if self.steps else self.elapsed_s() / (60 * self.minutes)
        return min(1.0, used)


def enough_minutes(clock: Clock, step_s: float = 0.0) -> float:
    """Minutes in which there is as much time for training as went before it, or for some steps."""
    needed_s = clock.elapsed_s() + max(clock.elapsed_s(), FEW_STEPS * step_s)
    return math.ceil(needed_s / 6) / 10


def age_of_this_process_s() -> float:
    """Seconds since it was started, in which it has imported what it needs."""
    return max(0.0, time.time() - float(psutil.Process().create_time()))


def polynomial(share: float) -> float:
    """Exponent 0.9, as in Chen et al., DeepLab, TPAMI 2018."""
    return math.pow(1 - share, 0.9)


def cosine(share: float) -> float:
    """Half a period, as in Loshchilov & Hutter, SGDR, ICLR 2017."""
    return (1 + math.cos(math.pi * share)) / 2


SCHEDULES: Mapping[str, Callable[[float], float]] = {"poly": polynomial, "cosine": cosine}


def learning_rate_factor(progress: float, warmup_share: float, schedule: str = "poly") -> float:
    """Linear warm-up, then the schedule down to 0 at the end."""
    if progress < warmup_share:
        return max(1e-3, progress / warmup_share)
    return SCHEDULES[schedule]((progress - warmup_share) / (1 - warmup_share))
