"""From a package to a results folder of nnU-Net 2."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seg.errors import ConfigError
from seg.files import written_whole
from seg.model_package import ModelCard, ModelPackage
from seg.networks import ResidualUNet
from seg.transforms import Normalisation
from training.interchange.nnunet.card import REORIENTED, REORIENTING
from training.interchange.nnunet.results import RESAMPLING, UNTOUCHED
from training.onnx_files.read_back import own_network_in

SCHEMES = {"zscore": "ZScoreNormalization", "clip_zscore": "CTNormalization",
           "reference": "CTNormalization", "minmax": "RescaleTo01Normalization"}  # fmt: skip
FIXED = {1.0: "NoNormalization", 255.0: "RGBTo01Normalization"}
"""Of ``rescale`` from 0, by its upper end."""

LAYERS = (
    (r"encoder\.stem", "encoder.stem.convs.0"),
    (r"encoder\.stem\.(\d+)", r"encoder.stages.0.0.convs.\1"),
    (r"decoder\.levels\.(\d+)\.fuse", r"decoder.stages.\1.convs.0"),
    (r"decoder\.levels\.(\d+)\.fuse\.branch\.(\d+)", r"decoder.stages.\1.convs.\2"),
)
"""Our layers and nnU-Net's; those of blocks depend on the kind of the network."""


def leave_for_nnunet(package: ModelPackage, target: Path) -> list[str]:
    """Write a results folder that ``nnUNetv2_predict_from_modelfolder`` takes.

    Sentences on what will differ are returned.

    Raises:
        ConfigError: nnU-Net has no such network or normalisation.
    """
    card = package.card
    networks = {name: own_network_in(package, name) for name in card.members()}
    plans = _plans(card, next(iter(networks.values())))
    with written_whole(target) as folder:
        _write_json(folder / "plans.json", plans)
        _write_json(folder / "dataset.json", _dataset(card))
        axes = _mirrors(card)
        for number, network in enumerate(networks.values()):
            fold = folder / f"fold_{number}"
            fold.mkdir()
            checkpoint = {
                "network_weights": _their_weights(network),
                "trainer_name": "nnUNetTrainer",
                "init_args": {"configuration": _configuration(card)},
                "inference_allowed_mirroring_axes": axes or None,
            }
            torch.save(checkpoint, fold / "checkpoint_final.pth")
    differs = card.input.preprocessing.convention != "nnunet"
    words = "nnU-Net resamples and pads in its own way, so masks will differ a little at edges"
    return [*_orientation_in_words(card), *([words] if differs else [])]


def _mirrors(card: ModelCard) -> tuple[int, ...]:
    try:
        return card.mirrors
    except ConfigError:
        return tuple(
            axis for axis in card.input.mirror_axes or () if axis != card.input.between_sides
        )


def _orientation_in_words(card: ModelCard) -> list[str]:
    orientation = card.input.orientation
    if orientation in (None, REORIENTED) or card.input.dims == 2:
        return []
    return [
        f"nnU-Net turns images to {REORIENTED} or not at all, this model needs {orientation}: "
        f"store the images in {orientation}, or left and right may be exchanged"
    ]


def _configuration(card: ModelCard) -> str:
    return "2d" if card.input.dims == 2 else "3d_fullres"


def _plans(card: ModelCard, network: ResidualUNet) -> dict[str, Any]:
    spec, dims = card.input, card.input.dims
    one = [1] if dims == 2 else []
    known = card.fingerprint.spacing or ((1.0, 1.0),) * dims
    middle = [(low + high) / 2 for low, high in known]
    spacing = spec.preprocessing.spacing or tuple(middle if dims == 3 else [1.0] * dims)
    if None in spacing:
        raise ConfigError("nnU-Net resamples all axes of a volume or none; this package some")
    shape = [round((low + high) / 2) for low, high in card.fingerprint.shape]
    rules = spec.preprocessing.normalisation
    untouched = spec.preprocessing.spacing is None
    return {
        "dataset_name": card.name if card.name.startswith("Dataset") else f"Dataset001_{card.name}",
        "plans_name": "segPlans",
        "original_median_spacing_after_transp": [999.0] * len(one) + middle,
        "original_median_shape_after_transp": one + shape,
        "image_reader_writer": _reader(card),
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "seg",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(number): _measured(rule) for number, rule in enumerate(rules)
        },
        "configurations": {
            _configuration(card): {
                "data_identifier": "seg",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "batch_dice": True,
                "patch_size": list(spec.patch),
                "median_image_size_in_voxels": shape,
                "spacing": list(spacing),
                "normalization_schemes": [_scheme(rule) for rule in rules],
                "use_mask_for_norm": [rule.nonzero for rule in rules],
                **_resampling(untouched=untouched),
                "architecture": _architecture(network),
            }
        },
    }


def _reader(card: ModelCard) -> str:
    if card.input.dims == 2:
        return "NaturalImage2DIO"
    return REORIENTING if card.input.orientation == REORIENTED else "SimpleITKIO"


def _scheme(rule: Normalisation) -> str:
    if rule.kind == "rescale" and rule.low == 0 and rule.high in FIXED:
        return FIXED[rule.high]
    if rule.kind not in SCHEMES:
        raise ConfigError(f"nnU-Net has no normalisation like {rule.kind}")
    return SCHEMES[rule.kind]


def _measured(rule: Normalisation) -> dict[str, float]:
    low, high = rule.low or 0.0, 1.0 if rule.high is None else rule.high
    return {
        "mean": rule.mean or 0.0,
        "std": rule.std or 1.0,
        "percentile_00_5": low,
        "percentile_99_5": high,
        "min": low,
        "max": high,
        "median": rule.mean or 0.0,
    }


def _resampling(*, untouched: bool) -> dict[str, Any]:
    function = UNTOUCHED if untouched else RESAMPLING
    found: dict[str, Any] = {}
    for what, order in (("data", 3), ("seg", 1), ("probabilities", 1)):
        found[f"resampling_fn_{what}"] = function
        found[f"resampling_fn_{what}_kwargs"] = (
            {}
            if untouched
            else {"is_seg": what == "seg", "order": order, "order_z": 0, "force_separate_z": None}
        )
    return found


def _architecture(network: ResidualUNet) -> dict[str, Any]:
    config, dims = network.config, network.config.spatial_dims
    stages = len(config.features)
    fixed = {
        "normalisation": "instance",
        "activation": "leaky_relu",
        "projection": "pooled",
        "block": "basic",
        "squeeze_excitation": False,
        "attention_blocks": 0,
        "encoder": "residual",
        "decoder_features": None,
    }
    different = [name for name, value in fixed.items() if getattr(config, name) != value]
    residual = (config.shortcut, config.stem, config.decoder) == ("identity", "conv", "light")
    plain = (config.shortcut, config.stem, config.decoder) == ("none", "double", "residual")
    plain = plain and config.blocks == (0, *[1] * (stages - 1))
    if different or not (residual or plain):
        what = different or [f"shortcut {config.shortcut}, stem {config.stem}, {config.decoder}"]
        raise ConfigError(f"nnU-Net has no network like this one ({', '.join(what)})")
    convs = (
        {"n_blocks_per_stage": config.blocks, "n_conv_per_stage_decoder": [1] * (stages - 1)}
        if residual
        else {"n_conv_per_stage": [2] * stages, "n_conv_per_stage_decoder": [2] * (stages - 1)}
    )
    kind = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": config.features,
            "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
            "kernel_sizes": config.kernel_sizes,
            "strides": config.strides,
            **convs,
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def _dataset(card: ModelCard) -> dict[str, Any]:
    names = [info.name for info in card.classes]
    labels: dict[str, Any] = {name: number for number, name in enumerate(names)}
    more: dict[str, Any] = {}
    if (
        card.task == "regions"
    ):  # painted in their order: a region is its own label and the later ones
        labels = {"background": 0} | {
            name: list(range(number, len(names))) for number, name in enumerate(names) if number
        }
        more["regions_class_order"] = list(range(1, len(names)))
    return {
        "name": card.name,
        "channel_names": {str(n): channel.name for n, channel in enumerate(card.input.channels)},
        "labels": labels,
        **more,
        "numTraining": card.fingerprint.cases,
        "file_ending": ".tif" if card.input.dims == 2 else ".nii.gz",
        "licence": card.licence,
    }


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _their_weights(network: ResidualUNet) -> dict[str, Tensor]:
    """The weights under nnU-Net's names, of which it keeps many twice."""
    theirs: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        layer, kind, entry = name.rsplit(".", 2)
        if layer == "heads":
            if kind == "0":
                theirs |= _their_heads(network, tensor, entry)
        elif kind == "upsample":
            theirs[f"decoder.transpconvs.{layer.rpartition('.')[2]}.{entry}"] = tensor
        else:
            place = _their_layer(layer, network)
            number = ("conv", "norm").index(kind)
            for each in (f"{kind}.{entry}", f"all_modules.{number}.{entry}"):
                theirs[f"{place}.{each}"] = tensor
            if kind == "conv" and ".skip." not in place:
                for each in ("conv.bias", "all_modules.0.bias"):
                    theirs[f"{place}.{each}"] = torch.zeros(len(tensor))
    copies = {f"decoder.{n}": t for n, t in theirs.items() if n.startswith("encoder.")}
    return theirs | copies


def _their_heads(network: ResidualUNet, finest: Tensor, entry: str) -> dict[str, Tensor]:
    """nnU-Net builds a head a level, of which prediction uses the last, the finest one."""
    features = network.config.features[-2::-1]
    return {
        f"decoder.seg_layers.{level}.{entry}": finest
        if level == len(features) - 1
        else torch.zeros(len(finest), *((of_level, *finest.shape[2:]) if finest.ndim > 1 else ()))
        for level, of_level in enumerate(features)
    }


def _their_layer(layer: str, network: ResidualUNet) -> str:
    for pattern, replacement in LAYERS:
        match = re.fullmatch(pattern, layer)
        if match:
            return match.expand(replacement)
    match = re.fullmatch(r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.branch\.(\d+)", layer)
    if match and network.config.shortcut == "none":
        return f"encoder.stages.{match[1]}.0.convs.{match[3]}"
    if match:
        return f"encoder.stages.{match[1]}.blocks.{match[2]}.conv{int(match[3]) + 1}"
    match = re.fullmatch(r"encoder\.stages\.(\d+)\.blocks\.(\d+)\.shortcut\.project", layer)
    assert match, layer  # _architecture has refused everything else
    stage, block = int(match[1]), int(match[2])
    pooled = block == 0 and stage > 0 and max(network.config.strides[stage]) > 1
    return f"encoder.stages.{stage}.blocks.{block}.skip.{int(pooled)}"
