"""How far a network sees, by walking from an output voxel back to the image."""

from seg.networks.block import BLOCKS
from seg.networks.config import RESIDUAL, UNetConfig
from seg.networks.layers import Axes
from seg.networks.shortcut import BlockShape
from seg.networks.stem import STEMS


def receptive_field(config: UNetConfig) -> Axes | None:
    """Voxels along each axis that the convolutions let one output voxel see.

    None where it is everything (attention) or not known (a foreign encoder). Instance
    normalisation and squeeze-excitation see the whole patch as well, but only its mean and spread.
    """
    if config.encoder != RESIDUAL or config.attention_blocks:
        return None
    return tuple(_seen_along(config, axis) for axis in range(config.spatial_dims))


def _seen_along(config: UNetConfig, axis: int) -> int:
    """Walks from an output voxel back to the image by way of the bottleneck."""
    seen = 1
    if config.starts_strided:
        seen = _before_upsampling(_before_fusion(config, 0, axis, seen), config.strides[0][axis])
    for stage in range(len(config.features) - 1):
        seen = _before_fusion(config, stage, axis, seen)
        seen = _before_upsampling(seen, config.strides[stage + 1][axis])
    for stage in reversed(range(len(config.features))):
        seen = _before_stage(config, stage, axis, seen)
    stem = STEMS[config.stem]
    kernel_size = stem.kernel(config.kernel_sizes[0])[axis]
    for _ in range(stem.convs - 1):
        seen = _before_conv(seen, kernel_size, 1)
    return _before_conv(seen, kernel_size, config.strides[0][axis])


def _before_conv(seen: int, kernel_size: int, stride: int) -> int:
    return (seen - 1) * stride + kernel_size


def _before_upsampling(seen: int, stride: int) -> int:
    """Coarse voxels under ``seen`` fine ones, where they lie worst."""
    return (seen + stride - 2) // stride + 1


def _before_fusion(config: UNetConfig, stage: int, axis: int, seen: int) -> int:
    if config.decoder == "light":
        return _before_conv(seen, config.kernel_sizes[stage][axis], 1)
    return _before_block(config, stage, axis, seen, 1)


def _before_stage(config: UNetConfig, stage: int, axis: int, seen: int) -> int:
    stride = config.strides[stage][axis] if stage > 0 else 1
    pools = stage == 1 and STEMS[config.stem].max_pool
    for block in reversed(range(config.blocks[stage])):
        takes_stride = block == 0 and not pools
        seen = _before_block(config, stage, axis, seen, stride if takes_stride else 1)
    if pools and stride > 1:
        seen = _before_conv(seen, 3, stride)
    return seen


def _before_block(config: UNetConfig, stage: int, axis: int, seen: int, stride: int) -> int:
    shape = BlockShape(
        in_channels=4,
        branch_channels=4,
        out_channels=4,
        kernel_size=(config.kernel_sizes[stage][axis],),
        stride=(stride,),
    )
    through_branch = seen
    for conv in reversed(BLOCKS[config.block](shape)):
        through_branch = _before_conv(through_branch, conv.kernel_size[0], conv.stride[0])
    return max(through_branch, seen * stride)
