"""The command line of ``training.fit``, light: a plan is imported once it is read."""

import argparse
import math
from pathlib import Path
from typing import Any, get_args

from pydantic import ByteSize, TypeAdapter, ValidationError

from training.planning.options import DEFAULT_MINUTES, PlanOptions
from training.run.names import (
    AugmentationPreset,
    CompilationName,
    InstancesName,
    LossName,
    NnunetPreset,
    OptimiserName,
    PrecisionName,
    ScheduleName,
    TrackerName,
)

NO_WEIGHTS = "none"
DEFAULT_DATASET = "scratch-assay"


def options_from(arguments: argparse.Namespace) -> PlanOptions:
    """What was asked for, out of parsed arguments."""
    return PlanOptions(
        data=arguments.data,
        out=arguments.out,
        plan=arguments.plan,
        with_ray=arguments.ray,
        as_nnunet=arguments.as_nnunet,
        chosen=chosen_from(arguments),
    )


def chosen_from(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of the plan that the command line sets."""
    from seg.networks.foreign.own_code import allow, names_own_code
    from training.run.plan import Plan, elastic_fields

    names = set(vars(arguments)) & set(Plan.model_fields) - {"data"}
    chosen = {
        name: value for name in sorted(names) if (value := getattr(arguments, name)) is not None
    }
    if chosen.get("weights") == NO_WEIGHTS:
        del chosen["weights"]
    elif chosen.get("weights", "").endswith(".safetensors"):
        chosen["weights"] = str(Path(chosen["weights"]).resolve())
    if names_own_code(chosen.get("network", "")):
        allow(chosen["network"])
    if arguments.elastic:
        chosen = elastic_fields(chosen.get("network")) | chosen
    if "class_weights" in chosen:
        chosen["class_weights"] = dict(chosen["class_weights"])
    for name in {"patch", "spacing", "margin", "mirror_axes"} & set(chosen):
        chosen[name] = tuple(chosen[name])
    if "start" in chosen:
        chosen["start"] = str(chosen["start"].resolve())
    return chosen


def command_line() -> argparse.ArgumentParser:
    """Arguments of ``training.fit`` and their help."""
    command = argparse.ArgumentParser(
        prog="python -m training.fit",
        usage="%(prog)s [PATH] [--minutes M] [--memory SIZE] [--out DIR] [OPTION ...]",
        description="Train a residual U-Net on a folder of images and masks, prove it, package it.",
    )
    add = command.add_argument
    add("data", type=Path, nargs="?", metavar="PATH",
        help=f"dataset folder: nnU-Net raw format, Decathlon, or images/ and masks/ (default: "
             f"{DEFAULT_DATASET}, fetched once)")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="folder of the run (default: runs/NAME-TIME)")
    add("--resume", type=Path, metavar="DIR", help="go on with a run that was stopped")
    add("--plan", type=Path, metavar="FILE", help="obey this plan.yaml")
    add("--from", type=Path, metavar="PACKAGE", dest="start",
        help="begin with the weights of this package; classes and channels may differ")  # fmt: skip
    add("--folds", type=_folds, metavar="K",
        help="cross-validate: K networks, each on cases that it has not seen, as one package; "
             "they share the minutes")  # fmt: skip
    add("--ray", action="store_true",
        help="train folds side by side on Ray's workers (RAY_ADDRESS: a cluster)")  # fmt: skip
    add("--mirror", action="store_const", const=True,
        help="measure what predicting in mirrors as well gains and costs")  # fmt: skip
    add("--track", choices=get_args(TrackerName), help="log there beside CSV and TensorBoard")
    add_plan_arguments(command)
    return command


def add_plan_arguments(command: argparse.ArgumentParser) -> None:
    """The budget, and what can be set in place of what would be planned."""
    add = command.add_argument_group("budget").add_argument
    add("--minutes", type=_minutes, metavar="M",
        help=f"when training ends, from the start of all (default: {DEFAULT_MINUTES})")  # fmt: skip
    add("--memory", type=memory_size, metavar="SIZE",
        help="that training may fill, such as 8GiB (default: most of what is free)")  # fmt: skip
    add("--steps", type=int, metavar="N", help="train this many steps, whatever the time")
    add("--as-nnunet", choices=get_args(NnunetPreset),
        help="plan patch, strides and batch by nnU-Net's rules for 8, 24 or 40 GB")  # fmt: skip
    add = command.add_argument_group("network, in place of what would be planned").add_argument
    add("--network", metavar="NAME",
        help="a preset that python -m seg.networks lists, smp:ARCHITECTURE/ENCODER, tu-ENCODER, "
             "seg:PRESET+ENCODER, monai:segresnet, dynunet or swinunetr, or package.module:function"
             ", whose code is run (docs/encoders.md)")  # fmt: skip
    add("--weights", metavar="WEIGHTS",
        help="of a foreign encoder: none, imagenet, another name on its hub, or "
             "FILE.safetensors; auto tries encoders whose weights are on this machine, and what "
             "is planned without (default: none)")  # fmt: skip
    add("--encoder-rate", type=float, metavar="S",
        help="learning rate of a foreign encoder, of the others' rate (default: 0.1 with weights, "
             "else 1)")  # fmt: skip
    add("--frozen-share", type=float, metavar="S",
        help="of the training, in which a foreign encoder learns nothing (default: 0)")  # fmt: skip
    add("--shortcut", metavar="KIND",
        help="what leads around a block, as python -m seg.networks lists it")  # fmt: skip
    add("--compute-penalty", type=float, metavar="P",
        help="with --shortcut gated or gated-channel: P times the share of operations that open "
             "gates let through is added to the loss; what closes is removed")  # fmt: skip
    add("--deep-supervision", action=argparse.BooleanOptionalAction, default=None,
        help="a loss at every resolution (default: yes)")  # fmt: skip
    add("--patch", type=int, nargs="+", metavar="N", help="voxels, one number an axis")
    add("--batch-size", type=int, metavar="N", help="patches a step")
    add("--elastic", action="store_true",
        help="train so that blocks can be dropped: stochastic depth, and at the end every other "
             "step without some of them; training.export --variants drops them")  # fmt: skip
    add = command.add_argument_group("data, in place of what would be planned").add_argument
    add("--spacing", type=float, nargs="+", metavar="MM", help="target, one number an axis")
    add("--margin", type=int, nargs="+", metavar="N",
        help="voxels of 0 around every image, one number an axis")  # fmt: skip
    add("--orientation", metavar="AXCODES",
        help="turn images to this voxel order, e.g. RAS (default: most images' own)")  # fmt: skip
    add("--augmentation", choices=get_args(AugmentationPreset), help="preset")
    add("--mirror-axes", type=int, nargs="*", metavar="N",
        help="mirror patches along these axes, 0 is the first of z y x; none if none is named "
             "(default: all, but that between left and right if classes have sides)")  # fmt: skip
    add("--foreground-share", type=float, metavar="S",
        help="of patches that must show a class (default: 1/3)")  # fmt: skip
    add("--overlap", type=float, metavar="S",
        help="of windows in whole images (default: 0.5, or the smallest that loses less than 0.001 "
             "Dice on held-back cases)")  # fmt: skip
    add("--instances", choices=get_args(InstancesName),
        help="how objects are told apart where each is annotated: by a class between those that "
             "touch, by how deep a voxel lies in its object, or by what does better on cases held "
             "back for it (default: auto)")  # fmt: skip
    add(
        "--seed",
        type=seed_number,
        metavar="N",
        help="of weights, patches and augmentation (default: 0)",
    )
    add = command.add_argument_group("training, in place of what would be planned").add_argument
    add("--loss", choices=get_args(LossName), help="by name (default: dice_ce)")
    add("--class-weights", type=_weight, nargs="+", metavar="CLASS=W", help="in the loss")
    add("--optimiser", choices=get_args(OptimiserName), help="adamw, or sgd as nnU-Net has it")
    add("--learning-rate", type=float, metavar="R", help="at its highest")
    add("--weight-decay", type=float, metavar="R", help="none of biases and norms")
    add("--schedule", choices=get_args(ScheduleName), help="how the learning rate comes down")
    add("--warmup-share", type=float, metavar="S", help="of the training in which the rate rises")
    add("--precision", choices=get_args(PrecisionName), help="of the network while it trains")
    add("--compiled", choices=get_args(CompilationName),
        help="torch.compile: kernels, or CUDA graphs too (default: measured on a card where a "
             "training lasts twenty minutes or more)")  # fmt: skip
    add("--threads", type=int, metavar="N", help="of the network on a CPU (default: measured)")
    add("--accumulate", type=int, metavar="N", help="batches a step (default: 1)")
    add("--gradient-clip", type=float, metavar="X", help="largest norm (default: 12; 0: none)")
    add("--ema", type=float, metavar="D", help="decay of averaged weights (default: 0.98; 0: none)")
    add("--checkpoint-seconds", type=float, metavar="S", help="between checkpoints (default: 20)")


def seed_number(text: str) -> int:
    """A seed that every generator of random numbers takes."""
    seed = int(text)
    if not 0 <= seed < 2**32:
        raise argparse.ArgumentTypeError("a seed lies between 0 and 4294967295")
    return seed


def _folds(text: str) -> int:
    folds = int(text)
    if folds < 2:
        raise argparse.ArgumentTypeError("cross-validation needs 2 folds or more")
    return folds


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError("minutes must be above 0 and finite")
    return minutes


def _weight(text: str) -> tuple[str, float]:
    name, _, weight = text.rpartition("=")
    if not name or not float(weight) > 0:
        raise argparse.ArgumentTypeError(f"expected a class and a weight, CLASS=2.5, got {text!r}")
    return name, float(weight)


def memory_size(text: str) -> int:
    """Bytes of ``8GiB``, ``500MB``, ...

    Raises:
        argparse.ArgumentTypeError: it is no size.
    """
    try:
        size = int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        size = 0
    if size <= 0:
        raise argparse.ArgumentTypeError(f"expected a size such as 8GiB or 500MB, got {text!r}")
    return size
