"""What a user says of a network that says little of itself: ``spec.yaml``."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seg.errors import ConfigError
from seg.images import ClassInfo
from seg.model_package import Channel, InputSpec, Postprocessing, Task, TrainingFingerprint
from seg.model_package.provenance import ANY_INTENSITY
from seg.transforms import Normalisation, Preprocessing
from training.dataset.classes import make_classes

Activation = Literal["none", "softmax", "sigmoid"]
"""What the network's last layer has done to its logits already."""

ANY_SIZE = (1, 2**15)


class Description(BaseModel):
    """Classes, channels and preprocessing of a network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    """Names, background first."""
    colors: dict[str, tuple[int, int, int]] = {}
    task: Task = "exclusive"
    """``regions`` where classes overlap; then the network has no channel for background."""
    activation: Activation = "none"
    channels: tuple[Channel, ...] = (Channel(name="image"),)
    patch: tuple[Annotated[int, Field(gt=0)], ...] | None = None
    """Voxels, one number an axis; may be left out where the network itself has one."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    spacing: tuple[float | None, ...] | None = None
    """mm that images are resampled to; nothing where they are taken as they are."""
    orientation: str | None = None
    """Axis codes (x, y, z) of the images of the training, such as RAS: images are turned to them.
    Nothing where they are taken as they are stored."""
    normalisation: tuple[Normalisation, ...] = (Normalisation(kind="zscore"),)
    """One rule a channel, or one for all."""
    postprocessing: Postprocessing = Postprocessing()
    licence: str = "not stated"
    intensity: tuple[tuple[float, float], ...] | None = None
    """Ordinary intensities, one pair a channel; images beyond them are warned of."""

    @model_validator(mode="after")
    def _names_fit(self) -> "Description":
        if len(self.normalisation) not in (1, len(self.channels)):
            raise ValueError("normalisation needs one rule, or one a channel")
        return self

    @property
    def outputs(self) -> int:
        """Channels of logits."""
        return len(self.classes) - (self.task == "regions")

    @property
    def class_infos(self) -> tuple[ClassInfo, ...]:
        """The classes with colours."""
        return make_classes(self.classes, self.colors)

    def input_spec(self, patch: tuple[int, ...]) -> InputSpec:
        """What happens to an image, for a network of that patch."""
        rules = self.normalisation
        return InputSpec(
            channels=self.channels,
            patch=patch,
            overlap=self.overlap,
            orientation=self.orientation,
            preprocessing=Preprocessing(
                spacing=self.spacing,
                normalisation=rules if len(rules) > 1 else rules * len(self.channels),
            ),
        )

    def fingerprint(self, dims: int) -> TrainingFingerprint:
        """Nothing is known of the training images but what was said, so nothing else warns."""
        return TrainingFingerprint(
            cases=0,
            shape=(ANY_SIZE,) * dims,
            intensity=self.intensity or (ANY_INTENSITY,) * len(self.channels),
        )


def describe_fields(fields: Any, where: str) -> Description:
    """The description that holds these fields.

    Raises:
        ConfigError: a field is missing, unknown or cannot be; ``where`` it stands is named.
    """
    try:
        return Description.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "it"
        raise ConfigError(f"{where}: {field}: {first['msg']}; docs/adopt.md shows one") from error


def read_description(file: Path) -> Description:
    """Read ``spec.yaml``.

    Raises:
        ConfigError: it cannot be read, or says what cannot be.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    return describe_fields(content, str(file))
