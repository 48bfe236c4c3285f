"""Residual blocks of other libraries: which can be left out, and what is left of them then."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class ForeignBlock:
    """How blocks of a class work: a branch that is added to the block's own input."""

    keeps: Callable[[nn.Module], bool]
    """Whether a block adds its input as it is: neither strided nor projected."""
    activation: str | None = None
    """Its attribute that follows the sum; None where nothing does."""


def _is_plain(block: nn.Module) -> bool:
    return block.downsample is None


def _has_skip(block: nn.Module) -> bool:
    return bool(block.has_skip)


FOREIGN_BLOCKS: Mapping[str, ForeignBlock] = {
    # He et al., Deep Residual Learning for Image Recognition, CVPR 2016, and its descendants
    "torchvision.models.resnet.BasicBlock": ForeignBlock(_is_plain, "relu"),
    "torchvision.models.resnet.Bottleneck": ForeignBlock(_is_plain, "relu"),
    "timm.models.resnet.BasicBlock": ForeignBlock(_is_plain, "act2"),
    "timm.models.resnet.Bottleneck": ForeignBlock(_is_plain, "act3"),
    "segmentation_models_pytorch.encoders.senet.SEResNetBottleneck": ForeignBlock(
        _is_plain, "relu"
    ),
    "segmentation_models_pytorch.encoders.senet.SEResNeXtBottleneck": ForeignBlock(
        _is_plain, "relu"
    ),
    # Sandler et al., MobileNetV2, CVPR 2018; also the blocks of EfficientNet and MobileNetV3
    "torchvision.models.mobilenetv2.InvertedResidual": ForeignBlock(
        lambda block: bool(block.use_res_connect)
    ),
    "timm.models._efficientnet_blocks.DepthwiseSeparableConv": ForeignBlock(_has_skip),
    "timm.models._efficientnet_blocks.InvertedResidual": ForeignBlock(_has_skip),
    "timm.models._efficientnet_blocks.EdgeResidual": ForeignBlock(_has_skip),
    # Liu et al., A ConvNet for the 2020s, CVPR 2022
    "timm.models.convnext.ConvNeXtBlock": ForeignBlock(
        lambda block: isinstance(block.shortcut, nn.Identity)
    ),
    "monai.networks.blocks.segresnet_block.ResBlock": ForeignBlock(lambda _: True),
}
"""By the full name of the class, so that no library is imported to look one up."""


def without_foreign_branch(module: nn.Module) -> nn.Module | None:
    """What a block of another library does when its branch adds 0; None where it can't be dropped.

    Only blocks that keep the shape count: what they leave is their input, or its activation.
    """
    kind = type(module)
    block = FOREIGN_BLOCKS.get(f"{kind.__module__}.{kind.__qualname__}")
    if block is None or not block.keeps(module):
        return None
    if block.activation is None:
        return nn.Identity()
    activation: Any = copy.deepcopy(getattr(module, block.activation))
    if hasattr(activation, "inplace"):  # the input may be a skip of the decoder as well
        activation.inplace = False
    return activation  # type: ignore[no-any-return]
