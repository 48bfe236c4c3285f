"""What a results folder of nnU-Net says: plans, labels, folds, preprocessing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seg.errors import ConfigError
from training.interchange.nnunet.schema import Configuration, NnunetDataset, Plans, validate_content

FOLD = "fold_"
RESAMPLING = "resample_data_or_seg_to_shape"
UNTOUCHED = "no_resampling_hack"
ORDERS = {"resampling_fn_data": (3, 0), "resampling_fn_probabilities": (1, 0)}
"""Orders of interpolation, and along a far coarser axis, that the convention ``nnunet`` has."""


@dataclass(frozen=True)
class Results:
    """``RESULTS/DATASET/TRAINER__PLANS__CONFIGURATION``."""

    folder: Path
    plans: Mapping[str, Any]
    dataset: Mapping[str, Any]
    fingerprint: Mapping[str, Any] | None

    def configuration(self, name: str) -> dict[str, Any]:
        """What the plans say of one configuration, with what it inherits.

        Raises:
            ConfigError: it is not there, needs a network before it, or is prepared in other ways.
        """
        configurations = self.plans["configurations"]
        if name not in configurations:
            raise ConfigError(
                f"plans.json has no configuration {name}; it has {', '.join(configurations)}"
            )
        chain = [name]
        while parent := configurations[chain[-1]].get("inherits_from"):
            if parent in chain or parent not in configurations:
                raise ConfigError(
                    f"plans.json: {chain[-1]} inherits from {parent}, which cannot be"
                )
            chain.append(parent)
        merged = {k: v for each in reversed(chain) for k, v in configurations[each].items()}
        if merged.get("previous_stage"):
            raise ConfigError(
                f"{name} is the second network of a cascade and sees the masks of a first one; "
                "adopt 3d_fullres, 3d_lowres or 2d"
            )
        found = _of_today(merged)
        validate_content(Configuration, found, f"plans.json's configuration {name}")
        _check_preparation(found)
        return found


def read_results(folder: Path) -> Results:
    """Read the JSON files of a results folder.

    Raises:
        ConfigError: the folder is none, or a file is damaged.
    """
    if folder.name.startswith(FOLD) and (folder.parent / "plans.json").is_file():
        raise ConfigError(
            f"{folder} is one fold; name the folder above it and choose with "
            f"--folds {folder.name.removeprefix(FOLD)}"
        )
    if not (folder / "plans.json").is_file():
        below = sorted(each.parent.name for each in folder.glob("*/plans.json"))
        raise ConfigError(
            f"{folder} is no results folder of nnU-Net 2, it has no plans.json"
            + (f"; below it lie {', '.join(below)}" if below else "")
            + "; name the folder TRAINER__PLANS__CONFIGURATION with plans.json, dataset.json and "
            "fold_0, fold_1, ..."
        )
    fingerprint = folder / "dataset_fingerprint.json"
    plans = _read(folder / "plans.json", ("configurations", "dataset_name"))
    dataset = _read(folder / "dataset.json", ("labels", "file_ending"))
    validate_content(Plans, plans, "plans.json")
    validate_content(NnunetDataset, dataset, "dataset.json")
    return Results(
        folder,
        plans,
        dataset,
        _read(fingerprint, ("spacings", "shapes_after_crop")) if fingerprint.is_file() else None,
    )


def fold_files(results: Results, folds: Sequence[str], checkpoint: str | None) -> dict[str, Path]:
    """Checkpoints by the name of their fold.

    Args:
        results: the folder.
        folds: numbers, or ``all``; empty takes the numbered ones, or else ``all``.
        checkpoint: name of the file; None takes ``checkpoint_final.pth``, or else the best one.

    Raises:
        ConfigError: there is none.
    """
    there = {path.name.removeprefix(FOLD): path for path in sorted(results.folder.glob(f"{FOLD}*"))}
    numbered = [name for name in there if name != "all"]
    wanted = list(folds) or numbered or list(there)
    names = [checkpoint] if checkpoint else ["checkpoint_final.pth", "checkpoint_best.pth"]
    checkpoints = {}
    for fold in wanted:
        files = [there[fold] / name for name in names] if fold in there else []
        file = next((each for each in files if each.is_file()), None)
        if file is not None:
            checkpoints[f"{FOLD}{fold}"] = file
        elif folds:
            raise ConfigError(
                f"{results.folder} has no {FOLD}{fold} with {' or '.join(names)}; it has "
                f"{', '.join(path.name for path in there.values()) or 'no folds'}"
            )
    if not checkpoints:
        raise ConfigError(
            f"{results.folder} has no {FOLD}* with {' or '.join(names)}; a training that still "
            "runs has --checkpoint checkpoint_latest.pth"
        )
    return checkpoints


def _read(file: Path, needed: Sequence[str]) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{file} is missing; it lies beside plans.json") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    missing = [key for key in needed if not isinstance(content, dict) or key not in content]
    if missing:
        raise ConfigError(f"{file} has no {' and no '.join(missing)}; is it nnU-Net's, version 2?")
    return dict(content)


def _check_preparation(configuration: Mapping[str, Any]) -> None:
    preprocessor = configuration.get("preprocessor_name")
    if preprocessor != "DefaultPreprocessor":
        raise ConfigError(
            f"images were prepared by {preprocessor}, which is not nnU-Net's own; adopted is "
            "DefaultPreprocessor"
        )
    for function, orders in ORDERS.items():
        name, options = configuration[function], configuration.get(f"{function}_kwargs", {})
        if name == UNTOUCHED:
            continue
        found = (options.get("order", 3), options.get("order_z", 0))
        if name != RESAMPLING or found != orders or options.get("force_separate_z") is not None:
            raise ConfigError(
                f"{function} is {name} with {options}; adopted is {RESAMPLING} of order "
                f"{orders[0]}, and {orders[1]} along thick slices, as nnU-Net's planners write it"
            )


def _of_today(configuration: dict[str, Any]) -> dict[str, Any]:
    """Plans before nnU-Net 2.4 describe the network by other fields."""
    if "architecture" in configuration or "UNet_class_name" not in configuration:
        return configuration
    old = configuration
    convs = old["n_conv_per_stage_encoder"]
    dims, kind = len(old["patch_size"]), str(old["UNet_class_name"])
    base, most = int(old["UNet_base_num_features"]), int(old["unet_max_num_features"])
    options = {
        "n_stages": len(convs),
        "features_per_stage": [min(base * 2**stage, most) for stage in range(len(convs))],
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": old["conv_kernel_sizes"],
        "strides": old["pool_op_kernel_sizes"],
        "n_conv_per_stage" if kind == "PlainConvUNet" else "n_blocks_per_stage": convs,
        "n_conv_per_stage_decoder": old["n_conv_per_stage_decoder"],
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return old | {"architecture": {"network_class_name": kind, "arch_kwargs": options}}
