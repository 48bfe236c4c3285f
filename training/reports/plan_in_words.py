"""A plan and a dataset as sentences for people who did not write the program."""

import math
from collections.abc import Sequence

from seg.model_package import Empty
from seg.networks import PRESETS
from seg.networks.foreign.names import is_foreign
from seg.transforms import Normalisation
from training.dataset import Dataset
from training.dataset.fingerprint import Fingerprint
from training.run.plan import Plan
from training.run.plan_fields import ENCODER_LEAD, FEWEST_HELD_BACK

Row = tuple[str, str]
"""What, and what about it."""

LOSSES = {
    "dice_ce": "batch Dice and cross-entropy",
    "dice_focal": "batch Dice and focal loss",
    "tversky": "Tversky",
    "boundary": "batch Dice, cross-entropy and boundary loss",
    "cldice": "batch Dice, centreline Dice and cross-entropy",
}
OPTIMISERS = {"adamw": "AdamW", "sgd": "SGD with Nesterov momentum"}
SCHEDULES = {"poly": "down as a polynomial", "cosine": "down as a cosine"}
AUGMENTED = {"host": "", "device": "; by the device that trains"}
COMPILED = {
    "none": "",
    "kernels": "; compiled by torch",
    "graphs": "; compiled by torch, as CUDA graphs",
}
AXES = {2: "y, x", 3: "z, y, x"}


def plan_in_words(plan: Plan, parameters: int, channels: Sequence[str]) -> list[Row]:
    """What was decided before the training; channels are called by their names."""
    unit = {2: "pixels", 3: "voxels"}[plan.dims]
    return [
        ("Image", _preprocessing_in_words(plan, channels)),
        (
            "Patch",
            f"{times(plan.patch)} {unit}; whole images are covered by windows of this size that "
            f"overlap by {_overlap_in_words(plan)}" + _skipped_in_words(plan.empty),
        ),
        (
            "Network",
            f"{plan.network}, {_stages_in_words(plan)}, "
            f"{parameters / 1e6:.1f} million parameters"
            + (", a loss at every resolution" if plan.deep_supervision else ""),
        ),
        (
            "Batch",
            f"{plan.batch_size} patches a step, {100 * plan.foreground_share:.0f} % of them chosen "
            "to show a class",
        ),
        (
            "Augmentation",
            plan.augmentation + _mirrors_in_words(plan) + AUGMENTED[plan.augment_on],
        ),
        ("Loss", _loss_in_words(plan)),
        (
            "Optimiser",
            f"{OPTIMISERS[plan.optimiser]}, learning rate up to {plan.learning_rate:g} and "
            f"{SCHEDULES[plan.schedule]} to 0, weight decay {plan.weight_decay:g}; exported are "
            f"weights averaged with decay {plan.ema:g}",
        ),
        ("Precision", plan.precision + COMPILED[plan.compiled]),
        *([("Chosen by", _contest_in_words(plan))] if plan.contest else []),
    ]


def _contest_in_words(plan: Plan) -> str:
    """What was tried, and what decided."""
    first = plan.contest[0]
    cases, minutes = first.cases, first.minutes
    each_time = "equal shares of the steps" if minutes is None else f"{minutes:.2g} minutes each"
    tried = "; ".join(
        f"{each.network} with {each.weights or 'random'} weights: "
        + ("no class was seen" if each.dice is None else f"{each.dice:.3f}")
        + f" after {each.steps} steps"
        + ("" if each.lead is None else f", {each.lead:+.3f}")
        + ("" if each.ci95 is None else f" ({each.ci95[0]:+.3f} to {each.ci95[1]:+.3f})")
        for each in plan.contest
    )
    return (
        f"Dice on {cases} training case{'s' * (cases > 1)} held back, after {each_time}: {tried}; "
        f"an encoder is taken where the interval of its lead over {first.network} lies above 0, or "
        f"with fewer than {FEWEST_HELD_BACK} subjects held back, where the lead is {ENCODER_LEAD:g}"
    )


def _stages_in_words(plan: Plan) -> str:
    if is_foreign(plan.network):
        began = f"weights {plan.weights}" if plan.weights else "random weights"
        slower = f", its encoder at {plan.encoder_rate:g} of the rate" if plan.weights else ""
        stride = times([math.prod(axis) for axis in zip(*plan.strides, strict=True)])
        return f"{began}{slower}, sizes of patches are multiples of {stride}"
    own = PRESETS[plan.network].options
    shortcut = plan.shortcut or own.get("shortcut", "identity")
    attention = own.get("attention_blocks", 0) if plan.attention is None else plan.attention
    told = f", {attention} attention blocks" if attention else ""
    return f"{len(plan.strides)} stages, {shortcut} shortcuts{told}"


def _overlap_in_words(plan: Plan) -> str:
    if plan.overlap is None:
        return (
            f"{100 * plan.usual_overlap:.0f} %, or by less where held-back cases lose nothing by it"
        )
    return f"{100 * plan.overlap:.0f} %"


def _mirrors_in_words(plan: Plan) -> str:
    if plan.mirror_axes is None or plan.augmentation == "none":
        return ""
    if not plan.mirror_axes:
        return ", without mirrors"
    along = ", ".join("zyx"[-plan.dims :][axis] for axis in plan.mirror_axes)
    between = plan.between_sides
    is_kept = between is not None and between not in plan.mirror_axes
    return f", mirrored along {along} only" + (", so that left stays left" if is_kept else "")


def _skipped_in_words(empty: Empty | None) -> str:
    if empty is None:
        return ""
    limits = ", ".join(f"{limit:g}" for limit in dict.fromkeys(empty.limits))
    side = "not above" if empty.side == "below" else "not below"
    return f"; windows with all intensities {side} {limits} are skipped as empty"


def _loss_in_words(plan: Plan) -> str:
    weights = ", ".join(f"{name} {weight:g}" for name, weight in plan.class_weights.items())
    return LOSSES[plan.loss] + (f"; classes weighted {weights}" if weights else "")


def data_in_words(dataset: Dataset, fingerprint: Fingerprint) -> list[Row]:
    """What the network learnt from."""
    shares = zip(dataset.classes, fingerprint.class_shares, strict=True)
    rows = [
        ("Cases", f"{len(dataset.train)} to train on, {len(dataset.test)} held back for the test"),
        ("Size", f"{_range_of_sizes(fingerprint.shapes)} ({AXES[dataset.dims]})"),
        ("Spacing", _spacing_in_words(fingerprint)),
        ("Classes", ", ".join(f"{each.name} {100 * share:.1f} %" for each, share in shares)),
    ]
    for channel, seen in zip(dataset.channels, fingerprint.channels, strict=True):
        rows.append(
            (
                f"Channel {channel.name}",
                f"{channel.modality}; intensities mostly {seen.range[0]:g} to {seen.range[1]:g}, "
                f"in the classes {seen.mean:.4g} ± {seen.std:.3g}",
            )
        )
    return rows


def times(shape: Sequence[float]) -> str:
    """``192 × 192``."""
    return " × ".join(f"{size:g}" for size in shape)  # noqa: RUF001


def _preprocessing_in_words(plan: Plan, channels: Sequence[str]) -> str:
    resampled = (
        f"resampled to {times(plan.spacing)} mm"
        if plan.spacing
        else "in the pixels of its file, not resampled"
    )
    if plan.orientation:
        resampled = f"turned to {plan.orientation}, {resampled}"
    rules = [normalisation_in_words(each) for each in plan.normalisation]
    if len(set(rules)) == 1:
        return f"{resampled}; intensities {rules[0]}"
    pairs = zip(channels, rules, strict=True)
    listed = "; ".join(f"of {channel} {rule}" for channel, rule in pairs)
    return f"{resampled}; intensities {listed}"


def normalisation_in_words(rule: Normalisation) -> str:
    """What happens to a channel's intensities."""
    if rule.kind == "clip_zscore":
        return (
            f"clipped to {rule.low:g} to {rule.high:g}, less {rule.mean:.4g}, divided by "
            f"{rule.std:.4g}"
        )
    if rule.kind == "reference":
        return (
            f"on the scale that the training images share: clipped to {rule.low:.4g} to "
            f"{rule.high:.4g}, less {rule.mean:.4g}, divided by {rule.std:.4g}; images of another "
            "scale are brought to it by their median and spread"
        )
    if rule.kind == "robust":
        return "by the image's own median and spread, clipped"
    if rule.kind == "rescale":
        return f"from {rule.low:g} to {rule.high:g} brought to 0 to 1"
    if rule.kind == "percentile":
        return "clipped to the image's own 0.5 and 99.5 percentiles, then to mean 0, deviation 1"
    if rule.kind == "minmax":
        return "from the image's own extremes brought to 0 to 1"
    return "brought to mean 0 and deviation 1, image by image"


def _range_of_sizes(shapes: Sequence[Sequence[int]]) -> str:
    low, high = (tuple(pick(axis) for axis in zip(*shapes, strict=True)) for pick in (min, max))
    return times(low) if low == high else f"{times(low)} to {times(high)}"


def _spacing_in_words(fingerprint: Fingerprint) -> str:
    spacing = fingerprint.median_spacing
    return f"{times(spacing)} mm (median)" if spacing else "not stated in the files"
