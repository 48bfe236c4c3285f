"""What a package says of a model of nnU-Net: classes, preprocessing, postprocessing, data."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seg.errors import ConfigError
from seg.images import ClassInfo
from seg.model_package import Channel, Postprocessing, Task, TrainingFingerprint
from seg.model_package.provenance import ANY_INTENSITY
from seg.transforms import Normalisation, Preprocessing
from training.dataset.classes import make_classes
from training.interchange.nnunet.axes import AxisMap
from training.interchange.nnunet.results import UNTOUCHED, Results

LARGEST = "remove_all_but_largest_component_from_segmentation"
PIXELS = ("NaturalImage2DIO", "Tiff3DIO")
"""Readers that know no spacing in mm, so that nothing was resampled."""
REORIENTING = "NibabelIOWithReorient"
REORIENTED = "RAS"
CT = (-1024.0, 1024.0)
"""Hounsfield units that most of a CT lies in, wherever its foreground lies."""
LEAST_SHARE = 0.1
"""Of that: a narrower foreground, as a brain without its skull, tells nothing of whole images."""
BYTES = (0.0, 255.0)


def classes_of(results: Results) -> tuple[Task, tuple[ClassInfo, ...], dict[int, int]]:
    """Task, classes, and nnU-Net's label of each class.

    The labels differ only where regions are painted in an order that is not that of their numbers.

    Raises:
        ConfigError: the labels are none of nnU-Net's.
    """
    labels = {name: value for name, value in results.dataset["labels"].items() if name != "ignore"}
    names = {name: value for name, value in labels.items() if value not in (0, [0])}
    if any(isinstance(value, list) and len(value) > 1 for value in names.values()):
        order = results.dataset.get("regions_class_order")
        if not isinstance(order, list) or len(order) != len(names):
            raise ConfigError("dataset.json needs a regions_class_order with one label a region")
        task: Task = "regions"
        theirs = {0: 0, **{place: int(label) for place, label in enumerate(order, start=1)}}
    else:
        task = "exclusive"
        names = dict(sorted(names.items(), key=lambda each: _label(each[1])))
        found = [_label(value) for value in names.values()]
        if found != list(range(1, len(names) + 1)):
            raise ConfigError(f"dataset.json's labels should count 1, 2, ..., got {found}")
        theirs = {label: label for label in range(len(names) + 1)}
    colors = results.dataset.get("colors")
    background = next((name for name, value in labels.items() if value in (0, [0])), "background")
    classes = make_classes([background, *names], colors if isinstance(colors, Mapping) else {})
    return task, classes, theirs


def channels_of(results: Results) -> tuple[Channel, ...]:
    """The channels, of which ``CT`` is known to be one."""
    names = results.dataset.get("channel_names") or results.dataset.get("modality") or {}
    ordered = [str(names[key]) for key in sorted(names, key=int)]
    return tuple(
        Channel(name=n, modality="CT" if n.upper() == "CT" else "unknown") for n in ordered
    )


def is_flat(results: Results, patch: Sequence[int]) -> bool:
    """Whether images are 2D."""
    reader = results.plans.get("image_reader_writer")
    return len(patch) == 2 and (
        reader == "NaturalImage2DIO" or results.plans["original_median_shape_after_transp"][0] == 1
    )


def preprocessing_of(
    results: Results, configuration: Mapping[str, Any], axes: AxisMap
) -> Preprocessing:
    """What nnU-Net does to an image before its network.

    Raises:
        ConfigError: a normalisation is not known.
    """
    spacing = axes.numbers([float(mm) for mm in configuration["spacing"]], None)
    untouched = configuration["resampling_fn_data"] == UNTOUCHED
    pixels = results.plans.get("image_reader_writer") in PIXELS and set(spacing) <= {1.0, None}
    plans = results.plans
    measured = plans.get("foreground_intensity_properties_per_channel") or plans.get(
        "foreground_intensity_properties_by_modality", {}
    )
    schemes = configuration["normalization_schemes"]
    masks = configuration.get("use_mask_for_norm") or [False] * len(schemes)
    return Preprocessing(
        spacing=None if untouched or pixels else spacing,
        normalisation=tuple(
            _normalisation(str(scheme), bool(mask), measured.get(str(channel), {}))
            for channel, (scheme, mask) in enumerate(zip(schemes, masks, strict=True))
        ),
        convention="nnunet",
    )


def fingerprint_of(
    results: Results, axes: AxisMap, rules: Sequence[Normalisation]
) -> TrainingFingerprint:
    """Ranges seen in training; medians where the fingerprint is not beside the plans.

    Args:
        results: the folder.
        axes: of the model and of its files.
        rules: how intensities are normalised, one a channel.
    """
    plans, flat = results.plans, len(axes.sources) == 2
    if results.fingerprint:
        shapes = np.array(results.fingerprint["shapes_after_crop"], float)
        spacings = np.array(results.fingerprint["spacings"], float)
    else:
        back = list(plans.get("transpose_backward", (0, 1, 2)))
        shapes = np.array([plans["original_median_shape_after_transp"]], float)[:, back]
        spacings = np.array([plans["original_median_spacing_after_transp"]], float)[:, back]
    if flat:
        shapes, spacings = shapes[:, 1:], spacings[:, 1:]
    known = plans.get("image_reader_writer") not in PIXELS
    return TrainingFingerprint(
        cases=int(results.dataset.get("numTraining", len(shapes))),
        shape=tuple((int(n.min()), int(n.max())) for n in shapes.T),
        spacing=tuple((float(mm.min()), float(mm.max())) for mm in spacings.T) if known else None,
        intensity=tuple(map(_usual_range, rules)),
    )


def _usual_range(rule: Normalisation) -> tuple[float, float]:
    """Of whole images: plans tell that of the foreground, which lacks the air of a CT."""
    low, high = rule.low or 0.0, rule.high or 0.0
    if rule.kind == "clip_zscore" and high - low > LEAST_SHARE * (CT[1] - CT[0]):
        return min(CT[0], low), max(CT[1], high)
    is_of_bytes = rule.kind == "rescale" and rule.high == BYTES[1]
    return BYTES if is_of_bytes else ANY_INTENSITY


def postprocessing_of(
    file: Path | None, task: Task, classes: Sequence[ClassInfo], theirs: Mapping[int, int]
) -> Postprocessing:
    """The steps of ``postprocessing.json``, which ``nnUNetv2_find_best_configuration`` writes.

    Raises:
        ConfigError: a step is none that packages know.
    """
    if file is None:
        return Postprocessing()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        steps = list(
            zip(content["postprocessing_fns"], content["postprocessing_kwargs"], strict=True)
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{file} is no postprocessing.json of nnU-Net: {error}") from error
    ours = {label: index for index, label in theirs.items()}
    foreground = {info.index for info in classes[1:]}
    largest: list[str] = []
    everything = False
    for name, options in steps:
        chosen = options.get("labels_or_regions")
        indices = {ours.get(label, -1) for label in _flattened(chosen)}
        if name != LARGEST or -1 in indices:
            raise ConfigError(f"{file}: the step {name} of {options} is not known")
        if indices == foreground and not largest:
            everything = True
        elif len(indices) == 1:
            largest.append(classes[indices.pop()].name)
        else:
            raise ConfigError(
                f"{file} keeps the largest component of {chosen} together, which packages cannot: "
                "of one class, or of all; leave it out with --no-postprocessing"
            )
    return Postprocessing(
        largest_foreground=everything, largest_component=tuple(largest), touching="corners"
    )


def _label(value: Any) -> int:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, int):
        raise ConfigError(f"a label in dataset.json is a whole number, got {value!r}")
    return value


def _flattened(value: Any) -> list[int]:
    return [n for each in value for n in _flattened(each)] if isinstance(value, list) else [value]


def _normalisation(scheme: str, masked: bool, measured: Mapping[str, Any]) -> Normalisation:
    if scheme == "ZScoreNormalization":
        return Normalisation(kind="zscore", nonzero=masked)
    if scheme == "CTNormalization":
        return Normalisation(
            kind="clip_zscore",
            low=measured["percentile_00_5"],
            high=measured["percentile_99_5"],
            mean=measured["mean"],
            std=measured["std"],
        )
    if scheme == "RescaleTo01Normalization":
        return Normalisation(kind="minmax")
    fixed = {"NoNormalization": 1.0, "RGBTo01Normalization": BYTES[1]}
    if scheme in fixed:
        return Normalisation(kind="rescale", low=0.0, high=fixed[scheme])
    raise ConfigError(
        f"intensities were normalised by {scheme}, which is not one of nnU-Net's own; adopted are "
        "ZScore, CT, RescaleTo01, RGBTo01 and NoNormalization"
    )
