"""What will be trained: the plan, one field a decision."""

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seg.errors import ConfigError
from seg.networks import UNetConfig, preset
from seg.transforms import Normalisation, Preprocessing


class Plan(BaseModel):
    """Everything that ``fit`` decided before it trains; ``plan.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Annotated[str, Field(description="name of the dataset")]
    data: Annotated[str, Field(description="folder of the dataset")]
    minutes: Annotated[float, Field(gt=0, description="from the start of fit to its last step")]
    steps: Annotated[
        int | None, Field(ge=1, description="a fixed number of steps in place of minutes")
    ] = None
    seed: Annotated[int, Field(description="of weights, patches and augmentation")] = 0
    spacing: Annotated[
        tuple[float, ...] | None,
        Field(description="mm a voxel after resampling, one number an axis; null keeps the pixels"),
    ]
    normalisation: Annotated[tuple[Normalisation, ...], Field(description="one rule a channel")]
    margin: Annotated[
        tuple[int, ...], Field(description="voxels of 0 around every image, one number an axis")
    ]
    network: Annotated[str, Field(description="preset of seg.networks")]
    shortcut: Annotated[
        str | None, Field(description="what leads around a block; null keeps the preset's")
    ] = None
    strides: Annotated[
        tuple[tuple[int, ...], ...], Field(description="one entry a stage, one number an axis")
    ]
    kernel_sizes: Annotated[
        tuple[tuple[int, ...], ...], Field(description="one entry a stage, one number an axis")
    ]
    deep_supervision: Annotated[bool, Field(description="a loss at every resolution")] = True
    patch: Annotated[tuple[int, ...], Field(description="voxels, one number an axis")]
    batch_size: Annotated[int, Field(ge=1, description="patches a step")]
    foreground_share: Annotated[
        float, Field(ge=0, le=1, description="share of patches that must show a class")
    ] = 1 / 3
    augmentation: Annotated[
        Literal["none", "light", "standard"], Field(description="preset of training.augment")
    ] = "standard"
    learning_rate: Annotated[float, Field(gt=0, description="of AdamW, at its highest")] = 3e-3
    weight_decay: Annotated[float, Field(ge=0, description="of AdamW")] = 1e-2
    warmup_share: Annotated[
        float, Field(ge=0, lt=1, description="share of the training in which the rate rises")
    ] = 0.03
    ema_decay: Annotated[
        float, Field(ge=0, lt=1, description="of the moving average of weights that is exported")
    ] = 0.98
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="of the network while it trains")
    ] = "float32"
    checkpoint_seconds: Annotated[
        float, Field(ge=0, description="between checkpoints, the most that a crash can cost")
    ] = 20.0
    overlap: Annotated[
        float, Field(ge=0, lt=1, description="of windows when whole images are segmented")
    ] = 0.5

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.patch)

    @property
    def preprocessing(self) -> Preprocessing:
        """What happens to every image, in training as in service."""
        return Preprocessing(
            spacing=self.spacing, normalisation=self.normalisation, margin=self.margin
        )

    def network_config(self, num_classes: int) -> UNetConfig:
        """The network's shape.

        Raises:
            ConfigError: the numbers do not go together.
        """
        config = preset(
            self.network,
            spatial_dims=self.dims,
            in_channels=len(self.normalisation),
            num_classes=num_classes,
            strides=self.strides,
            kernel_sizes=self.kernel_sizes,
        )
        config = replace(config, deep_supervision=self.deep_supervision)
        return replace(config, shortcut=self.shortcut) if self.shortcut else config


def changed_plan(plan: Plan, fields: dict[str, Any]) -> Plan:
    """The plan with other values in some fields.

    Raises:
        ConfigError: a value cannot be.
    """
    return validated(plan.model_dump() | fields, "the plan")


def validated(fields: dict[str, Any], where: str) -> Plan:
    """The plan that holds these fields.

    Raises:
        ConfigError: a field is missing, unknown or cannot be; ``where`` it stands is named.
    """
    try:
        return Plan.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where} cannot be used: {name}: {first['msg']}") from error
