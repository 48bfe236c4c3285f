"""How a model's objects are told apart, as ``model.json`` has it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from seg.frozen import FrozenData

Encoding = Literal["border", "distance", "components"]
"""``border``: by a channel of the voxels where two objects of a class touch; ``distance``: by one
of how deep a voxel lies in its object, from 0 at its edge to 1; ``components``: an object is what
hangs together."""


class ScoreCalibration(FrozenData):
    """From an object's score to the probability that it is right: rising, straight between."""

    scores: Annotated[tuple[float, ...], Field(min_length=1)]
    probabilities: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=1)]
    objects: int
    """On which it was fitted."""

    @model_validator(mode="after")
    def _rises(self) -> "ScoreCalibration":
        if len(self.scores) != len(self.probabilities):
            raise ValueError("a calibration of scores needs one probability a score")
        if any(list(each) != sorted(each) for each in (self.scores, self.probabilities)):
            raise ValueError("scores and probabilities of a calibration must rise")
        return self


class CountCalibration(FrozenData):
    """How far a count lies from the truth, of images that the network was not trained on."""

    ratio: Annotated[float, Field(gt=0)]
    """True objects for each that is found."""
    dispersion: Annotated[float, Field(ge=0)]
    """Variance of the true count for each object expected, within an image."""
    spread: Annotated[float, Field(ge=0)]
    """Deviation of ``ratio`` from image to image, as a share of it."""
    images: int
    """On which it was fitted; of several of one subject only one counts."""
    tiles: Annotated[int, Field(ge=2)] | None = None
    """Parts of these, on which ``dispersion`` was; None in packages of before."""


class ObjectRule(FrozenData):
    """How objects of one class are found."""

    seed: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Probability of the core, or distance, from which a voxel belongs to a seed."""
    smallest_seed: Annotated[int, Field(ge=1)] = 1
    """Voxels of the network's grid below which a seed is none."""
    smallest: Annotated[int, Field(ge=1)] = 1
    """Voxels of the network's grid below which an object is left out."""
    probability: ScoreCalibration | None = None
    count: CountCalibration | None = None


class SplitRule(FrozenData):
    """Where an object of one class that hangs together is cut in several, by its shape alone."""

    smallest: Annotated[float, Field(ge=0)] = 0
    """Area or volume below which an object is left out."""
    core: Annotated[float, Field(ge=0)] = 0
    """A middle lies at least so deep under the outline."""
    neck: Annotated[float, Field(gt=0, lt=1)] = 0.75
    """Two middles are two objects where the way between them is narrower than this share of the
    smaller one's depth."""


class Splitting(FrozenData):
    """How objects that touch are split where the network did not tell them apart."""

    unit: Literal["mm", "voxel"]
    """Of the rules; voxels are those of the network's grid along its finest axis."""
    rules: dict[str, SplitRule]
    """By class name; objects of other classes are never split."""
    fitted_on: str = ""
    """What the values come from, in words."""


class Instances(FrozenData):
    """Objects of a model."""

    encoding: Encoding
    channels_for: tuple[Literal["border", "distance"], ...] = ()
    """What further channels hold, one for each class of ``rules``: all borders come first."""
    rules: Annotated[dict[str, ObjectRule], Field(min_length=1)]
    """By class name, in the order of the classes; their channels follow those of the classes."""
    splitting: Splitting | None = None
    """How objects that the encoding leaves in one are split by their shape; None: not at all."""
    halo: Annotated[int, Field(ge=0)] = 64
    """Voxels of the network's grid that are looked at around a block of a large image."""
    fitted_on: str = ""
    """What thresholds and calibrations come from, in words."""

    @model_validator(mode="after")
    def _has_its_channels(self) -> "Instances":
        if self.encoding != "components" and self.encoding not in self.channels_for:
            raise ValueError(f"objects by {self.encoding} need its channels, they are not there")
        if self.channels_for not in ((), ("border",), ("distance",), ("border", "distance")):
            raise ValueError("channels for objects are of borders, then of distances, once each")
        unknown = set(self.splitting.rules if self.splitting else ()) - set(self.rules)
        if unknown:
            raise ValueError(f"objects are split of classes that have none: {', '.join(unknown)}")
        return self

    @property
    def without_calibrations(self) -> "Instances":
        """The same objects, of which nobody says how sure they are."""
        unsaid = {"probability": None, "count": None}
        rules = {name: rule.model_copy(update=unsaid) for name, rule in self.rules.items()}
        return self.model_copy(update={"rules": rules})

    @property
    def channels(self) -> int:
        """Of logits, beside those of the classes."""
        return len(self.rules) * len(self.channels_for)

    @property
    def border_channels(self) -> int:
        """Of these, classes of voxels as the others are."""
        return len(self.rules) if "border" in self.channels_for else 0

    def first_channel(self, group: Literal["border", "distance"]) -> int:
        """Where a group begins, behind the classes."""
        return len(self.rules) * self.channels_for.index(group)
