"""``model.json``: what a package says of its model."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from seg.errors import ConfigError, PackageError
from seg.frozen import FrozenData
from seg.images import ClassInfo
from seg.images.grid.orientation import are_axis_codes
from seg.metrics import SelfAssessment
from seg.model_package.empty import Empty
from seg.model_package.faster_ways import FasterWays, Precision
from seg.model_package.instances import Instances, Splitting
from seg.model_package.sides import between_sides, in_words, sided_classes
from seg.model_package.standing import StandsOut
from seg.transforms import Preprocessing

SCHEMA_VERSION: Literal[2] = 2

Task = Literal["exclusive", "regions"]
"""``exclusive``: one class a voxel (softmax); ``regions``: classes may overlap (sigmoid)."""

Averaging = Literal["probabilities", "logits"]
"""What of an ensemble's networks is averaged."""

Touching = Literal["sides", "corners"]
"""Which voxels belong together: those that share a side, or also those that share a corner."""

PROBABILITY_TOLERANCE = 1e-4
"""Largest absolute error of a float32 variant's probabilities against the network's."""


class Tolerance(NamedTuple):
    """Absolute errors of probabilities that are allowed."""

    worst: float = PROBABILITY_TOLERANCE
    mean: float = 1.0


class Channel(FrozenData):
    """One input channel."""

    name: str
    modality: str = "unknown"
    """``CT`` (Hounsfield units), ``MR``, ``microscopy``, ``photo``, ..."""


class InputSpec(FrozenData):
    """What the network takes: a batch of patches ``(b, c, *patch)`` float32."""

    channels: tuple[Channel, ...]
    patch: tuple[Annotated[int, Field(gt=0)], ...]
    """Patch size in voxels of the target spacing, one number a spatial axis."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of a window that its neighbour covers as well."""
    preprocessing: Preprocessing
    empty: Empty | None = None
    """What tells empty windows, which the network is not asked about; None asks about all."""
    stands_out: StandsOut | None = None
    """What an object must show near it to be one; None where nothing is known, or nothing asked."""
    mirror_axes: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Spatial axes along which a mirrored patch is as good as the patch; None is all, but that
    between left and right where classes have sides."""
    orientation: str | None = None
    """Axis codes in the order (x, y, z), such as ``RAS``, that the network was trained in: images
    are turned to them and masks back. None, as of pictures, takes axes as they are stored."""
    left_right_axis: Annotated[int, Field(ge=0)] | None = None
    """Spatial axis between left and right where ``orientation`` does not say it; None where nobody
    did."""

    @model_validator(mode="after")
    def _axes_agree(self) -> "InputSpec":
        spacing = self.preprocessing.spacing
        if len(self.patch) not in (2, 3):
            raise ValueError(f"a patch has 2 or 3 axes, got {self.patch}")
        if spacing is not None and len(spacing) != len(self.patch):
            raise ValueError(f"spacing {spacing} and patch {self.patch} differ in axes")
        margin = self.preprocessing.margin
        if margin is not None and (len(margin) != len(self.patch) or min(margin) < 0):
            raise ValueError(f"a margin needs one number of 0 or more an axis, got {margin}")
        if len(self.preprocessing.normalisation) != len(self.channels):
            raise ValueError("normalisation needs one entry a channel")
        if self.mirror_axes and max(self.mirror_axes) >= len(self.patch):
            raise ValueError(f"mirror axes are below {len(self.patch)}, got {self.mirror_axes}")
        if self.orientation is not None and not are_axis_codes(self.orientation, self.dims):
            raise ValueError(
                f"an orientation has {len(self.patch)} axis codes such as "
                f"{'RAS'[: len(self.patch)]}, got {self.orientation!r}"
            )
        if self.left_right_axis is not None and self.left_right_axis >= len(self.patch):
            raise ValueError(f"the axis is below {len(self.patch)}, got {self.left_right_axis}")
        if self.empty is not None and len(self.empty.limits) != len(self.channels):
            raise ValueError("what is empty needs one limit a channel")
        if self.stands_out is not None:
            self._check_standing(self.stands_out)
        return self

    def _check_standing(self, rule: StandsOut) -> None:
        if len(rule.levels) != len(self.channels):
            raise ValueError("what stands out needs one level a channel")
        sizes = (rule.smoothing, rule.core, rule.reach)
        if any(len(size) != len(self.patch) for size in sizes):
            raise ValueError("what stands out needs sizes of one number an axis")

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.patch)

    @property
    def between_sides(self) -> int | None:
        """The spatial axis that runs between left and right; None where none does."""
        return between_sides(self.dims, self.orientation, self.left_right_axis)


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


class IntensityStatistics(FrozenData):
    """Smallest and largest value over the training images, of one channel of whole images."""

    mean: tuple[float, float]
    deviation: tuple[float, float]
    noise_share: tuple[float, float]
    """Of the deviation: the noise, by the differences of neighbours. It is high where nothing else
    is in the image."""


class TrainingFingerprint(FrozenData):
    """Ranges seen in training; an input outside of them deserves a warning."""

    cases: int
    shape: tuple[tuple[int, int], ...]
    """Smallest and largest size in voxels, one pair a spatial axis."""
    spacing: tuple[tuple[float, float], ...] | None = None
    """Smallest and largest spacing in mm, one pair a spatial axis."""
    intensity: tuple[tuple[float, float], ...]
    """The 0.5 and 99.5 percentiles, one pair a channel."""
    statistics: tuple[IntensityStatistics, ...] | None = None
    """One entry a channel; None in older packages and in adopted ones."""


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


class Pretraining(FrozenData):
    """Weights that an encoder began with, which were learnt elsewhere."""

    encoder: str
    weights: str
    """Their name on the encoder's hub, or the name of a file."""
    sha256: str | None = None
    """Of the file; None where they came from a hub."""
    source: str = "not stated"
    licence: str = "not stated"


class Provenance(FrozenData):
    """Where the model comes from."""

    created: str
    seed: int
    dataset: str
    dataset_sha256: str
    trained_on: tuple[str, ...] = ()
    """Digests of the images that the network, or one of an ensemble, was trained on; empty in older
    packages."""
    command: str
    versions: dict[str, str]
    steps: int | None = None
    """That the network was trained; None where it is not known."""
    expected_steps: int | None = None
    """That its plan had counted on."""
    pretraining: Pretraining | None = None
    """None where the network began with random weights, and of older packages."""


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

        Raises:
            PackageError: no variant has that name.
        """
        variant = self.variant(name)
        return self.model_copy(
            update={
                "metrics": variant.dice or self.metrics,
                "quality": variant.quality or self.quality,
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
