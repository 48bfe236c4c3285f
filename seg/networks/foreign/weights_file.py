"""Weights of an encoder from a safetensors file, which must be that encoder's and no other's."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from seg.errors import ConfigError
from seg.files import sha256_of

ENDING = ".safetensors"
TIMMS_WRAPPER = "model_"
"""What smp keeps an encoder of timm in."""
COUNTER = "num_batches_tracked"
"""Of a batch norm; nothing is made of it."""
IMAGE_CHANNELS = 3
"""Of the pictures that encoders learn from."""
_NUMBER = re.compile(r"\d+(?=_)")


def is_file(weights: str) -> bool:
    """Whether weights are the path of a safetensors file, not a name on a hub."""
    return weights.lower().endswith(ENDING)


def hash_of(weights: str) -> str | None:
    """SHA-256 of weights that are a file which is there."""
    return sha256_of(Path(weights)) if is_file(weights) and Path(weights).is_file() else None


def load_weights(encoder: nn.Module, file: Path, name: str) -> None:
    """Fill an encoder from a safetensors file of it, of its classifier, or of what contains it.

    The first convolution is adapted where the file's takes three channels and the encoder's
    another number: their sum for one channel; for more they are repeated and scaled, so that
    activations keep their size (Wightman, timm).

    Raises:
        ConfigError: the file is no safetensors file, damaged, or of another encoder.
    """
    if file.exists() and not file.is_file():  # a pipe would never end
        raise ConfigError(f"weights must be a safetensors file, {file} is a folder or no file")
    try:
        stored = safetensors.torch.load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise ConfigError(f"weights must be a safetensors file, {file} is not: {error}") from error
    by_key = {_key(each): each for each in stored if not each.endswith(COUNTER)}
    wanted = _wanted(encoder)
    prefix = _prefix(by_key, stored, wanted, file, name)
    deeper = next(_surplus([key.removeprefix(prefix) for key in by_key], list(wanted)), None)
    if deeper is not None:
        raise ConfigError(
            f"{file} is of another encoder than {name}, which has no {by_key[prefix + deeper]}; "
            "name the encoder that the file belongs to"
        )
    own = encoder.state_dict()
    filled = {}
    for key, own_name in wanted.items():
        tensor = stored[by_key[prefix + key]]
        if own[own_name].is_floating_point() and not _is_float(tensor.dtype):
            raise ConfigError(
                f"{file} holds {by_key[prefix + key]} as {tensor.dtype}; weights that were "
                "quantised are none to begin with, give them as float32 or float16"
            )
        adapted = _adapted(tensor.to(own[own_name].dtype), own[own_name])
        if adapted is None:
            raise ConfigError(
                f"{file} does not hold the weights of {name}: {by_key[prefix + key]} has the shape "
                f"{tuple(tensor.shape)} there, {tuple(own[own_name].shape)} is needed; name the "
                "encoder that the file belongs to"
            )
        filled[own_name] = adapted
    check_values(filled, str(file))
    # some encoders of smp have a method of that name with other arguments
    nn.Module.load_state_dict(encoder, filled, strict=False)


def _is_float(dtype: torch.dtype) -> bool:
    """Those of one byte are no numbers without a scale that stands elsewhere."""
    return dtype.is_floating_point and dtype.itemsize > 1


def check_values(weights: Mapping[str, Tensor], where: str) -> None:
    """Make sure that a network with these weights gives numbers, and not always the same.

    Raises:
        ConfigError: some are not finite, a variance is negative, or there is nothing but zeros.
    """
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise ConfigError(f"{where} is damaged: {name} holds values that are not finite")
        if name.endswith("running_var") and (tensor < 0).any():
            raise ConfigError(f"{where} is damaged: {name} holds a variance below 0")
    if not any(tensor.any() for tensor in weights.values() if tensor.ndim > 1):
        raise ConfigError(f"{where} holds nothing that was learnt: all weights are 0")


def _wanted(encoder: nn.Module) -> dict[str, str]:
    """Key and own name of what an encoder needs."""
    names = [name for name in encoder.state_dict() if not name.endswith(COUNTER)]
    is_wrapped = all(_key(name).startswith(TIMMS_WRAPPER) for name in names)
    return {_key(name).removeprefix(TIMMS_WRAPPER if is_wrapped else ""): name for name in names}


def _key(name: str) -> str:
    """A weight's name as timm's classifiers, its feature extractors and smp all spell it."""
    return name.replace(".", "_")


def _prefix(
    by_key: Mapping[str, str],
    stored: Mapping[str, Tensor],
    wanted: Mapping[str, str],
    file: Path,
    name: str,
) -> str:
    """What the encoder is kept in: ``module_``, ``model_encoder_``, or nothing.

    Raises:
        ConfigError: it is not there, or there are several that differ.
    """
    first = next(iter(wanted))
    ends = [key.removesuffix(first) for key in by_key if key.endswith(first)]
    prefixes = [prefix for prefix in ends if not prefix or prefix.endswith("_")]
    lacking = {
        prefix: [key for key in wanted if prefix + key not in by_key] for prefix in prefixes or [""]
    }
    complete = [prefix for prefix, keys in lacking.items() if not keys]
    if not complete:
        prefix = min(lacking, key=lambda each: len(lacking[each]))
        raise ConfigError(
            f"{file} does not hold the weights of {name}: {wanted[lacking[prefix][0]]} is "
            "missing there; name the encoder that the file belongs to"
        )
    for other in complete[1:]:
        pairs = [(stored[by_key[complete[0] + k]], stored[by_key[other + k]]) for k in wanted]
        if not all(torch.equal(one, another) for one, another in pairs):
            raise ConfigError(
                f"{file} holds {name} more than once, with other values: "
                f"{by_key[complete[0] + first]} and {by_key[other + first]} are among them; leave "
                "one in the file"
            )
    return complete[0]


def _surplus(keys: Sequence[str], wanted: Sequence[str]) -> Iterator[str]:
    """Keys of numbered parts that an encoder would have if it were deeper.

    A classifier may go on where the encoder ends, so that what follows its last part says nothing,
    nor what stands beside its parts.
    """
    begins = {key[: match.end()] for key in wanted for match in _NUMBER.finditer(key)}
    numbered = {begin.rstrip("0123456789") for begin in begins}
    for key in keys:
        for match in _NUMBER.finditer(key):
            if key[: match.end()] not in begins:
                parent = key[: match.start()]
                if "_" in parent and parent in numbered and not wanted[-1].startswith(parent):
                    yield key
                break


def _adapted(tensor: Tensor, own: Tensor) -> Tensor | None:
    """The stored tensor in the encoder's own shape, or None where that cannot be."""
    if tensor.shape == own.shape:
        return tensor
    others_agree = tensor.ndim == 4 and tensor[:, :1].shape == own[:, :1].shape
    if not others_agree or tensor.shape[1] != IMAGE_CHANNELS:
        return None
    if own.shape[1] == 1:
        return tensor.sum(dim=1, keepdim=True)
    channels = torch.arange(own.shape[1]) % IMAGE_CHANNELS
    return tensor[:, channels] * (IMAGE_CHANNELS / own.shape[1])
