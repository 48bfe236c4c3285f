"""What a study is asked to do, as plain data, and the networks that it compares."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from seg.errors import ConfigError
from seg.networks import UNetConfig

STAGES = 2
"""The image is halved by the stem and once more: deep stages where a step is cheap."""
CONVOLUTIONS_A_BLOCK = 2
CHOICE_OF_RUNS = ("seeds", "layers", "shortcuts")
"""What may grow later: runs that are there are kept."""


class Setting(BaseModel):
    """Sizes of a study; those into one folder agree in all but ``CHOICE_OF_RUNS``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Annotated[Path, Field(description="folder of the dataset")]
    shortcuts: Annotated[tuple[str, ...], Field(min_length=1)]
    layers: Annotated[tuple[int, ...], Field(min_length=1)]
    """Convolutions of the encoder: a stem, and two a block in two stages."""
    seeds: Annotated[int, Field(ge=1)] = 3
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)] = 8
    edge: Annotated[int, Field(ge=16)] = 64
    """Of a patch, in voxels along each axis; less where the images are smaller."""
    features: Annotated[int, Field(ge=2)] = 16
    """Of the finer stage; the coarser one has twice as many."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.05


def blocks_a_stage(layers: int) -> int:
    """Blocks that give an encoder of so many convolutions.

    Raises:
        ConfigError: no whole number of blocks does.
    """
    step = STAGES * CONVOLUTIONS_A_BLOCK
    blocks, rest = divmod(layers - 1, step)
    if rest or blocks < 1:
        near = 1 + step * max(1, round((layers - 1) / step))
        raise ConfigError(
            f"an encoder here has 1 + {step}n convolutions, got {layers}; the nearest is {near}"
        )
    return blocks


def study_config(
    setting: Setting,
    patch: tuple[int, ...],
    counts: tuple[int, int],
    shortcut: str,
    layers: int,
) -> UNetConfig:
    """A U-Net whose every path leads through the blocks of at least its first stage.

    The stem takes the first halving, so that no skip of the U-Net leads around all blocks; with
    one, a plain network would be as shallow as that skip.

    Args:
        setting: widths.
        patch: edges in voxels; an axis too short to be halved twice keeps its size.
        counts: channels and classes.
        shortcut: by name.
        layers: convolutions of the encoder.

    Raises:
        ConfigError: there is no such network, as ``dense`` with more blocks than features.
    """
    blocks = blocks_a_stage(layers)
    strides = tuple(2 if _is_halved(edge, setting.edge) else 1 for edge in patch)
    kernel = (3,) * len(patch)
    return UNetConfig(
        spatial_dims=len(patch),
        in_channels=counts[0],
        num_classes=counts[1],
        features=(setting.features, 2 * setting.features),
        blocks=(blocks,) * STAGES,
        strides=(strides,) * STAGES,
        kernel_sizes=(kernel,) * STAGES,
        shortcut=shortcut,
    )


def patch_edges(edge: int, image: tuple[int, ...]) -> tuple[int, ...]:
    """Edges of a patch: as long as asked for, a multiple of 4, and no longer than the image.

    Axes of less than a quarter of ``edge`` are not halved, so they keep what the image has.
    """
    return tuple(min(edge, n) // 4 * 4 if _is_halved(n, edge) else n for n in image)


def _is_halved(length: int, edge: int) -> bool:
    return length >= edge // 4
