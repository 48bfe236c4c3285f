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
        rules: one a channel, of ``as_on_scale``.
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
        return _clipped(rules)
    raise ConfigError(
        f"BioImage.IO has no words for the normalisation {kind}, which looks at medians"
    )


def _clipped(rules: tuple[Normalisation, ...]) -> list[Step]:
    """Clipped and standardised; where channels are clipped at different intensities, at 0 and 1."""
    limits = [(_number(rule.low), _number(rule.high)) for rule in rules]
    means, stds = [_number(rule.mean) for rule in rules], [_number(rule.std) for rule in rules]
    before: list[Step] = []
    (low, high) = limits[0]
    if len(set(limits)) > 1:
        spans = [top - bottom for bottom, top in limits]
        offsets = [-bottom / span for (bottom, _), span in zip(limits, spans, strict=True)]
        gains = [1 / span for span in spans]
        before = [_step("scale_linear", gain=gains, offset=offsets, axis="channel")]
        means = [m / span + offset for m, span, offset in zip(means, spans, offsets, strict=True)]
        stds = [std / span for std, span in zip(stds, spans, strict=True)]
        low, high = 0.0, 1.0
    fixed = _step("fixed_zero_mean_unit_variance", mean=means, std=stds, axis="channel")
    return [*before, _step("clip", min=low, max=high), fixed]


def as_on_scale(card: ModelCard) -> tuple[Normalisation, ...]:
    """The normalisation of all channels as readers do it: as if images lay on one scale."""
    return tuple(
        rule.model_copy(update={"kind": "clip_zscore", "scale": None})
        if rule.kind == "reference"
        else rule
        for rule in card.input.preprocessing.normalisation
    )


def differences(card: ModelCard) -> list[str]:
    """What readers of the format do otherwise than we, in sentences."""
    rules = card.input.preprocessing
    found = []
    if any(rules.margin or ()):
        wide = max(rules.margin or (0,))
        found.append(
            f"within {wide} voxels of an image's edge masks may differ: {card.name} puts as many "
            "of 0 around an image that is normalised, readers mirror it or put none"
        )
    if card.input.stands_out is not None:
        found.append(
            f"what does not stand out of an image is background to {card.name}; readers show what "
            "the network makes of noise"
        )
    if any(rule.kind == "reference" for rule in rules.normalisation):
        found.append(
            f"images of another exposure than the training's get other masks: {card.name} brings "
            "them to its scale by their median and spread, readers do not"
        )
    return found


def _step(name: str, **options: Any) -> Step:
    return {"id": name, "kwargs": options}


def _number(value: float | None) -> float:
    assert value is not None  # Normalisation checks its own numbers
    return float(value)
