"""What will be trained: the plan, one field a decision.

``python -m training.plan PATH --minutes M --memory SIZE`` plans without training.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seg.errors import ConfigError
from seg.frozen import FrozenData
from seg.images import ClassInfo
from seg.images.grid.orientation import are_axis_codes
from seg.model_package import Empty
from seg.model_package.sides import between_sides, in_words, sided_classes
from seg.networks import SHORTCUTS, ForeignConfig, UNetConfig, network_config
from seg.networks.config import RESIDUAL
from seg.networks.foreign.names import is_foreign
from seg.networks.shortcut import ScalarGated
from seg.transforms import Normalisation, Preprocessing
from training.run.names import (
    AugmentationPreset,
    CompilationName,
    InstancesName,
    LossName,
    OptimiserName,
    PrecisionName,
    ScheduleName,
    TrackerName,
)

OPTIMISER_DEFAULTS: dict[str, dict[str, float]] = {
    # Isensee et al., nnU-Net: no warm-up, 0.01, 3e-5.
    "sgd": {"learning_rate": 1e-2, "weight_decay": 3e-5, "warmup_share": 0.0},
}

USUAL_OVERLAP = 0.5
"""Of windows; as nnU-Net has it."""

ELASTIC: dict[str, float] = {"stochastic_depth": 0.1, "sandwich_share": 0.3}
"""What ``fit --elastic`` plans, so that the network stays good when blocks are dropped."""


class Contender(FrozenData):
    """A network that was tried in the planning, and how it did on training cases held back."""

    network: str
    weights: str | None = None
    steps: int
    dice: float | None
    """Mean over classes and cases; None where no case shows a class."""
    cases: int
    """That were held back."""


def elastic_fields(network: str | None) -> dict[str, float]:
    """What ``fit --elastic`` sets; other libraries' blocks have no rate at which they drop out."""
    is_ours = network is None or not is_foreign(network)
    return {name: value for name, value in ELASTIC.items() if is_ours or name != "stochastic_depth"}


class Plan(BaseModel):
    """Everything that ``fit`` decided before it trains; ``plan.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Annotated[str, Field(description="name of the dataset")]
    data: Annotated[str, Field(description="folder of the dataset")]
    minutes: Annotated[float, Field(gt=0, description="from the start of fit to its last step")]
    steps: Annotated[
        int | None, Field(ge=1, description="a fixed number of steps in place of minutes")
    ] = None
    expected_steps: Annotated[
        int | None,
        Field(ge=1, description="that the minutes allowed at the speed measured in planning"),
    ] = None
    memory: Annotated[
        int | None, Field(gt=0, description="bytes that planning may fill; null for what is free")
    ] = None
    seed: Annotated[
        int, Field(ge=0, lt=2**32, description="of weights, patches and augmentation")
    ] = 0
    start: Annotated[
        str | None,
        Field(description="model package whose weights the training begins with; null for none"),
    ] = None
    spacing: Annotated[
        tuple[float, ...] | None,
        Field(description="mm a voxel after resampling, one number an axis; null keeps the pixels"),
    ]
    normalisation: Annotated[tuple[Normalisation, ...], Field(description="one rule a channel")]
    margin: Annotated[
        tuple[int, ...], Field(description="voxels of 0 around every image, one number an axis")
    ]
    orientation: Annotated[
        str | None,
        Field(
            description="axis codes (x, y, z) to which images are turned, such as RAS; null takes "
            "them as they are stored"
        ),
    ] = None
    left_right_axis: Annotated[
        int | None,
        Field(ge=0, description="axis between left and right, where the orientation is not known"),
    ] = None
    mirror_axes: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...] | None,
        Field(
            description="axes along which patches may be mirrored; null for all, but that between "
            "left and right where classes have sides"
        ),
    ] = None
    network: Annotated[
        str, Field(description="preset of seg.networks, or a foreign network (docs/encoders.md)")
    ]
    weights: Annotated[
        str | None,
        Field(
            description="that a foreign encoder begins with: a name on its hub or a safetensors "
            "file; null for random ones"
        ),
    ] = None
    contest: Annotated[
        tuple[Contender, ...],
        Field(description="networks that were tried for --weights auto; none were if empty"),
    ] = ()
    encoder_rate: Annotated[
        float,
        Field(ge=0, le=1, description="learning rate of a foreign encoder, of the others' rate"),
    ] = 1.0
    frozen_share: Annotated[
        float,
        Field(ge=0, lt=1, description="of the training, in which a foreign encoder learns nothing"),
    ] = 0.0
    frozen_statistics: Annotated[
        bool,
        Field(description="batch norms of a foreign encoder keep the statistics of its weights"),
    ] = False
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
    stochastic_depth: Annotated[
        float,
        Field(ge=0, lt=1, description="rate at which the last block is dropped, earlier ones less"),
    ] = 0.0
    sandwich_share: Annotated[
        float,
        Field(ge=0, le=1, description="of the training, at its end: every other step lacks blocks"),
    ] = 0.0
    compute_penalty: Annotated[
        float,
        Field(ge=0, description="price of the operations behind open gates, in units of the loss"),
    ] = 0.0
    patch: Annotated[tuple[int, ...], Field(description="voxels, one number an axis")]
    batch_size: Annotated[int, Field(ge=1, description="patches a step")]
    foreground_share: Annotated[
        float, Field(ge=0, le=1, description="share of patches that must show a class")
    ] = 1 / 3
    augmentation: Annotated[AugmentationPreset, Field(description="preset of training.augment")] = (
        "medical"
    )
    empty_share: Annotated[
        float,
        Field(ge=0, le=1, description="share of patches whose classes are painted out"),
    ] = 0.0
    loss: Annotated[
        LossName,
        Field(description="by name, as in docs/training.md"),
    ] = "dice_ce"
    class_weights: Annotated[
        dict[str, Annotated[float, Field(gt=0)]],
        Field(description="of classes in the loss, by name; 1 where nothing is said"),
    ] = {}
    optimiser: Annotated[OptimiserName, Field(description="adamw, or sgd of nnU-Net")] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, description="at its highest")] = 3e-3
    weight_decay: Annotated[float, Field(ge=0, description="none of biases and norms")] = 1e-2
    schedule: Annotated[
        ScheduleName, Field(description="how the learning rate comes down to 0")
    ] = "poly"
    warmup_share: Annotated[
        float, Field(ge=0, lt=1, description="share of the training in which the rate rises")
    ] = 0.03
    accumulate: Annotated[
        int, Field(ge=1, description="batches whose gradients are added up for one step")
    ] = 1
    gradient_clip: Annotated[
        float, Field(ge=0, description="largest norm of the gradient; 0 for none")
    ] = 12.0
    ema: Annotated[
        float,
        Field(ge=0, lt=1, description="decay of the moving average of weights that is exported"),
    ] = 0.98
    channels_last: Annotated[
        bool, Field(description="channels lie side by side in memory, where that is faster")
    ] = False
    compiled: Annotated[
        CompilationName,
        Field(
            description="the network is compiled by torch while it trains, its kernels alone or "
            "as CUDA graphs too"
        ),
    ] = "none"
    precision: Annotated[
        PrecisionName,
        Field(description="of the network while it trains"),
    ] = "float32"
    threads: Annotated[
        int | None, Field(ge=1, description="of the network on a CPU; null for all cores")
    ] = None
    checkpoint_seconds: Annotated[
        float, Field(ge=0, description="between checkpoints, the most that a crash can cost")
    ] = 20.0
    instances: Annotated[
        InstancesName,
        Field(
            description="how objects are told apart: none, by a class where two of one class "
            "touch, by how deep a voxel lies in its object, or whichever of both does better on "
            "cases held back from the training"
        ),
    ] = "none"
    border_width: Annotated[
        int, Field(ge=1, description="voxels of each of two objects that touch, seen as border")
    ] = 1
    overlap: Annotated[
        float | None,
        Field(
            ge=0,
            lt=1,
            description="of windows when whole images are segmented; null takes the smallest that "
            "loses nothing on held-back cases",
        ),
    ] = None
    empty: Annotated[
        Empty | None,
        Field(
            description="intensities of air or glass: windows of nothing else are background "
            "without asking the network; null asks about all"
        ),
    ] = None
    track: Annotated[
        TrackerName | None,
        Field(description="where to log beside CSV and TensorBoard"),
    ] = None

    @model_validator(mode="after")
    def _axes_are_those_of_the_patch(self) -> "Plan":
        for name, axes in (
            ("mirror_axes", self.mirror_axes or ()),
            ("left_right_axis", () if self.left_right_axis is None else (self.left_right_axis,)),
        ):
            if axes and max(axes) >= self.dims:
                raise ValueError(f"{name}: axes are 0 to {self.dims - 1}, got {max(axes)}")
        if self.orientation is not None and not are_axis_codes(self.orientation, self.dims):
            raise ValueError(
                f"orientation: {self.dims} axis codes such as {'RAS'[: self.dims]} are needed, got "
                f"{self.orientation!r}"
            )
        return self

    @model_validator(mode="after")
    def _can_be_compiled(self) -> "Plan":
        if self.compiled not in self.compilations:
            why = (
                "CUDA graphs write over the gradients that accumulate would add up"
                if "kernels" in self.compilations
                else "a training that leaves blocks out or closes gates would compile many networks"
            )
            raise ValueError(f"{why}, choose one of {', '.join(self.compilations)}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_optimiser(cls, fields: Any) -> Any:
        chosen = fields.get("optimiser") if isinstance(fields, dict) else None
        return OPTIMISER_DEFAULTS.get(chosen, {}) | fields if chosen else fields

    folds: Annotated[
        int, Field(ge=1, description="of cross-validation, which share the minutes; 1 for none")
    ] = 1
    fold: Annotated[
        int | None, Field(ge=0, description="which of them this run trains; null for all")
    ] = None
    mirror: Annotated[
        bool, Field(description="measure what predicting in mirrors as well gains and costs")
    ] = False

    @property
    def compilations(self) -> Sequence[CompilationName]:
        """What ``compiled`` can be: graphs where all steps are alike and keep nothing."""
        if self.sandwich_share or self.stochastic_depth or self.compute_penalty:
            return ("none",)
        return ("none", "kernels") if self.accumulate > 1 else ("none", "kernels", "graphs")

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.patch)

    @property
    def between_sides(self) -> int | None:
        """The axis that runs between left and right; None where none does."""
        return between_sides(self.dims, self.orientation, self.left_right_axis)

    def mirrored_axes(self, classes: Sequence[str]) -> tuple[int, ...]:
        """Axes along which patches are mirrored, for classes of these names."""
        if self.mirror_axes is not None:
            return self.mirror_axes
        forbidden = self.between_sides if sided_classes(classes) else None
        return tuple(axis for axis in range(self.dims) if axis != forbidden)

    @property
    def usual_overlap(self) -> float:
        """Of windows, before any other was measured."""
        return USUAL_OVERLAP if self.overlap is None else self.overlap

    @property
    def preprocessing(self) -> Preprocessing:
        """What happens to every image, in training as in service."""
        return Preprocessing(
            spacing=self.spacing, normalisation=self.normalisation, margin=self.margin
        )

    def network_config(self, num_classes: int) -> UNetConfig | ForeignConfig:
        """The network's shape.

        Raises:
            ConfigError: the numbers do not go together.
        """
        config = network_config(
            self.network,
            spatial_dims=self.dims,
            in_channels=len(self.normalisation),
            num_classes=num_classes,
            strides=self.strides,
            kernel_sizes=self.kernel_sizes,
        )
        if isinstance(config, ForeignConfig):
            self._check_foreign(config)
            return config
        shortcut = self.shortcut or config.shortcut
        has_blocks = config.encoder == RESIDUAL or config.decoder == RESIDUAL
        if self.shortcut is not None and not (has_blocks or self.compute_penalty):
            raise ConfigError(
                f"--shortcut changes seg's own blocks, and {self.network} has none; leave it out, "
                f"or take seg:resnet34+{self.network}, whose decoder has some"
            )
        if self.compute_penalty and not issubclass(SHORTCUTS[shortcut], ScalarGated):
            raise ConfigError(
                f"a compute penalty closes gates, and {shortcut!r} shortcuts have none; take "
                "--shortcut gated or gated-channel"
            )
        return replace(
            config,
            deep_supervision=self.deep_supervision,
            stochastic_depth=self.stochastic_depth,
            shortcut=shortcut,
            gated_skips=self.compute_penalty > 0 and config.decoder == "light",
        )

    def _check_foreign(self, config: ForeignConfig) -> None:
        """Say what only networks made of our blocks can do, rather than leave it out silently."""
        for name, is_asked in (
            ("shortcut", self.shortcut is not None),
            ("compute-penalty", self.compute_penalty > 0),
            ("stochastic-depth", self.stochastic_depth > 0),
        ):
            if is_asked:
                raise ConfigError(
                    f"--{name} changes seg's own blocks, and {config.name} has none; leave it out, "
                    "or take a preset such as resunet-s"
                )


def mirrors_in_words(plan: Plan, classes: Sequence[ClassInfo]) -> str:
    """Along which axes patches are mirrored, and why not along all."""
    names = [info.name for info in classes[1:]]
    axes, letters, sided = plan.mirrored_axes(names), "zyx"[-plan.dims :], sided_classes(names)
    along = f"along {', '.join(letters[axis] for axis in axes)}" if axes else "along no axis"
    between = plan.between_sides
    if not sided or between is None:
        return along
    if between in axes:
        return (
            f"{along}; {letters[between]} runs between left and right, so that {in_words(sided)} "
            "cannot be told from what lies on the other side"
        )
    return (
        f"{along}, not along {letters[between]}, which runs between left and right: "
        f"{in_words(sided)} would change places"
    )


def changed_plan(plan: Plan, fields: dict[str, Any]) -> Plan:
    """The plan with other values in some fields.

    Raises:
        ConfigError: a value cannot be.
    """
    kept = plan.model_dump()
    if fields.get("optimiser", plan.optimiser) != plan.optimiser:  # its numbers go with it
        kept = {k: v for k, v in kept.items() if k not in OPTIMISER_DEFAULTS["sgd"]}
    return validated(kept | fields, "the plan")


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
