"""What a MONAI bundle does to an image, where packages do the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seg.errors import ConfigError

WITHOUT_EFFECT = (
    *("LoadImage", "EnsureChannelFirst", "AddChannel", "EnsureType", "CastToType", "ToTensor"),
    *("ToDevice", "SelectItems", "DeleteItems", "Invert", "SaveImage", "CopyItems", "Identity"),
)
"""Of packages the reader, the writer and the way back to the image's grid do these."""
DECISIONS = ("Activations", "AsDiscrete")
"""Softmax or sigmoid, and the class of a voxel."""


@dataclass(frozen=True)
class BundlePreparation:
    """What the transforms come to."""

    normalisation: tuple[Mapping[str, Any], ...] = ()
    spacing: tuple[float, ...] | None = None
    """mm, in MONAI's order of axes."""
    orientation: str | None = None


def prepared_by(steps: Sequence[Mapping[str, Any]]) -> BundlePreparation:
    """What the transforms before the network come to.

    Raises:
        ConfigError: packages have not one of them.
    """
    prepared = BundlePreparation()
    for step in steps:
        name = _kind(step)
        if name in WITHOUT_EFFECT:
            continue
        if name == "Orientation":
            prepared = replace(prepared, orientation=str(step.get("axcodes")))
        elif name == "Spacing":
            prepared = replace(prepared, spacing=tuple(float(mm) for mm in step["pixdim"]))
        elif name in RULES:
            prepared = replace(prepared, normalisation=(RULES[name](step),))
        else:
            raise ConfigError(
                f"the bundle prepares images by {step.get('_target_')}, which packages have not; "
                f"adopted are Orientation, Spacing, {', '.join(RULES)}"
            )
    return prepared


def _kind(step: Mapping[str, Any]) -> str:
    """A transform's name without the ending of those that take dictionaries."""
    name = str(step.get("_target_", "")).rpartition(".")[2]
    return name.removesuffix("ict").removesuffix("d").removesuffix("D")


def _range(step: Mapping[str, Any]) -> dict[str, Any]:
    low, high = float(step["a_min"]), float(step["a_max"])
    start, stop = float(step.get("b_min") or 0.0), float(step.get("b_max") or 1.0)
    width = (high - low) / (stop - start)
    scaled = {"mean": low - start * width, "std": width}
    clips = step.get("clip", False)
    limits = {"low": low, "high": high} if clips else {"low": -3e38, "high": 3e38}
    return {"kind": "clip_zscore", **scaled, **limits}


def _normalise(step: Mapping[str, Any]) -> dict[str, Any]:
    if step.get("nonzero"):
        raise ConfigError(
            "the bundle normalises voxels that are not 0 alone (NormalizeIntensity, nonzero), "
            "which packages have for nnU-Net's models only"
        )
    mean, std = step.get("subtrahend"), step.get("divisor")
    if mean is None and std is None:
        return {"kind": "zscore"}
    return {"kind": "clip_zscore", "low": -3e38, "high": 3e38,
            "mean": float(mean or 0.0), "std": float(std or 1.0)}  # fmt: skip


def _unit(step: Mapping[str, Any]) -> dict[str, Any]:
    if (step.get("minv", 0.0), step.get("maxv", 1.0)) != (0.0, 1.0) or step.get("factor"):
        raise ConfigError(
            "the bundle scales intensities to other limits than 0 and 1 (ScaleIntensity)"
        )
    return {"kind": "minmax"}


RULES = {
    "ScaleIntensityRange": _range,
    "NormalizeIntensity": _normalise,
    "ScaleIntensity": _unit,
}


def left_out(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the transforms after the network that packages do not do."""
    names = [_kind(step) for step in steps]
    return [name for name in names if name not in (*WITHOUT_EFFECT, *DECISIONS)]
