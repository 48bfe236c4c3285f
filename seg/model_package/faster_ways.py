"""What faster ways of asking the network cost, as held-back cases showed it.

A way is a precision of the arithmetic or an overlap of windows. None is taken on trust: what it
loses against the usual way is measured on whole images, and kept beside the network.
"""

from typing import Annotated, Literal

from pydantic import Field

from seg.frozen import FrozenData

Precision = Literal["float32", "tf32", "bfloat16", "float16", "int8"]
"""Of the network's arithmetic; tf32 and bfloat16 are float32 files that are computed coarser."""

MOST_DICE_LOST = 0.001
"""Mean Dice that a way may lose and still be taken by itself."""
MOST_DICE_LOST_AT_WORST = 0.003
"""The same of the upper end of its interval."""
MOST_LOST_OF_A_CLASS = 0.01
"""Mean Dice that any one class may lose: a mean over many classes would hide it."""
MOST_OBJECTS_CHANGED = 0.02
"""Share of the objects that may change, where a package tells objects apart."""
FEWEST_CASES = 3
"""An interval of fewer says nothing."""


class WayCost(FrozenData):
    """What a way loses against the usual one, on the same cases."""

    cases: Annotated[int, Field(ge=0)]
    """On which the two could differ."""
    against: Literal["reference", "float32"] = "reference"
    """What Dice is taken with: drawn masks, or those of the usual way where none are drawn."""
    dice: float | None = None
    """Mean over classes and cases."""
    dice_lost: float
    """Mean of the usual way less that of this one, by cases."""
    ci95: tuple[float, float]
    """Of ``dice_lost``: bootstrap over cases."""
    class_lost: dict[str, float] = Field(default_factory=dict)
    """Class name to the same."""
    labels_changed: float
    """Share of all voxels whose label is another one."""
    objects_changed: float | None = None
    """Share of the objects of both ways without a counterpart, which shares more than half of their
    union; None where they were not compared."""
    cpu_seconds: float
    """Of all cases, user and system, from image to mask."""

    def is_small(self, *, objects_count: bool = False) -> bool:
        """Whether it lies within the bounds of this module.

        Args:
            objects_count: the package tells objects apart, so they must stay as well.
        """
        return (
            self.cases >= FEWEST_CASES
            and self.dice_lost < MOST_DICE_LOST
            and self.ci95[1] < MOST_DICE_LOST_AT_WORST
            and all(lost < MOST_LOST_OF_A_CLASS for lost in self.class_lost.values())
            and (not objects_count or (self.objects_changed or 0.0) <= MOST_OBJECTS_CHANGED)
        )


class PrecisionCost(WayCost):
    """Of a precision, at the package's overlap, against float32 at the usual one."""

    precision: Precision
    provider: str
    """As ``--provider`` names it."""
    variant: str | None = None
    """Whose file it is; None for those that answer by themselves, computed coarser."""
    instead_of: tuple[str, ...]
    """Variants that would answer else."""
    tolerance: Annotated[float, Field(gt=0, le=1)]
    """Largest error of a golden probability with which it may serve."""
    mean_tolerance: Annotated[float, Field(gt=0, le=1)]
    measured_on: str = ""
    """Name of the processor."""


class OverlapCost(WayCost):
    """Of an overlap of windows, in float32."""

    overlap: Annotated[float, Field(ge=0, lt=1)]
    windows: int
    """In all cases."""


class FasterWays(FrozenData):
    """All that was tried."""

    usual_overlap: float
    """With which each is compared."""
    overlaps: tuple[OverlapCost, ...] = ()
    """The usual one first; empty where the overlap was given, and not measured."""
    precisions: tuple[PrecisionCost, ...] = ()
    """float32 first."""
    measured: str = ""
    """On which cases, in words."""

    def precision(
        self,
        precision: Precision,
        provider: str,
        instead_of: tuple[str, ...],
        variant: str | None = None,
    ) -> PrecisionCost | None:
        """What is known of one precision of a network in one library; None if not measured."""
        asked = (precision, provider, instead_of, variant)
        for each in self.precisions:
            if (each.precision, each.provider, each.instead_of, each.variant) == asked:
                return each
        return None
