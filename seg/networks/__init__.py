"""Residual U-Nets in 2D and 3D, with the shortcut as an axis."""

from seg.networks.config import UNetConfig
from seg.networks.layers import parameter_count
from seg.networks.presets import PRESETS, Preset, preset
from seg.networks.shortcut import SHORTCUTS, Additive, Shortcut
from seg.networks.unet import ResidualUNet

__all__ = [
    "PRESETS",
    "SHORTCUTS",
    "Additive",
    "Preset",
    "ResidualUNet",
    "Shortcut",
    "UNetConfig",
    "parameter_count",
    "preset",
]
