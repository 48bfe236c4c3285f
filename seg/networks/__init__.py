"""Residual U-Nets in 2D and 3D, with the shortcut as an axis."""

from typing import TYPE_CHECKING

from seg.late import late_names

if TYPE_CHECKING:
    from seg.networks.config import UNetConfig
    from seg.networks.foreign.config import ForeignConfig
    from seg.networks.layers import parameter_count
    from seg.networks.network import SegmentationNetwork
    from seg.networks.presets import PRESETS, Preset, network_config, preset
    from seg.networks.shortcut import SHORTCUTS, Additive, Shortcut
    from seg.networks.unet import ResidualUNet, make_network

__all__ = [
    "PRESETS",
    "SHORTCUTS",
    "Additive",
    "ForeignConfig",
    "Preset",
    "ResidualUNet",
    "SegmentationNetwork",
    "Shortcut",
    "UNetConfig",
    "make_network",
    "network_config",
    "parameter_count",
    "preset",
]

__getattr__ = late_names(
    __name__, "config", "foreign.config", "layers", "network", "presets", "shortcut", "unet"
)
