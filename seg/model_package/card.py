"""``model.json``: what a package says of its model."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from seg.errors import ConfigError, PackageError
from seg.frozen import FrozenData
from seg.images import ClassInfo
from seg.metrics import SelfAssessment
from seg.model_package.faster_ways import FasterWays
from seg.model_package.input_spec import InputSpec
from seg.model_package.instances import Instances, Splitting
from seg.model_package.provenance import Provenance, TrainingFingerprint
from seg.model_package.sides import in_words, sided_classes
from seg.model_package.variants import Score, Tolerance, Variant

SCHEMA_VERSION: Literal[2] = 2

Task = Literal["exclusive", "regions"]
"""``exclusive``: one class a voxel (softmax); ``regions``: classes may overlap (sigmoid)."""

Averaging = Literal["probabilities", "logits"]
"""What of an ensemble's networks is averaged."""

Touching = Literal["sides", "corners"]
"""Which voxels belong together: those that share a side, or also those that share a corner."""


class Postprocessing(FrozenData):
    """What happens to the labels after the network."""

    smallest_component: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Class name to the size in voxels below which a connected component is removed."""
    largest_foreground: bool = False
    """Of all classes together the largest connected component alone is kept."""
    largest_component: tuple[str, ...] = ()
    """Classes of which the largest connected component alone is kept."""
    touching: Touching = "sides"

    @property
    def has_rules(self) -> bool:
        """Whether it does anything."""
        return bool(self.smallest_component or self.largest_foreground or self.largest_component)


class Example(FrozenData):
    """An image that a person may try the model with, in files of the package's folder."""

    files: Annotated[tuple[str, ...], Field(min_length=1)]
    """One with all channels, or one a channel."""
    sha256: tuple[str, ...]
    about: str = ""
    """What it shows, where it is from, and its licence."""

    @model_validator(mode="after")
    def _one_hash_a_file(self) -> "Example":
        if len(self.files) != len(self.sha256):
            raise ValueError("an example needs one sha256 a file")
        return self


CaseRank = Literal["best", "median", "worst"]
"""Of a test case among all, by its Dice."""
CASE_PICTURES = ("image", "reference", "prediction")
"""What is drawn of a case, in the order of its files."""


class PicturedCase(FrozenData):
    """A test case in pictures, which its maker lets everybody see."""

    rank: CaseRank
    """By the Dice, among the test cases."""
    dice: float
    """Mean over the classes."""
    files: tuple[str, str, str]
    """Of the package's folder, in the order of ``CASE_PICTURES``, as WebP."""
    sha256: tuple[str, str, str]


class ModelCard(FrozenData):
    """``model.json``."""

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    name: str
    version: str
    task: Task = "exclusive"
    """Regions have one channel of logits for each class but the background, in their order."""
    classes: Annotated[tuple[ClassInfo, ...], Field(min_length=2)]
    input: InputSpec
    postprocessing: Postprocessing = Postprocessing()
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]
    ensemble: tuple[str, ...] = ()
    """Variants that are averaged where nobody asks for one variant, e.g. folds."""
    averaging: Averaging = "probabilities"
    golden_sha256: str
    fingerprint: TrainingFingerprint
    metrics: dict[str, Score] = Field(default_factory=dict)
    """Class name to its score on the test cases."""
    quality: SelfAssessment | None = None
    """What the model knows of its own errors; older packages know nothing."""
    instances: Instances | None = None
    """How objects are told apart; None where the model knows classes of voxels only."""
    splitting: Splitting | None = None
    """How objects that touch are split by their shape where that is asked for; None of older
    packages and of adopted ones."""
    faster_ways: FasterWays | None = None
    """What other precisions and less overlap cost; None in older packages, which take none."""
    example: Example | None = None
    """None where its maker chose none."""
    pictured_cases: tuple[PicturedCase, ...] = ()
    """Empty where its maker did not say that test images may be seen."""
    provenance: Provenance
    licence: str = "not stated"
    intended_use: str = "research; not a medical device"

    @model_validator(mode="after")
    def _classes_count_from_zero(self) -> "ModelCard":
        if [c.index for c in self.classes] != list(range(len(self.classes))):
            raise ValueError("classes must be listed by index 0, 1, 2, ...")
        names = [c.name for c in self.classes]
        if len(set(names)) < len(names):  # counts, scores and files are told by name
            raise ValueError(f"each class needs a name of its own, got {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _what_stands_out_is_a_class(self) -> "ModelCard":
        rule = self.input.stands_out
        if rule is None or rule.classes is None:
            return self
        if self.task != "exclusive" or max(rule.classes, default=0) >= len(self.classes):
            raise ValueError("what stands out needs indices of classes that exclude each other")
        return self

    @model_validator(mode="after")
    def _ensemble_is_of_variants(self) -> "ModelCard":
        unknown = set(self.ensemble) - {variant.name for variant in self.variants}
        if unknown or len(set(self.ensemble)) != len(self.ensemble):
            raise ValueError(f"an ensemble names variants, each once, got {self.ensemble}")
        return self

    @model_validator(mode="after")
    def _objects_are_of_classes(self) -> "ModelCard":
        if self.instances is None:
            return self
        names = [info.name for info in self.classes[1:] if info.name in self.instances.rules]
        if names != list(self.instances.rules):
            raise ValueError(
                f"instances name classes in their order, got {', '.join(self.instances.rules)}"
            )
        if self.instances.channels and self.task == "regions":
            raise ValueError("objects of overlapping classes have no channels of their own")
        return self

    @property
    def sided(self) -> tuple[str, ...]:
        """Names of the classes that have a side, left or right."""
        return sided_classes([info.name for info in self.classes[1:]])

    @property
    def mirrors(self) -> tuple[int, ...]:
        """Spatial axes along which patches may be mirrored and averaged.

        Raises:
            ConfigError: the package names the axis between left and right, and its classes have
                sides: the average would be neither.
        """
        spec, axes = self.input, self.input.mirror_axes
        forbidden = spec.between_sides if self.sided else None
        if axes is None:
            return tuple(axis for axis in range(spec.dims) if axis != forbidden)
        if forbidden in axes:
            raise ConfigError(
                f"patches cannot be mirrored along axis {forbidden}, which runs between left and "
                f"right: {in_words(self.sided)} would change places; leave the mirrors out"
            )
        return axes

    @property
    def outputs(self) -> int:
        """Channels of logits that stand for classes: the first ones."""
        return len(self.classes) - (self.task == "regions")

    @property
    def logits(self) -> int:
        """All channels of logits, those that tell objects apart included."""
        return self.outputs + (self.instances.channels if self.instances else 0)

    @property
    def votes(self) -> int:
        """Channels of logits whose softmax, or sigmoid, is a probability: the first ones."""
        return self.outputs + (self.instances.border_channels if self.instances else 0)

    def members(self, variant: str | None = None) -> tuple[str, ...]:
        """Names of the variants that answer together: one, or the ensemble where none is named.

        Raises:
            PackageError: no variant has that name.
        """
        if variant is None and self.ensemble:
            return self.ensemble
        return (self.variant(variant).name,)

    def tolerance(self, variant: str | None = None) -> Tolerance:
        """Errors that are allowed of a variant, or of the whole package."""
        members = [self.variant(name) for name in self.members(variant)]
        return Tolerance(
            worst=max(each.tolerance for each in members),
            mean=max(each.mean_tolerance for each in members),
        )

    def mean_dice(self, variant: str | None = None) -> float | None:
        """Mean validation Dice of a variant over the foreground classes; None if not known."""
        scores = self.variant(variant).dice
        found = [scores[each.name].dice for each in self.classes[1:] if each.name in scores]
        return sum(found) / len(found) if found else None

    def of_variant(self, name: str) -> "ModelCard":
        """The card as it stands for one variant: with its scores and its own doubts.

        How probable objects are, and how far counts lie off, was seen of the first variant's
        network, or of the ensemble, alone: of others, and of int8, nobody knows it.

        Raises:
            PackageError: no variant has that name.
        """
        variant, first = self.variant(name), self.variants[0]
        is_seen = not self.ensemble and (
            variant is first
            or (
                (variant.precision != "int8" and not variant.distilled)
                and variant.blocks_dropped == first.blocks_dropped
            )
        )
        return self.model_copy(
            update={
                "metrics": variant.dice or self.metrics,
                "quality": variant.quality or self.quality,
                "instances": self.instances.without_calibrations
                if self.instances and not is_seen
                else self.instances,
            }
        )

    def variant(self, name: str | None = None) -> Variant:
        """The variant of that name, or the first one.

        Raises:
            PackageError: no variant has that name.
        """
        if name is None:
            return self.variants[0]
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = ", ".join(v.name for v in self.variants)
        raise PackageError(f"no variant {name!r} in this package; it has {names}")
