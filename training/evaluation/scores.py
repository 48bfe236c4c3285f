"""``metrics.json``: scores of cases and of classes over cases. docs/evaluation.md has the rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from seg.frozen import FrozenData
from seg.metrics import Estimate, SelfAssessment
from training.evaluation.object_scores import ObjectScore, ObjectSummary

OWN_SHARE = 0.1
"""Of the outlines of a reference, above which it was drawn over what the model itself said."""

Unit = Literal["mm", "pixels", "mm or pixels"]
"""Of distances: pixels where the files state no spacing."""


@dataclass(frozen=True)
class Measure:
    """One number that a class gets in a case."""

    name: str
    """Field of ``RegionScore``."""
    label: str
    higher_is_better: bool = True
    digits: int = 3


MEASURES = (
    Measure("dice", "Dice"),
    Measure("iou", "IoU"),
    Measure("surface_dice", "surface Dice"),
    Measure("hd95", "HD95", higher_is_better=False, digits=2),
    Measure("volume_error_absolute", "volume error", higher_is_better=False),
    Measure("ece", "calibration error", higher_is_better=False),
)


def in_digits(value: float, digits: int = 3) -> str:
    """A number for people; one that would round to 0 keeps its first two digits."""
    fixed = f"{value:.{digits}f}"
    return fixed if float(fixed) or not value else f"{value:.2g}"


class RegionScore(FrozenData):
    """One class, or all foreground classes together, in one case.

    All are None where neither mask has the class: such a case counts in no mean.
    """

    dice: float | None
    iou: float | None
    voxels_predicted: int
    voxels_reference: int
    hd95: float | None = None
    """In the case's unit; None also where one mask alone has the class: it would be infinite."""
    surface_dice: float | None = None
    """Share of both outlines that lies within the tolerance of the other."""
    volume_error: float | None = None
    """(Predicted - reference) / reference; None where the reference is empty."""
    ece: float | None = None
    """Of the class's probability, in a box around the reference."""
    floor: float | None = None
    """Dice of plain thresholding; None where the reference has none of the class."""
    outlines: int = 0
    """Pieces of the reference, as ``same_outlines`` counts them."""
    own_outlines: int = 0
    """Those that the prediction shows voxel for voxel."""

    @property
    def hits(self) -> int:
        """Voxels of the class in both masks."""
        return round((self.dice or 0) * (self.voxels_predicted + self.voxels_reference) / 2)

    @property
    def volume_error_absolute(self) -> float | None:
        """Size of the volume error, whatever its sign."""
        return None if self.volume_error is None else abs(self.volume_error)


class CaseScore(FrozenData):
    """One case."""

    case: str
    classes: dict[str, RegionScore]
    """The foreground classes by name."""
    foreground: RegionScore | None = None
    """All foreground classes together, where there is more than one."""
    unit: Unit = "pixels"
    """Of this case's distances."""
    ece: float | None = None
    """Of the winning class's probability, over all voxels."""
    objects: dict[str, ObjectScore] = Field(default_factory=dict)
    """By class, where objects were told apart."""
    subject: str | None = None
    """Whom it is of, as a number that says no name, where the dataset says it."""

    @property
    def group(self) -> str:
        """What is drawn for intervals: the subject, or the case alone."""
        return self.case if self.subject is None else self.subject

    @property
    def began_with_it(self) -> bool:
        """The reference was drawn over the prediction, and is no judge of it."""
        own = sum(each.own_outlines for each in self.classes.values())
        return own > OWN_SHARE * sum(each.outlines for each in self.classes.values())

    @property
    def mean_dice(self) -> float | None:
        """Mean over the classes that count in this case."""
        counted = [each.dice for each in self.classes.values() if each.dice is not None]
        return sum(counted) / len(counted) if counted else None

    def region(self, name: str) -> RegionScore | None:
        """A class's score, or that of all foreground where no class has the name."""
        return self.classes.get(name, self.foreground)


class Interval(FrozenData):
    """A mean over cases with its bootstrap interval, for which cases or subjects are drawn."""

    mean: float
    ci95: tuple[float, float] | None
    """None of one case or subject, which tells nothing of how others would do."""
    cases: int
    """Cases that count."""
    subjects: int | None = None
    """Whom they are of, where some are of one; it is these that are drawn."""

    @classmethod
    def of(cls, estimate: Estimate) -> "Interval":
        """What was drawn, as files have it."""
        spread = (estimate.low, estimate.high) if estimate.units > 1 else None
        subjects = estimate.units if estimate.units < estimate.cases else None
        return cls(mean=estimate.mean, ci95=spread, cases=estimate.cases, subjects=subjects)


class Reliability(FrozenData):
    """Of the voxels of all cases, by bins of probability: what was said and what came true."""

    voxels: tuple[int, ...]
    confidence: tuple[float | None, ...]
    """Mean probability in the bin; None where it is empty."""
    accuracy: tuple[float | None, ...]
    """Share of its voxels that have the class."""


NOTHING_KNOWN = (0.0, 1.0)


class Summary(FrozenData):
    """One class, or all foreground classes together, over all cases."""

    dice: float | None
    """Mean over cases."""
    ci95: tuple[float, float] | None
    """Bootstrap interval of ``dice`` over cases; of one case or subject all that a Dice can be, as
    programs read two numbers here."""
    iou: float | None
    """Mean over cases."""
    dice_pooled: float | None
    """Dice over the voxels of all cases, as if they were one image."""
    cases: int
    """Cases that count."""
    floor: float | None
    """Mean Dice of plain thresholding on those of the cases whose reference has the class."""
    measures: dict[str, Interval] = Field(default_factory=dict)
    """By name of ``MEASURES``, and ``volume_error`` with its sign; those that could be taken."""
    missed: int = 0
    """Cases whose reference has the class and whose prediction has none of it."""
    invented: int = 0
    """Cases whose prediction has the class and whose reference has none of it."""
    reliability: Reliability | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """``ci95`` where it says something; older files hold one case's Dice twice."""
        known = self.measures.get("dice")
        is_alone = self.cases < 2 or (known is not None and known.ci95 is None)
        return None if is_alone else self.ci95


class Tried(FrozenData):
    """A rule of postprocessing, and what became of the mean Dice on unseen cases."""

    rule: str
    before: float
    after: float
    kept: bool


class Fold(FrozenData):
    """One network of a cross-validation on the cases that it has not seen."""

    cases: tuple[str, ...]
    dice: dict[str, float | None]
    """By class, mean over cases."""


class CrossValidation(FrozenData):
    """Every training case, segmented by the one network that has not seen it."""

    scores: "Evaluation"
    """Before postprocessing."""
    folds: tuple[Fold, ...]
    postprocessing: tuple[Tried, ...]


class Mirroring(FrozenData):
    """What it brings to segment every patch in all its mirrors as well."""

    gain: dict[str, Interval]
    """Of Dice, by class: mirrored less plain."""
    says: dict[str, str]
    """The same in words; A is plain, B is mirrored."""
    seconds: float
    """Of one image, plain."""
    seconds_mirrored: float


class Evaluation(FrozenData):
    """``metrics.json``."""

    cases: tuple[CaseScore, ...]
    summary: dict[str, Summary]
    """By class, then ``foreground`` where there is more than one class."""
    tolerance: float | None = None
    """Of surface Dice, in ``unit``."""
    unit: Unit = "pixels"
    """Of all distances."""
    ece: Interval | None = None
    """Of the winning class's probability over all voxels of a case."""
    quality: SelfAssessment | None = None
    """What the model may say of its own masks, fitted on these cases."""

    objects: dict[str, ObjectSummary] = Field(default_factory=dict)
    """By class, where the reference has objects."""
    cross_validation: CrossValidation | None = None
    mirroring: Mirroring | None = None

    @property
    def ranked(self) -> list[CaseScore]:
        """The cases with a score, worst first."""
        scored = [(case.mean_dice, case) for case in self.cases]
        known = [(score, case) for score, case in scored if score is not None]
        return [case for _, case in sorted(known, key=lambda pair: pair[0])]


def renamed_classes(evaluation: Evaluation, name_of: Mapping[str, str]) -> Evaluation:
    """The same scores with classes under other names."""
    return evaluation.model_copy(
        update={
            "cases": tuple(
                case.model_copy(
                    update={"classes": {name_of.get(n, n): s for n, s in case.classes.items()}}
                )
                for case in evaluation.cases
            ),
            "summary": {name_of.get(n, n): s for n, s in evaluation.summary.items()},
        }
    )
