"""What a user may fix before a training is planned."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

DEFAULT_MINUTES = 4.8


@dataclass(frozen=True)
class PlanOptions:
    """What the user asked for."""

    data: Path | None = None
    out: Path | None = None
    plan: Path | None = None
    with_ray: bool = False
    """Folds go to Ray's workers."""
    as_nnunet: str | None = None
    """The preset that is planned as nnU-Net does."""
    chosen: dict[str, Any] = field(default_factory=dict)
    """Fields of the plan that the command line sets."""

    def shared_by(self, folds: int) -> "PlanOptions":
        """With the minutes that one of several folds has."""
        if folds == 1:
            return self
        minutes = self.chosen.get("minutes", DEFAULT_MINUTES) / folds
        return replace(self, chosen=self.chosen | {"minutes": minutes})
