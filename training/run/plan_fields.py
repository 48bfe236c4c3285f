"""The fields of a plan; light, so that ``--help`` lists what a user may set of them at once."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from seg.frozen import FrozenData
from seg.model_package.empty import Empty
from seg.transforms.spec import Normalisation
from training.run.names import (
    AugmentationPlace,
    AugmentationPreset,
    CompilationName,
    InstancesName,
    LossName,
    OptimiserName,
    PrecisionName,
    ScheduleName,
    TrackerName,
)

ENCODER_LEAD = 0.01
"""Of Dice, by which a pretrained encoder must be ahead of what is planned without one, where too
few subjects are held back for an interval."""
FEWEST_HELD_BACK = 3
"""Subjects that an interval of the lead takes; of two it is 13 times as wide as they differ."""


class Contender(FrozenData):
    """A network that was tried in the planning, and how it did on training cases held back."""

    network: str
    weights: str | None = None
    steps: int
    dice: float | None
    """Mean over classes and cases; None where no case shows a class."""
    cases: int
    """That were held back."""
    minutes: float | None = None
    """Of training; None where steps were counted."""
    lead: float | None = None
    """Of Dice over the first, paired over the subjects held back; None of the first."""
    ci95: tuple[float, float] | None = None
    """Student's interval of the lead; None where too few subjects were held back."""


class PlanFields(BaseModel):
    """One field a decision, in the order of ``plan.yaml``."""

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
        Field(
            min_length=1,
            description="model package whose weights the training begins with; null for none",
        ),
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
        str,
        Field(
            min_length=1,
            description="preset of seg.networks, or a foreign network (docs/encoders.md)",
        ),
    ]
    weights: Annotated[
        str | None,
        Field(
            min_length=1,
            description="that a foreign encoder begins with: a name on its hub or a safetensors "
            "file; null for random ones",
        ),
    ] = None
    weights_sha256: Annotated[
        str | None, Field(description="of that file; null where the weights are none")
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
        str | None,
        Field(min_length=1, description="what leads around a block; null keeps the preset's"),
    ] = None
    attention: Annotated[
        int | None,
        Field(ge=0, le=64, description="attention blocks at the bottom; null keeps the preset's"),
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
    augment_on: Annotated[
        AugmentationPlace,
        Field(
            description="where patches are moved and their intensities changed: by the processes "
            "that cut them, or on the device that trains"
        ),
    ] = "host"
    augmentation: Annotated[AugmentationPreset, Field(description="preset of training.augment")] = (
        "medical"
    )
    empty_share: Annotated[
        float,
        Field(ge=0, le=1, description="share of patches whose classes are painted out"),
    ] = 0.0
    fade_share: Annotated[
        float,
        Field(ge=0, le=1, description="share of patches whose objects are made paler one by one"),
    ] = 0.0
    loss: Annotated[
        LossName,
        Field(description="by name, as in docs/training.md"),
    ] = "dice_ce"
    class_weights: Annotated[
        dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]],
        Field(description="of classes in the loss, by name; 1 where nothing is said"),
    ] = {}
    optimiser: Annotated[OptimiserName, Field(description="adamw, or sgd of nnU-Net")] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, le=10, description="at its highest")] = 3e-3
    weight_decay: Annotated[float, Field(ge=0, le=10, description="none of biases and norms")] = (
        1e-2
    )
    schedule: Annotated[
        ScheduleName, Field(description="how the learning rate comes down to 0")
    ] = "poly"
    warmup_share: Annotated[
        float, Field(ge=0, lt=1, description="share of the training in which the rate rises")
    ] = 0.03
    accumulate: Annotated[
        int, Field(ge=1, le=10_000, description="batches whose gradients are added up for one step")
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
        int | None, Field(ge=1, le=1024, description="of the network on a CPU; null for all cores")
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

    folds: Annotated[
        int, Field(ge=1, description="of cross-validation, which share the minutes; 1 for none")
    ] = 1
    fold: Annotated[
        int | None, Field(ge=0, description="which of them this run trains; null for all")
    ] = None
    mirror: Annotated[
        bool, Field(description="measure what predicting in mirrors as well gains and costs")
    ] = False
