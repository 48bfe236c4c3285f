"""Encoders of segmentation-models-pytorch and timm, found by name, with weights or without.

Both libraries are imported only when one of their encoders is asked for.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor, nn

from seg.errors import ConfigError
from seg.networks.config import UNetConfig
from seg.networks.layers import Axes
from seg.version import installed_with

SMP, TIMM = "smp:", "tu-"

_PROBE_SIZE = 64
"""Edge of the empty image that shows which features an encoder gives."""


class PretrainedEncoder(nn.Module):
    """A foreign encoder that gives its features as ours does, finest first."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        weights = config.weights
        file = Path(weights) if weights is not None and weights.endswith(".safetensors") else None
        self.model = make(config.encoder, config.in_channels, None if file else weights)
        if file is not None:
            load_weights(self.model, file, config.encoder)

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return the features of every stage, finest first."""
        return _own_features(self.model, x)


def is_pretrained_name(name: str) -> bool:
    """Whether a name says that it is an encoder of these libraries."""
    return name.startswith((SMP, TIMM))


def stages_of(name: str, in_channels: int) -> tuple[tuple[int, ...], tuple[Axes, ...]]:
    """Features and strides of an encoder's stages, as an empty image shows them.

    Raises:
        ConfigError: the name is not known, or the encoder takes images of one size only.
    """
    encoder = make(name, in_channels).eval()
    with torch.no_grad():
        try:
            features = _own_features(encoder, torch.zeros(1, in_channels, _PROBE_SIZE, _PROBE_SIZE))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ConfigError(
                f"{name} does not take images of any size: {error}; choose a convolutional encoder"
            ) from error
    sizes = [_PROBE_SIZE, *(f.shape[-1] for f in features)]
    strides = [before // after for before, after in pairwise(sizes)]
    return tuple(f.shape[1] for f in features), tuple((s, s) for s in strides)


def make(name: str, in_channels: int, weights: str | None = None) -> nn.Module:
    """The encoder of that name, with weights from the hub where ``weights`` names some.

    Raises:
        ConfigError: the name or its weights are not known, or the hub cannot be reached.
    """
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise ConfigError(
            f"{name} needs segmentation-models-pytorch; {installed_with('train')}"
        ) from error
    bare = name.removeprefix(SMP)
    settings = _hub_weights(bare)
    if weights is not None and weights not in settings:
        raise ConfigError(
            f"{name} has no weights called {weights!r}; known are {', '.join(settings) or 'none'}, "
            "or give the path of a .safetensors file"
        )
    try:
        encoder: nn.Module = smp.encoders.get_encoder(
            bare, in_channels=in_channels, weights=settings[weights] if weights else None
        )
    except OSError as error:
        raise ConfigError(
            f"the weights {weights!r} of {name} are neither on the hub within reach nor in its "
            "cache; give the path of a .safetensors file as weights"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{name} cannot be an encoder of a U-Net: {error}") from error
    return encoder


def _hub_weights(bare: str) -> Mapping[str, str | bool]:
    """What the user calls an encoder's weights, and what the library calls them."""
    import segmentation_models_pytorch as smp
    import timm

    if bare.startswith(TIMM):
        model, _, tag = bare.removeprefix(TIMM).partition(".")
        if not timm.is_model(model):
            raise _unknown(bare, [TIMM + known for known in timm.list_models()])
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{model}.*")]
        if tag and tag not in tags:
            raise _unknown(bare, [f"{TIMM}{model}.{known}" for known in tags])
        return {"imagenet": True} if tags else {}
    known = smp.encoders.encoders
    if bare not in known:
        raise _unknown(SMP + bare, [SMP + other for other in known])
    return {weights: weights for weights in known[bare]["pretrained_settings"]}


def _unknown(name: str, known: Sequence[str]) -> ConfigError:
    near = get_close_matches(name, known, n=3, cutoff=0.4) or known[:3]
    return ConfigError(f"no encoder is called {name!r}; did you mean {' or '.join(near)}?")


def _own_features(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    """What the encoder made: neither the image again nor features without channels."""
    return [f for f in encoder(image) if f is not image and f.shape[1] > 0]


def load_weights(encoder: nn.Module, file: Path, name: str) -> None:
    """Fill an encoder from a safetensors file of the encoder or of the whole classifier.

    The first convolution is adapted where the file's takes three channels and the encoder's
    another number: their sum for one channel; for more they are repeated and scaled, so that
    activations keep their size (Wightman, timm).

    Raises:
        ConfigError: the file is no safetensors file, or of another encoder.
    """
    try:
        stored = safetensors.torch.load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise ConfigError(f"weights must be a safetensors file, {file} is not: {error}") from error
    by_key = {_key(stored_name): tensor for stored_name, tensor in stored.items()}
    wanted = encoder.state_dict()
    filled = {}
    for own_name, own in wanted.items():
        if own_name.endswith("num_batches_tracked"):
            continue
        tensor = _adapted(by_key.get(_key(own_name)), own)
        if tensor is None:
            raise ConfigError(
                f"{file} does not hold the weights of {name}: {own_name} of shape "
                f"{tuple(own.shape)} is missing there; name the encoder that the file belongs to"
            )
        filled[own_name] = tensor
    encoder.load_state_dict(filled, strict=False)


def _key(name: str) -> str:
    """A weight's name as timm's classifiers, its feature extractors and smp all spell it."""
    return name.removeprefix("encoder.").removeprefix("model.").replace(".", "_")


def _adapted(tensor: Tensor | None, own: Tensor) -> Tensor | None:
    """The stored tensor in the shape of the encoder's own, or None where that cannot be."""
    if tensor is None or tensor.shape == own.shape:
        return tensor
    images = 3
    others_agree = tensor.ndim == 4 and tensor[:, :1].shape == own[:, :1].shape
    if not others_agree or tensor.shape[1] != images:
        return None
    if own.shape[1] == 1:
        return tensor.sum(dim=1, keepdim=True)
    channels = torch.arange(own.shape[1]) % images
    return tensor[:, channels] * (images / own.shape[1])
