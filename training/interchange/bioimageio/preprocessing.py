"""Our preprocessing in the words of BioImage.IO's model description 0.5, or a refusal by name."""

from typing import Any

from seg.errors import ConfigError
from seg.model_package import ModelCard
from seg.transforms import Normalisation
from seg.transforms.intensity import PERCENTILES

Step = dict[str, Any]
SMALLEST = 1e-8
"""Added to deviations; ours is the least that they may be."""


def refuse_what_has_no_words(card: ModelCard) -> None:
    """Pass where readers of the format would make the same masks.

    Raises:
        ConfigError: names what they could not do, or would leave out.
    """
    spec = card.input
    rules = spec.preprocessing
    reasons = {
        "an ensemble of networks (one of them is what --to package of a fold writes)": len(
            card.members()
        )
        > 1,
        "resampling to a spacing": any(mm is not None for mm in rules.spacing or ()),
        "a margin around the image": any(rules.margin or ()),
        "the convention nnunet": rules.convention == "nnunet",
        "turning images to an orientation": spec.orientation is not None,
        "objects told apart": card.instances is not None,
        "removal of small parts of masks": card.postprocessing.has_rules,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found:
        raise ConfigError(
            f"BioImage.IO has no words for what {card.name} does: {'; '.join(found)}. Other "
            "programs would make other masks of it; serve it, or export it with --to torch"
        )


def steps_of(rules: tuple[Normalisation, ...], axes: tuple[str, ...]) -> list[Step]:
    """The normalisation of all channels.

    Args:
        rules: one a channel.
        axes: names of the spatial axes.

    Raises:
        ConfigError: a rule has no counterpart, or channels have different ones.
    """
    (kind, *others) = sorted({rule.kind for rule in rules})
    if others:
        raise ConfigError(
            f"BioImage.IO normalises all channels of a tensor alike, these are {kind} and "
            f"{', '.join(others)}"
        )
    over = list(axes)
    z_score = _step("zero_mean_unit_variance", axes=over, eps=SMALLEST)
    if kind == "zscore":
        return [z_score]
    if kind == "percentile":
        low, high = PERCENTILES
        return [_step("clip", min_percentile=low, max_percentile=high, axes=over), z_score]
    if kind == "minmax":
        return [_step("scale_range", axes=over, eps=SMALLEST)]
    if kind == "rescale":
        spans = [(_number(rule.low), _number(rule.high)) for rule in rules]
        gain = [1 / (high - low) for low, high in spans]
        offset = [-low / (high - low) for low, high in spans]
        return [_step("scale_linear", gain=gain, offset=offset, axis="channel")]
    if kind == "clip_zscore":
        limits = {(_number(rule.low), _number(rule.high)) for rule in rules}
        if len(limits) > 1:
            raise ConfigError("BioImage.IO clips all channels of a tensor at the same intensities")
        ((low, high),) = limits
        mean, std = [_number(r.mean) for r in rules], [_number(r.std) for r in rules]
        fixed = _step("fixed_zero_mean_unit_variance", mean=mean, std=std, axis="channel")
        return [_step("clip", min=low, max=high), fixed]
    raise ConfigError(
        f"BioImage.IO has no words for the normalisation {kind}, which looks at medians"
    )


def _step(name: str, **options: Any) -> Step:
    return {"id": name, "kwargs": options}


def _number(value: float | None) -> float:
    assert value is not None  # Normalisation checks its own numbers
    return float(value)
