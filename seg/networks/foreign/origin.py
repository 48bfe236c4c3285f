"""Where the weights of an encoder are from, and under which licence, as far as somebody says so."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors

from seg.networks.foreign.encoders import hub_weights
from seg.networks.foreign.names import SMP, TIMM
from seg.networks.foreign.weights_file import is_file

NOT_STATED = "not stated"


@dataclass(frozen=True)
class WeightsOrigin:
    """Of weights that were learnt elsewhere."""

    source: str = NOT_STATED
    licence: str = NOT_STATED


def origin_of(encoder: str, weights: str) -> WeightsOrigin:
    """What a safetensors file says in its header, or the library that names the weights.

    A file that is no longer there says nothing.

    Raises:
        ConfigError: the encoder is not known.
    """
    if is_file(weights):
        return _of_a_file(Path(weights))
    bare = encoder.removeprefix(SMP)
    name = hub_weights(bare).get(weights)
    if name is None:
        return WeightsOrigin()
    return _of_timm(bare) if bare.startswith(TIMM) else _of_smp(bare, str(name))


def _of_a_file(file: Path) -> WeightsOrigin:
    try:
        with safetensors.safe_open(file, "pt") as stored:
            about = stored.metadata() or {}
    except (OSError, safetensors.SafetensorError):
        return WeightsOrigin()
    licence = about.get("licence") or about.get("license") or NOT_STATED
    return WeightsOrigin(about.get("source", NOT_STATED), licence)


def _of_timm(bare: str) -> WeightsOrigin:
    import timm

    settings: Any = timm.get_pretrained_cfg(bare.removeprefix(TIMM), allow_unregistered=True)
    if settings is None:
        return WeightsOrigin()
    return WeightsOrigin(settings.hf_hub_id or NOT_STATED, settings.license or NOT_STATED)


def _of_smp(bare: str, name: str) -> WeightsOrigin:
    import segmentation_models_pytorch as smp

    settings = smp.encoders.encoders[bare]["pretrained_settings"][name]
    return WeightsOrigin(settings.get("repo_id", NOT_STATED))
