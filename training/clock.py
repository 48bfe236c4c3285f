"""How far a training run has come, in minutes or in steps, across interruptions."""

import time
from dataclasses import dataclass, field


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

    def left_s(self) -> float:
        """Seconds left."""
        return max(0.0, 60 * self.minutes - self.elapsed_s())

    def progress(self, step: int) -> float:
        """Share of the budget that is used up after ``step`` steps, 0 to 1."""
        used = step / self.steps if self.steps else self.elapsed_s() / (60 * self.minutes)
        return min(1.0, used)


def learning_rate_factor(progress: float, warmup_share: float) -> float:
    """Linear warm-up, then polynomial decay of exponent 0.9, reaching 0 at the end.

    Source: the decay of Chen et al., DeepLab, TPAMI 2018.
    """
    if progress < warmup_share:
        return max(1e-3, progress / warmup_share)
    return float((1 - (progress - warmup_share) / (1 - warmup_share)) ** 0.9)
