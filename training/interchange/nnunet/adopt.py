"""A results folder of nnU-Net 2 as a model that packages can hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from seg.errors import ConfigError
from seg.files import sha256_of
from seg.model_package import InputSpec
from training.interchange.adopted_package import Adopted
from training.interchange.checkpoint import ForeignCheckpoint, read_checkpoint
from training.interchange.nnunet.axes import AxisMap
from training.interchange.nnunet.card import (
    REORIENTED,
    REORIENTING,
    channels_of,
    classes_of,
    fingerprint_of,
    is_flat,
    postprocessing_of,
    preprocessing_of,
)
from training.interchange.nnunet.network import filled, network_of
from training.interchange.nnunet.results import fold_files, read_results
from training.packaging.writer import TorchNetwork

TILE_OVERLAP = 0.5
WANTED = {
    "configuration": ("init_args", "configuration"),
    "mirror_axes": ("inference_allowed_mirroring_axes",),
    "trainer": ("trainer_name",),
}
HINT = (
    "If you trust the file, let nnU-Net's own environment write it anew with tensors alone: "
    "python -c \"import torch; f = 'checkpoint_final.pth'; c = torch.load(f, weights_only=False); "
    "torch.save({'network_weights': c['network_weights'], 'trainer_name': c['trainer_name'], "
    "'init_args': {'configuration': c['init_args']['configuration']}, "
    "'inference_allowed_mirroring_axes': c['inference_allowed_mirroring_axes']}, f)\""
)


@dataclass(frozen=True)
class Choice:
    """What of a results folder is adopted."""

    folds: tuple[str, ...] = ()
    checkpoint: str | None = None
    postprocessing: Path | None = None
    """A ``postprocessing.json``; None looks for the one that nnU-Net wrote beside the folds."""
    with_postprocessing: bool = True


def adopt_nnunet(folder: Path, choice: Choice) -> tuple[Adopted, list[str]]:
    """The model, and sentences on what a user should know.

    Raises:
        ConfigError: the folder is none, or has something that packages cannot hold.
    """
    results = read_results(folder)
    files = fold_files(results, choice.folds, choice.checkpoint)
    checkpoints = {
        name: read_checkpoint(file, ("network_weights",), WANTED, HINT)
        for name, file in files.items()
    }
    values = _of_all(checkpoints)
    configuration = results.configuration(str(values["configuration"]))
    patch = [int(n) for n in configuration["patch_size"]]
    flat = is_flat(results, patch)
    axes = AxisMap.of_plans(results.plans["transpose_backward"], len(patch), flat=flat)
    task, classes, theirs = classes_of(results)
    channels = channels_of(results)
    architecture = configuration["architecture"]
    config = network_of(architecture, len(channels), len(classes) - (task == "regions"), axes)
    rules = _postprocessing_file(folder, choice, list(files))
    preprocessing = preprocessing_of(results, configuration, axes)
    model = Adopted(
        name=str(results.plans["dataset_name"]),
        task=task,
        classes=classes,
        input=InputSpec(
            channels=channels,
            patch=axes.numbers(patch, 1),
            overlap=TILE_OVERLAP,
            preprocessing=preprocessing,
            mirror_axes=axes.axes(values["mirror_axes"] or ()),
            orientation=_orientation(results.plans, len(axes.sources)),
        ),
        networks={
            name: TorchNetwork(
                filled(config, architecture["network_class_name"], each.weights, axes)
            )
            for name, each in checkpoints.items()
        },
        fingerprint=fingerprint_of(results, axes, preprocessing.normalisation),
        averaging="logits",
        postprocessing=postprocessing_of(rules, task, classes, theirs),
        licence=str(
            results.dataset.get("licence") or results.dataset.get("license") or "not stated"
        ),
        source_sha256=sha256("".join(map(sha256_of, files.values())).encode()).hexdigest(),
    )
    return model, _remarks(results.plans, theirs, rules)


def _of_all(checkpoints: dict[str, ForeignCheckpoint]) -> dict[str, Any]:
    first, *others = checkpoints.values()
    for other in others:
        if other.values != first.values:
            raise ConfigError(
                f"{other.file} and {first.file} are of different trainings: {dict(other.values)} "
                f"and {dict(first.values)}; choose with --folds"
            )
    if not isinstance(first.values["configuration"], str):
        raise ConfigError(f"{first.file} does not say its configuration; is it of nnU-Net 2?")
    return dict(first.values)


def _postprocessing_file(folder: Path, choice: Choice, folds: Sequence[str]) -> Path | None:
    if not choice.with_postprocessing:
        return None
    if choice.postprocessing:
        return choice.postprocessing
    numbers = "_".join(name.removeprefix("fold_") for name in folds)
    file = folder / f"crossval_results_folds_{numbers}" / "postprocessing.json"
    return file if file.is_file() else None


def _orientation(plans: Any, dims: int) -> str | None:
    """nnU-Net's other readers take axes as they are stored, and no file says how they were."""
    return REORIENTED[:dims] if plans.get("image_reader_writer") == REORIENTING else None


def _remarks(plans: Any, theirs: dict[int, int], rules: Path | None) -> list[str]:
    remarks = [f"postprocessing of {rules}" if rules else "no postprocessing"]
    if any(index != label for index, label in theirs.items()):
        changed = ", ".join(f"{label} is {index}" for index, label in theirs.items() if label)
        remarks.append(f"labels are numbered in the order in which they are painted: {changed}")
    return remarks
