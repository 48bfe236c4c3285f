"""Encoders of segmentation-models-pytorch and timm, found by name, with weights or without.

Both libraries are imported only when one of their encoders is asked for.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seg.errors import ConfigError
from seg.networks.config import UNetConfig
from seg.networks.foreign.names import SMP, TIMM, encoder_of, unknown
from seg.networks.foreign.weights_file import check_values, is_file, load_weights
from seg.networks.layers import Axes
from seg.version import installed_with

HUB_SECONDS = 4.0
"""After which a hub that has not answered is taken for out of reach."""
_PROBE_SIZE = 64
"""Edge of the empty image that shows which features an encoder gives."""
REFUSALS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What libraries raise where a network cannot be built, or does not take an image."""
FIRST_STRIDES = (1, 2, 4)
"""Of an encoder's finest features, where segmentation-models-pytorch can begin a pyramid."""
TRIED = "docs/encoders.md lists those that were tried"


class PretrainedEncoder(nn.Module):
    """A foreign encoder that gives its features as ours does, finest first."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        weights = config.weights
        file = Path(weights) if weights is not None and is_file(weights) else None
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
        except REFUSALS as error:
            raise ConfigError(
                f"{name} does not take images of any size ({_said(error)}); choose a convolutional "
                f"encoder, {TRIED}"
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
    settings = hub_weights(bare, name.removesuffix(bare))
    if weights is not None and weights not in settings:
        if Path(weights).suffix or Path(weights).is_file():
            raise ConfigError(
                f"{weights} is no .safetensors file: weights in pickles (.pth, .pt, .bin, .ckpt) "
                "run code as they are read; where you trust it, turn it into one: "
                "safetensors.torch.save_file(torch.load(FILE, weights_only=True), "
                "'FILE.safetensors')"
            )
        raise ConfigError(
            f"{name} has no weights called {weights!r}; known are {', '.join(settings) or 'none'}, "
            "or give the path of a .safetensors file"
        )
    try:
        with without_warnings(), _within_reach(bool(weights)):
            encoder: nn.Module = smp.encoders.get_encoder(
                bare, in_channels=in_channels, weights=settings[weights] if weights else None
            )
    except OSError as error:
        raise ConfigError(
            f"the weights {weights!r} of {name} are neither on the hub within reach nor in its "
            "cache; copy the cache of a machine that has them and set HF_HOME to it, or give the "
            "path of a .safetensors file as weights"
        ) from error
    except REFUSALS as error:
        raise unbuilt(name, name, error) from error
    return encoder


def unbuilt(network: str, encoder: str, error: Exception) -> ConfigError:
    """The sentence for an encoder, or a network around it, that its library does not build."""
    if encoder.startswith(TIMM):
        strides = _timms_strides(encoder.removeprefix(TIMM))
        wanted = [strides[0] * 2**level for level in range(len(strides))] if strides else []
        if strides and (strides != wanted or strides[0] not in FIRST_STRIDES):
            return ConfigError(
                f"{network} cannot be built: {encoder} gives features at strides "
                f"{', '.join(map(str, strides))}, where a U-Net needs each twice the one before, "
                f"from 1, 2 or 4 on; choose a convolutional encoder of strides 2 to 32, {TRIED}"
            )
    return ConfigError(
        f"{network} is not built by segmentation-models-pytorch ({_said(error)}); choose another "
        f"encoder, {TRIED}"
    )


def _timms_strides(model: str) -> list[int]:
    """Of the features that timm has of a model; none where it says nothing of them."""
    import timm

    try:
        with without_warnings():
            features = timm.create_model(model, features_only=True).feature_info
    except REFUSALS:
        return []
    return [int(stride) for stride in features.reduction()]


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Libraries that build networks warn of their own insides, and log each weight they lack."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _within_reach(needed: bool) -> Iterator[None]:
    """Ask the hub only where it answers; else its cache is all there is, at once."""
    if not needed:
        yield
        return
    from huggingface_hub import constants

    offline = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = offline or not _answers(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def _answers(address: str) -> bool:
    """Through the proxy and with the certificates that the hub's library itself would use."""
    from huggingface_hub import get_session

    try:
        answer = get_session().head(address, timeout=HUB_SECONDS)
    except Exception:  # of its HTTP library, of TLS, of sockets
        return False
    return bool(answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR)


@dataclass(frozen=True)
class Intensities:
    """What an encoder was trained on: bytes / 255, less a mean, by a deviation, red first."""

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


def intensities_of(name: str, weights: str) -> Intensities:
    """What the weights of an encoder expect; ImageNet's where nothing else is written down."""
    import timm

    if name.startswith(TIMM):
        model = name.removeprefix(TIMM)
    else:
        model = name.removeprefix(SMP).replace("timm-", "")
        if not timm.is_model(model):
            return Intensities()
    settings = timm.get_pretrained_cfg(model, allow_unregistered=True)
    if settings is None or len(settings.mean) != len(settings.std):
        return Intensities()
    return Intensities(tuple(settings.mean), tuple(settings.std))


def fill(encoder: nn.Module, name: str, in_channels: int, weights: str) -> None:
    """Give an encoder weights that were learnt elsewhere.

    Args:
        encoder: of the name, with random weights.
        name: as ``make`` takes it.
        in_channels: of its images.
        weights: a name on the hub, or the path of a safetensors file.

    Raises:
        ConfigError: they are not known, out of reach, or of another encoder.
    """
    if is_file(weights):
        load_weights(encoder, Path(weights), name)
        return
    filled = make(name, in_channels, weights).state_dict()
    own = encoder.state_dict()
    missing = [key for key in own if key not in filled or filled[key].shape != own[key].shape]
    if missing:
        raise ConfigError(f"the weights {weights!r} of {name} lack {missing[0]} of this network")
    check_values(filled, f"what the hub has as {weights!r} of {name}")
    encoder.load_state_dict({key: filled[key] for key in own})


def check_encoder(name: str) -> None:
    """Make sure that the encoder of a network's name exists, where it has one.

    Raises:
        ConfigError: it does not; the nearest networks of that kind are told.
    """
    encoder = encoder_of(name)
    if encoder is not None:
        bare = encoder.removeprefix(SMP)
        hub_weights(bare, name.removesuffix(bare))


def hub_weights(bare: str, before: str = SMP) -> Mapping[str, str | bool]:
    """What the user calls an encoder's weights, and what the library calls them.

    Args:
        bare: the encoder's name in its library, with ``tu-`` if that is timm.
        before: what stands before it in the name of the network.

    Raises:
        ConfigError: there is no such encoder; the nearest are told.
    """
    import segmentation_models_pytorch as smp
    import timm

    if bare.startswith(TIMM):
        model, _, tag = bare.removeprefix(TIMM).partition(".")
        if not model:
            raise ConfigError(
                f"{before + bare!r} names no encoder; write the name that timm gives it, such as "
                f"{before}{TIMM}resnet34 or {before}{TIMM}convnext_atto"
            )
        if not timm.is_model(model):
            models = [TIMM + known for known in timm.list_models()]
            raise unknown("encoder", before + bare, models, before)
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{model}.*")]
        if tag and tag not in tags:
            tagged = [f"{TIMM}{model}.{known}" for known in tags] or [TIMM + model]
            raise unknown("encoder", before + bare, tagged, before)
        return {"imagenet": True} if tags else {}
    known = smp.encoders.encoders
    if bare not in known:
        in_timm = bare.lower() not in known and timm.is_model(bare.lower())
        near = [TIMM + bare.lower()] if in_timm else list(known)
        raise unknown("encoder", before + bare, near, before)
    return {weights: weights for weights in known[bare]["pretrained_settings"]}


def _own_features(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    """What the encoder made: neither the image again nor features without channels."""
    return [f for f in encoder(image) if f is not image and f.shape[1] > 0]
