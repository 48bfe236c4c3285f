"""nnU-Net's networks as our own, weight by weight.

Its residual encoder is ours (``identity`` shortcuts, pooled projections, one convolution a level of
the decoder), and its classic U-Net is ours without shortcuts: two convolutions are a block that
goes around nothing. Its convolutions have biases, ours have none: instance normalisation takes the
mean away again, so nothing is lost.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from seg.errors import ConfigError
from seg.networks import ResidualUNet, UNetConfig
from seg.verbs import called
from training.interchange.nnunet.axes import AxisMap
from training.interchange.nnunet.schema import Numbers, validate_content

RESIDUAL, PLAIN = "ResidualEncoderUNet", "PlainConvUNet"
KNOWN = {
    "norm_op": ("torch.nn.modules.instancenorm.InstanceNorm2d",
                "torch.nn.modules.instancenorm.InstanceNorm3d"),
    "nonlin": ("torch.nn.LeakyReLU", "torch.nn.modules.activation.LeakyReLU"),
}  # fmt: skip
"""What a network may be made of, as plans name it."""
FIXED: Mapping[str, tuple[Any, ...]] = {
    "nonlin_first": (None, False),
    "bottleneck_channels": (None,),
    "stem_channels": (None,),
    "block": (None, "dynamic_network_architectures.building_blocks.residual.BasicBlockD"),
    "squeeze_excitation": (None, False),
}
"""Options that must have one of these values."""

_CONV = r"(?:conv|norm)\.(?:weight|bias)"
NAMES: Mapping[str, Sequence[tuple[str, str]]] = {
    RESIDUAL: (
        (rf"encoder\.stem\.convs\.0\.({_CONV})", r"encoder.stem.\1"),
        (rf"encoder\.stages\.(\d+)\.blocks\.(\d+)\.conv1\.({_CONV})",
         r"encoder.stages.\1.blocks.\2.branch.0.\3"),
        (rf"encoder\.stages\.(\d+)\.blocks\.(\d+)\.conv2\.({_CONV})",
         r"encoder.stages.\1.blocks.\2.branch.1.\3"),
        (rf"encoder\.stages\.(\d+)\.blocks\.(\d+)\.skip\.[01]\.({_CONV})",
         r"encoder.stages.\1.blocks.\2.shortcut.project.\3"),
        (rf"decoder\.stages\.(\d+)\.convs\.0\.({_CONV})", r"decoder.levels.\1.fuse.\2"),
    ),
    PLAIN: (
        (rf"encoder\.stages\.0\.0\.convs\.(\d+)\.({_CONV})", r"encoder.stem.\1.\2"),
        (rf"encoder\.stages\.(\d+)\.0\.convs\.(\d+)\.({_CONV})",
         r"encoder.stages.\1.blocks.0.branch.\2.\3"),
        (rf"decoder\.stages\.(\d+)\.convs\.(\d+)\.({_CONV})",
         r"decoder.levels.\1.fuse.branch.\2.\3"),
    ),
}  # fmt: skip
COMMON = ((r"decoder\.transpconvs\.(\d+)\.(weight|bias)", r"decoder.levels.\1.upsample.\2"),)
COPIES = re.compile(r"\.all_modules\.|^decoder\.encoder\.")
"""Names under which nnU-Net keeps a tensor a second time."""
HEAD = re.compile(r"decoder\.seg_layers\.(\d+)\.(weight|bias)")


def network_of(
    architecture: Mapping[str, Any], in_channels: int, num_classes: int, axes: AxisMap
) -> UNetConfig:
    """The shape of the network that nnU-Net's plans describe.

    Raises:
        ConfigError: it has a part that ours has not.
    """
    kind = str(architecture["network_class_name"]).rpartition(".")[2]
    options = architecture["arch_kwargs"]
    if kind not in NAMES:
        raise ConfigError(
            f"the network is a {kind}; adopted are {RESIDUAL} and {PLAIN}, which nnU-Net's "
            f"planners make. Export others to ONNX and use `{called('training.adopt', 'onnx')}`"
        )
    validate_content(Numbers, options, "the network in plans.json")
    _check_parts(options)
    stages = int(options["n_stages"])
    strides = [axes.numbers(each, 1) for each in _per_axis(options["strides"], stages, options)]
    kernels = [
        axes.numbers(each, 1) for each in _per_axis(options["kernel_sizes"], stages, options)
    ]
    shared: dict[str, Any] = {
        "spatial_dims": len(axes.sources),
        "in_channels": in_channels,
        "num_classes": num_classes,
        "features": tuple(_per_stage(options["features_per_stage"], stages)),
        "strides": tuple(strides),
        "kernel_sizes": tuple(kernels),
    }
    in_decoder = _per_stage(options["n_conv_per_stage_decoder"], stages - 1)
    if kind == RESIDUAL:
        _check_convs("n_conv_per_stage_decoder", in_decoder, 1)
        return UNetConfig(**shared, blocks=tuple(_per_stage(options["n_blocks_per_stage"], stages)))
    _check_convs("n_conv_per_stage", _per_stage(options["n_conv_per_stage"], stages), 2)
    _check_convs("n_conv_per_stage_decoder", in_decoder, 2)
    return UNetConfig(
        **shared,
        blocks=(0, *[1] * (stages - 1)),
        stem="double",
        shortcut="none",
        decoder="residual",
    )


def filled(
    config: UNetConfig, kind: str, weights: Mapping[str, Tensor], axes: AxisMap
) -> ResidualUNet:
    """Our network with nnU-Net's weights; every tensor of the checkpoint is accounted for.

    Args:
        config: of ``network_of``.
        kind: the class of nnU-Net's network.
        weights: of its checkpoint.
        axes: from its axes to the files'.

    Raises:
        ConfigError: a tensor has no place, is missing or has another shape.
    """
    network = ResidualUNet(config)
    ours = network.state_dict()
    placed: dict[str, Tensor] = {}
    for name, tensor in _without_copies(weights).items():
        place = _place(name, NAMES[kind.rpartition(".")[2]], len(config.features) - 1)
        if place is None:
            continue
        turned = axes.kernel(tensor) if tensor.ndim > 2 else tensor
        if place not in ours:
            raise ConfigError(f"the checkpoint's {name} has no place in the network of its plans")
        if turned.shape != ours[place].shape:
            raise ConfigError(
                f"the checkpoint's {name} has shape {tuple(turned.shape)}, its plans say "
                f"{tuple(ours[place].shape)}; are plans.json and checkpoint of one training?"
            )
        placed[place] = turned.float()
    missing = sorted(set(ours) - set(placed))
    if missing:
        raise ConfigError(
            f"the checkpoint lacks {len(missing)} tensors that its plans ask for, such as "
            f"{missing[0]}; are plans.json and checkpoint of one training?"
        )
    network.load_state_dict(placed)
    return network.eval()


def _without_copies(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    kept, copies = {}, []
    for name, tensor in weights.items():
        plain = re.sub(r"^(?:_orig_mod\.|module\.)+", "", name)
        if COPIES.search(plain):
            copies.append((plain, tensor))
        else:
            kept[plain] = tensor
    values = {(tuple(t.shape), t.data_ptr()) for t in kept.values()}
    for name, tensor in copies:
        if (tuple(tensor.shape), tensor.data_ptr()) in values:
            continue
        if not any(t.shape == tensor.shape and torch.equal(t, tensor) for t in kept.values()):
            raise ConfigError(
                f"the checkpoint's {name} should be a copy of another tensor and is not"
            )
    return kept


def _place(name: str, names: Sequence[tuple[str, str]], levels: int) -> str | None:
    """Our name for a tensor; None where it does nothing in a forward pass."""
    head = HEAD.fullmatch(name)
    if head:  # those of coarser levels serve in training only
        return f"heads.0.{head[2]}" if int(head[1]) == levels - 1 else None
    for pattern, replacement in (*names, *COMMON):
        match = re.fullmatch(pattern, name)
        if match:
            # instance normalisation follows and takes a constant away
            return None if name.endswith(".conv.bias") else match.expand(replacement)
    raise ConfigError(
        f"the checkpoint holds {name}, which the network of its plans has not; was it trained with "
        "a trainer that builds a network of its own?"
    )


def _check_parts(options: Mapping[str, Any]) -> None:
    for name, values in KNOWN.items():
        if options.get(name) not in values:
            raise ConfigError(
                f"the network's {name} is {options.get(name)}; adopted is {values[0]} only"
            )
    for name, values in FIXED.items():
        if options.get(name) not in values:
            raise ConfigError(f"the network has {name}={options[name]}, which cannot be adopted")
    norm = options.get("norm_op_kwargs") or {}
    if norm.get("eps", 1e-5) != 1e-5 or norm.get("affine") is not True:
        raise ConfigError(f"instance norm with {norm} cannot be adopted; eps 1e-5 and affine can")
    slope = (options.get("nonlin_kwargs") or {}).get("negative_slope", 0.01)
    if slope != 0.01:
        raise ConfigError(f"LeakyReLU with slope {slope} cannot be adopted; 0.01 can")


def _check_convs(what: str, numbers: Sequence[int], wanted: int) -> None:
    if set(numbers) != {wanted}:
        raise ConfigError(
            f"the network has {what} {list(numbers)}; adopted is {wanted} at every stage, which "
            "nnU-Net's planners make"
        )


def _per_stage(value: Any, stages: int) -> list[int]:
    return [int(value)] * stages if isinstance(value, int) else [int(n) for n in value][:stages]


def _per_axis(value: Any, stages: int, options: Mapping[str, Any]) -> list[list[int]]:
    dims = int(str(options["conv_op"])[-2])
    rows = [value] * stages if isinstance(value, int) else list(value)
    return [[row] * dims if isinstance(row, int) else [int(n) for n in row] for row in rows]
