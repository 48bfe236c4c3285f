# mypy: disable-error-code="no-any-return, no-untyped-call"
# Calling an nn.Module is typed Any, and MONAI is not typed.
"""Networks that are foreign throughout. Letters: ``b`` batch, ``c`` channels, ``k`` classes."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seg.errors import ConfigError
from seg.networks.foreign.config import ForeignConfig
from seg.networks.foreign.encoders import REFUSALS, unbuilt, without_warnings
from seg.networks.foreign.names import MONAI, SMP, smp_parts
from seg.networks.foreign.own_code import build_own, names_own_code
from seg.networks.layers import Axes
from seg.networks.network import SegmentationNetwork

MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 128, 3, 6, 12, 24, 48, 96, 7, 14, 28, 56, 112, 224, 256)
"""Tried in this order: what the sizes of an input must be multiples of."""
ANY_MULTIPLES = (*MULTIPLES, *(n for n in range(5, 256) if n not in MULTIPLES))
"""Of a network that a user wrote."""
PROBES = (2, 3, 5)
"""Times a multiple. A network that takes the last two takes all that are larger: what divides 3n
and 5n divides n. The first is for those that take no small images; some norms want more than one
voxel at the bottleneck, so that the multiple itself need not be a size."""
SEGRESNET_FILTERS, SWIN_FEATURES, DYNUNET_FILTERS = 16, 24, (32, 64, 128, 256, 320, 320, 320, 320)


class ForeignNetwork(SegmentationNetwork):
    """Anything that maps ``(b, c, *patch)`` to ``(b, k, *patch)``."""

    config: ForeignConfig

    def __init__(self, config: ForeignConfig) -> None:
        super().__init__()
        self.config = config
        self.model = build_foreign(config)

    @property
    def encoder_module(self) -> nn.Module | None:
        """The part that may have been trained elsewhere."""
        encoder = getattr(self.model, "encoder", None)
        return encoder if self.config.name.startswith(SMP) else None

    def forward(
        self, x: Float[Tensor, "b c *patch"]
    ) -> Float[Tensor, "b k *patch"] | Sequence[Float[Tensor, "b k *_"]]:
        """Return logits; while it trains one's own may return a list of them, finest first.

        Raises:
            ConfigError: a size is no multiple of ``config.total_stride``.
        """
        size, stride = tuple(x.shape[2:]), self.config.total_stride
        if len(size) != len(stride) or any(n % s for n, s in zip(size, stride, strict=True)):
            raise ConfigError(
                f"spatial sizes must be multiples of {stride}, got {size}; pad the input"
            )
        return self.model(x)


def build_foreign(config: ForeignConfig) -> nn.Module:
    """The bare network, with random weights.

    Raises:
        ConfigError: its name is not known, or it cannot be built so.
    """
    if config.name.startswith(SMP):
        return _smp(config)
    if config.name.startswith(MONAI):
        return _monai(config)
    return build_own(
        config.name,
        spatial_dims=config.spatial_dims,
        in_channels=config.in_channels,
        num_classes=config.num_classes,
    )


def multiple_of(config: ForeignConfig) -> int:
    """What every size of an input must be a multiple of, found out by shapes alone.

    Raises:
        ConfigError: the network does not keep sizes, or gives another number of channels.
    """
    network = build_foreign(config).eval()
    if config.name.startswith(SMP):  # some would stretch features to sizes that do not divide
        own = int(network.encoder.output_stride)  # type: ignore[union-attr, arg-type]
        return math.lcm(own, _multiple(network.to("meta"), config, "meta"))
    try:
        return _multiple(network.to("meta"), config, "meta")
    except NotImplementedError:  # an operation that needs numbers
        return _multiple(build_foreign(config).eval(), config, "cpu")


def _multiple(network: nn.Module, config: ForeignConfig, device: str) -> int:
    reason = ""
    is_own = names_own_code(config.name) and device == "meta"
    for multiple in ANY_MULTIPLES if is_own else MULTIPLES:
        for times in PROBES:
            size = (multiple * times,) * config.spatial_dims
            image = torch.zeros(2, config.in_channels, *size, device=device)
            try:
                with torch.no_grad(), without_warnings():
                    logits = network(image)
            except Exception as error:  # what a network says to a size that it does not take
                if device == "meta" and _asks_for_numbers(error):
                    raise NotImplementedError from error
                reason = f"{type(error).__name__}: {error}"
                break
            if not isinstance(logits, Tensor) or logits.shape[:2] != (2, config.num_classes):
                got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise ConfigError(
                    f"{config.name} must map images (b, {config.in_channels}, *patch) to logits "
                    f"(b, {config.num_classes}, *patch), got {got} for {tuple(image.shape)}; the "
                    "channels are one a class, background included (none for background where "
                    "classes overlap), and where objects are told apart one more for the border "
                    "and the depth of each class (--instances none leaves these out)"
                )
            if logits.shape[2:] != image.shape[2:]:
                reason = f"it makes {tuple(logits.shape[2:])} of {size}"
                break
        else:
            return multiple
    raise ConfigError(
        f"{config.name} takes no {config.spatial_dims}D patch whose sizes are multiples of up to "
        f"{max(MULTIPLES)}: {reason.splitlines()[0][:200]}"
    )


def _asks_for_numbers(error: Exception) -> bool:
    return isinstance(error, NotImplementedError) or "meta" in str(error)


def strides_for(multiple: int, spatial_dims: int) -> tuple[Axes, ...]:
    """Stages whose strides multiply to that number, the first one at the image's size."""
    strides, rest = [1], multiple
    while rest > 1:
        step = 2 if rest % 2 == 0 else rest
        strides.append(step)
        rest //= step
    return tuple((step,) * spatial_dims for step in strides)


def _smp(config: ForeignConfig) -> nn.Module:
    import segmentation_models_pytorch as smp

    architecture, encoder = smp_parts(config.name)
    try:
        with without_warnings():
            network: nn.Module = smp.create_model(
                architecture,
                encoder_name=encoder,
                encoder_weights=None,
                in_channels=config.in_channels,
                classes=config.num_classes,
            )
    except REFUSALS as error:
        raise unbuilt(config.name, encoder, error) from error
    return network


def _monai(config: ForeignConfig) -> nn.Module:
    try:
        from monai.networks import nets
    except ImportError as error:
        raise ConfigError(f"{config.name} needs monai; install seg with `train`") from error
    shape = {"spatial_dims": config.spatial_dims, "in_channels": config.in_channels}
    outputs = {"out_channels": config.num_classes}
    match config.name.removeprefix(MONAI):
        case "segresnet":
            return nets.SegResNet(**shape, **outputs, init_filters=SEGRESNET_FILTERS)
        case "swinunetr":
            return nets.SwinUNETR(**shape, **outputs, feature_size=SWIN_FEATURES)
        case "dynunet":
            stages = len(config.strides)
            kernels = config.kernel_sizes or ((3,) * config.spatial_dims,) * stages
            if stages < 3:
                raise ConfigError(
                    f"monai:dynunet needs three stages or more, these images allow {stages}; take "
                    "a larger --patch"
                )
            return nets.DynUNet(
                **shape,
                **outputs,
                kernel_size=kernels,
                strides=config.strides,
                upsample_kernel_size=config.strides[1:],
                filters=DYNUNET_FILTERS[:stages],
                res_block=True,
            )
    raise ConfigError(f"no network is called {config.name!r}")


def default_strides(spatial_dims: int) -> tuple[Axes, ...]:
    """Of ``monai:dynunet`` where nothing is planned: five stages."""
    return strides_for(int(math.pow(2, 4)), spatial_dims)
