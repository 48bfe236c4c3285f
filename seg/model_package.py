"""The model package: the only thing that training and service both know.

A folder with ``model.json`` (the card), one ONNX file a variant and ``golden.npz`` (real patches
with the network's own logits). It is read strictly and written whole or not at all.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seg.errors import PackageError
from seg.files import sha256_of
from seg.images import ClassInfo
from seg.metrics import SelfAssessment
from seg.transforms import Preprocessing

SCHEMA_VERSION: Literal[2] = 2
READABLE_VERSIONS = (1, SCHEMA_VERSION)
"""Version 1 had one file a variant and one tolerance for all; what it says holds as it is."""
CARD_FILE = "model.json"
GOLDEN_FILE = "golden.npz"

Task = Literal["exclusive", "regions"]
"""``exclusive``: one class a voxel (softmax); ``regions``: classes may overlap (sigmoid)."""

Averaging = Literal["probabilities", "logits"]
"""What of an ensemble's networks is averaged."""

Touching = Literal["sides", "corners"]
"""Which voxels belong together: those that share a side, or also those that share a corner."""

PROBABILITY_TOLERANCE = 1e-4
"""Largest absolute error of a float32 variant's probabilities against the network's."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Channel(_Data):
    """One input channel."""

    name: str
    modality: str = "unknown"
    """``CT`` (Hounsfield units), ``MR``, ``microscopy``, ``photo``, ..."""


class Empty(_Data):
    """Intensities of air or glass: a window of nothing else holds no foreground.

    A window is empty where all its voxels are at the limit or beyond it, in every channel.
    """

    side: Literal["below", "above"]
    """Of the limits: air in CT and dark microscopes is below, glass in bright ones above."""
    limits: tuple[float, ...]
    """One a channel, in the intensities of the image's file."""


class InputSpec(_Data):
    """What the network takes: a batch of patches ``(b, c, *patch)`` float32."""

    channels: tuple[Channel, ...]
    patch: tuple[Annotated[int, Field(gt=0)], ...]
    """Patch size in voxels of the target spacing, one number a spatial axis."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of a window that its neighbour covers as well."""
    preprocessing: Preprocessing
    empty: Empty | None = None
    """What tells empty windows, which the network is not asked about; None asks about all."""
    mirror_axes: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Spatial axes along which a mirrored patch is as good as the patch; None is all."""

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
        if self.empty is not None and len(self.empty.limits) != len(self.channels):
            raise ValueError("what is empty needs one limit a channel")
        return self

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.patch)


class Postprocessing(_Data):
    """What happens to the labels after the network."""

    smallest_component: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Class name to the size in voxels below which a connected component is removed."""
    largest_foreground: bool = False
    """Of all classes together the largest connected component alone is kept."""
    largest_component: tuple[str, ...] = ()
    """Classes of which the largest connected component alone is kept."""
    touching: Touching = "sides"


class Score(_Data):
    """Mean over cases with a bootstrap interval."""

    dice: float
    ci95: tuple[float, float]
    cases: int


class Weights(_Data):
    """A file of weights that the ONNX files of several variants point into."""

    file: str
    sha256: str


class Variant(_Data):
    """One ONNX file: the network as it was trained, or a faster one made of it."""

    name: str
    file: str
    sha256: str
    weights: Weights | None = None
    """None where the ONNX file holds them itself."""
    precision: Literal["float32", "float16", "int8"] = "float32"
    blocks_dropped: tuple[str, ...] = ()
    blocks_kept: int | None = None
    float_layers: tuple[str, ...] = ()
    """Of an int8 variant: layers that stay float32, since rounding them costs too much."""
    distilled: bool = False
    """A smaller network of its own that learnt from the first variant."""
    tolerance: Annotated[float, Field(gt=0, le=1)] = PROBABILITY_TOLERANCE
    """Largest absolute error of probabilities against the golden logits."""
    gigaflops: float | None = None
    """Of one patch; a multiplication and an addition are two."""
    megabytes: float | None = None
    """Of the ONNX file and the weights that it uses, in 10⁶ bytes."""
    dice: dict[str, Score] = {}
    """Class name to its score on the test cases."""
    milliseconds_per_patch: float | None = None
    """On one core of the CPU, or on the GPU, that ``measured_on`` names."""
    measured_on: str | None = None
    quality: SelfAssessment | None = None
    """What this variant knows of its own errors; None where the card's holds."""


class TrainingFingerprint(_Data):
    """Ranges seen in training; an input outside of them deserves a warning."""

    cases: int
    shape: tuple[tuple[int, int], ...]
    """Smallest and largest size in voxels, one pair a spatial axis."""
    spacing: tuple[tuple[float, float], ...] | None = None
    """Smallest and largest spacing in mm, one pair a spatial axis."""
    intensity: tuple[tuple[float, float], ...]
    """The 0.5 and 99.5 percentiles, one pair a channel."""


class Provenance(_Data):
    """Where the model comes from."""

    created: str
    seed: int
    dataset: str
    dataset_sha256: str
    command: str
    versions: dict[str, str]


class ModelCard(_Data):
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
    metrics: dict[str, Score] = {}
    """Class name to its score on the test cases."""
    quality: SelfAssessment | None = None
    """What the model knows of its own errors; older packages know nothing."""
    provenance: Provenance
    licence: str = "not stated"
    intended_use: str = "research; not a medical device"

    @model_validator(mode="after")
    def _classes_count_from_zero(self) -> "ModelCard":
        if [c.index for c in self.classes] != list(range(len(self.classes))):
            raise ValueError("classes must be listed by index 0, 1, 2, ...")
        return self

    @model_validator(mode="after")
    def _ensemble_is_of_variants(self) -> "ModelCard":
        unknown = set(self.ensemble) - {variant.name for variant in self.variants}
        if unknown or len(set(self.ensemble)) != len(self.ensemble):
            raise ValueError(f"an ensemble names variants, each once, got {self.ensemble}")
        return self

    @property
    def outputs(self) -> int:
        """Channels of logits."""
        return len(self.classes) - (self.task == "regions")

    def members(self, variant: str | None = None) -> tuple[str, ...]:
        """Names of the variants that answer together: one, or the ensemble where none is named.

        Raises:
            PackageError: no variant has that name.
        """
        if variant is None and self.ensemble:
            return self.ensemble
        return (self.variant(variant).name,)

    def tolerance(self, variant: str | None = None) -> float:
        """Largest error of probabilities that is allowed of a variant, or of the whole package."""
        return max(self.variant(name).tolerance for name in self.members(variant))

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


@dataclass(frozen=True, eq=False)
class GoldenSamples:
    """Real validation patches and what the network said to them."""

    patches: Float[np.ndarray, "b c *patch"]
    logits: Float[np.ndarray, "b k *patch"]


@dataclass(frozen=True, eq=False)
class ModelPackage:
    """A checked package on disk."""

    path: Path
    card: ModelCard

    @classmethod
    def load(cls, path: Path | str) -> "ModelPackage":
        """Read and check a package: schema, files and hashes.

        Raises:
            PackageError: anything is missing, altered or of another schema version.
        """
        path = Path(path)
        card = read_card(path)
        files = {(variant.file, variant.sha256) for variant in card.variants}
        files |= {(v.weights.file, v.weights.sha256) for v in card.variants if v.weights}
        for name, sha256 in sorted(files):
            _check_file(path, name, sha256)
        _check_file(path, GOLDEN_FILE, card.golden_sha256)
        return cls(path=path, card=card)

    def model_file(self, variant: str | None = None) -> Path:
        """The ONNX file of a variant."""
        return self.path / self.card.variant(variant).file

    def has_golden(self, variant: str | None = None) -> bool:
        """Whether the golden samples are of that variant, and not of the package's first."""
        if variant is None or (self.card.members() == (variant,)):
            return True
        with np.load(self.path / GOLDEN_FILE, allow_pickle=False) as arrays:
            return f"logits.{variant}" in arrays

    def golden(self, variant: str | None = None) -> GoldenSamples:
        """The golden samples: what the variant says, or the package where none is named.

        Raises:
            PackageError: the arrays are missing or do not fit the card.
        """
        try:
            with np.load(self.path / GOLDEN_FILE, allow_pickle=False) as arrays:
                own = f"logits.{variant}"
                logits = arrays[own if own in arrays else "logits"]
                samples = GoldenSamples(arrays["patches"], logits)
        except (OSError, ValueError, KeyError) as error:
            raise PackageError(f"{GOLDEN_FILE} cannot be read: {error}") from error
        patch = self.card.input.patch
        channels, outputs = len(self.card.input.channels), self.card.outputs
        if samples.patches.shape[1:] != (channels, *patch) or samples.logits.shape != (
            len(samples.patches),
            outputs,
            *patch,
        ):
            raise PackageError(
                f"golden patches must be (b, {channels}, {patch}) with {outputs} logits each, got "
                f"{samples.patches.shape} and {samples.logits.shape}"
            )
        return samples


def write_card(folder: Path, card: ModelCard) -> None:
    """Write ``model.json`` into a folder that is being filled."""
    (folder / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def write_golden(
    folder: Path,
    samples: GoldenSamples,
    of_variants: Mapping[str, Float[np.ndarray, "b k *patch"]] | None = None,
) -> str:
    """Write the golden samples and return their sha256.

    Args:
        folder: the package that is being filled.
        samples: patches, and what the package says to them: its ensemble, or its only network.
        of_variants: logits of variants that are networks of their own, e.g. folds.
    """
    others = {f"logits.{name}": logits for name, logits in (of_variants or {}).items()}
    arrays = {"patches": samples.patches, "logits": samples.logits, **others}
    np.savez_compressed(folder / GOLDEN_FILE, allow_pickle=False, **arrays)
    return sha256_of(folder / GOLDEN_FILE)


def read_card(folder: Path) -> ModelCard:
    """The card of a package whose other files are not looked at.

    Raises:
        PackageError: there is no card, or it is not valid.
    """
    path = folder / CARD_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PackageError(
            f"{path.parent} is no model package: it has no {CARD_FILE}; "
            "name the folder that `python -m training.fit` wrote as package/"
        ) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PackageError(f"{path} cannot be read: {error}") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version not in READABLE_VERSIONS:
        raise PackageError(
            f"this program reads model packages of schema versions 1 and {SCHEMA_VERSION}, the "
            f"package has {version!r}; export it again with this version of seg"
        )
    try:
        return ModelCard.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or CARD_FILE
        raise PackageError(f"{CARD_FILE} is not valid at {where}: {first['msg']}") from error


def _check_file(folder: Path, name: str, sha256: str) -> None:
    if Path(name).name != name:
        raise PackageError(f"a package names files in its own folder only, got {name!r}")
    path = folder / name
    if not path.is_file():
        raise PackageError(f"the package lacks {name}, which {CARD_FILE} names; export it again")
    if sha256_of(path) != sha256:
        raise PackageError(f"{name} was changed after the export: its sha256 is not the card's")
