"""The ONNX files of a package: what each is, and how good."""

from typing import Annotated, NamedTuple

from pydantic import Field

from seg.frozen import FrozenData
from seg.metrics import SelfAssessment
from seg.model_package.faster_ways import Precision

PROBABILITY_TOLERANCE = 1e-4
"""Largest absolute error of a float32 variant's probabilities against the network's."""


class Tolerance(NamedTuple):
    """Absolute errors of probabilities that are allowed."""

    worst: float = PROBABILITY_TOLERANCE
    mean: float = 1.0


class Score(FrozenData):
    """Mean over cases with a bootstrap interval."""

    dice: float
    ci95: tuple[float, float] | None
    """None of one case, which tells nothing of how others would do."""
    cases: int

    @property
    def interval_in_words(self) -> str:
        """With three digits, or that there is none."""
        if self.ci95 is None or self.cases < 2:
            return "one case: none"
        return f"{self.ci95[0]:.3f} to {self.ci95[1]:.3f}"


class Weights(FrozenData):
    """A file of weights that the ONNX files of several variants point into."""

    file: str
    sha256: str


class Variant(FrozenData):
    """One ONNX file: the network as it was trained, or a faster one made of it."""

    name: str
    file: str
    sha256: str
    weights: Weights | None = None
    """None where the ONNX file holds them itself."""
    precision: Precision = "float32"
    """Of its file; tf32 is float32 of which a graphics card rounds what convolutions take in to 10
    bits. bfloat16 is no file's: see ``faster_ways``."""
    blocks_dropped: tuple[str, ...] = ()
    blocks_kept: int | None = None
    float_layers: tuple[str, ...] = ()
    """Of an int8 variant: layers that stay float32, since rounding them costs too much."""
    distilled: bool = False
    """A smaller network of its own that learnt from the first variant."""
    tolerance: Annotated[float, Field(gt=0, le=1)] = PROBABILITY_TOLERANCE
    """Largest absolute error of probabilities against the golden logits."""
    mean_tolerance: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Largest mean error; it tells more than that of one voxel where numbers are rounded."""
    gigaflops: float | None = None
    """Of one patch; a multiplication and an addition are two."""
    megabytes: float | None = None
    """Of the ONNX file and the weights that it uses, in 10⁶ bytes."""
    dice: dict[str, Score] = Field(default_factory=dict)
    """Class name to its score on the test cases."""
    milliseconds_per_patch: float | None = None
    """On one core of the CPU, or on the GPU, that ``measured_on`` names."""
    measured_on: str | None = None
    quality: SelfAssessment | None = None
    """What this variant knows of its own errors; None where the card's holds."""
