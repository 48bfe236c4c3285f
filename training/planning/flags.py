"""Flags of a command line made from the fields of ``Plan``.

What a value may be, what it means and what is done without it stands at the field, once. Here
stands which fields a user may set, in what order, and what only a command line has to say of them.
"""

import argparse
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType, NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import ByteSize, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from seg.commands import count, positive
from seg.verbs import called
from training.planning.options import DEFAULT_MINUTES
from training.run.plan_fields import PlanFields

_SIZE = re.compile(r"\s*\d*\.?\d+\s*[a-zA-Z]*\s*")
PLANNED = ""
"""Default of a field that is planned where nobody sets it."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """What a command line has to say of a field beside what the field says."""

    metavar: str | None = None
    name: str | None = None
    """Without ``--``, where it isn't the field's."""
    help: str | None = None
    """In place of the field's description, which speaks to readers of ``plan.yaml``."""
    default: str | None = None
    """In place of the field's default, where it is planned or measured."""
    nargs: str = "+"
    """Of a field that takes several values."""


FLAGS: Mapping[str, Mapping[str, Flag]] = MappingProxyType(
    {
        "run": {
            "start": Flag(
                metavar="PACKAGE",
                name="from",
                help="begin with the weights of this package; classes and channels may differ",
            ),
            "folds": Flag(
                metavar="K",
                help="cross-validate: K networks, each on cases that it has not seen, as one "
                "package; they share the minutes",
                default=PLANNED,
            ),
            "mirror": Flag(),
            "track": Flag(),
        },
        "budget": {
            "minutes": Flag(
                metavar="M",
                help="when training ends, from the start of all",
                default=f"{DEFAULT_MINUTES}",
            ),
            "memory": Flag(
                metavar="SIZE",
                help="that training may fill, such as 8GiB",
                default="most of what is free",
            ),
            "steps": Flag(metavar="N"),
        },
        "network": {
            "network": Flag(
                metavar="NAME",
                help=f"a preset that {called('seg.networks')} lists, smp:ARCHITECTURE/ENCODER, "
                "tu-ENCODER, seg:PRESET+ENCODER, monai:segresnet, dynunet or swinunetr, or "
                "package.module:function, whose code is run (docs/encoders.md)",
            ),
            "weights": Flag(
                metavar="WEIGHTS",
                help="of a foreign encoder: none, imagenet, another name on its hub, or "
                "FILE.safetensors; auto tries encoders whose weights are on this machine, and "
                "what is planned without",
                default="none",
            ),
            "encoder_rate": Flag(metavar="S", default="0.1 with weights, else 1"),
            "frozen_share": Flag(metavar="S"),
            "shortcut": Flag(
                metavar="KIND",
                help=f"what leads around a block, as {called('seg.networks')} lists it",
            ),
            "attention": Flag(
                metavar="N",
                help="Transformer blocks at the bottom of the U-Net, where all voxels of a patch "
                "see each other",
                default="the preset's: 2 in resunet-s-attention, else 0",
            ),
            "compute_penalty": Flag(
                metavar="P",
                help="with --shortcut gated or gated-channel: P times the share of operations that "
                "open gates let through is added to the loss; what closes is removed",
                default=PLANNED,
            ),
            "deep_supervision": Flag(),
            "patch": Flag(metavar="N"),
            "batch_size": Flag(metavar="N"),
        },
        "data": {
            "spacing": Flag(metavar="MM", help="target, one number an axis"),
            "margin": Flag(metavar="N"),
            "orientation": Flag(
                metavar="AXCODES",
                help="turn images to this voxel order, e.g. RAS",
                default="most images' own",
            ),
            "augmentation": Flag(default=PLANNED),
            "augment_on": Flag(default=PLANNED),
            "mirror_axes": Flag(
                metavar="N",
                help="mirror patches along these axes, 0 is the first of z y x; none if none is "
                "named",
                default="all, but that between left and right if classes have sides",
                nargs="*",
            ),
            "foreground_share": Flag(metavar="S", default="1/3"),
            "overlap": Flag(
                metavar="S",
                help="of windows in whole images",
                default="0.5, or the smallest that loses less than 0.001 Dice on held-back cases",
            ),
            "instances": Flag(
                help="how objects are told apart where each is annotated: by a class between those "
                "that touch, by how deep a voxel lies in its object, or by what does better on "
                "cases held back for it",
                default="auto",
            ),
            "seed": Flag(metavar="N"),
        },
        "training": {
            "loss": Flag(),
            "class_weights": Flag(metavar="CLASS=W", help="in the loss", default="1"),
            "optimiser": Flag(default=PLANNED),
            "learning_rate": Flag(metavar="R", default=PLANNED),
            "weight_decay": Flag(metavar="R", default=PLANNED),
            "schedule": Flag(default=PLANNED),
            "warmup_share": Flag(metavar="S", default=PLANNED),
            "precision": Flag(default=PLANNED),
            "compiled": Flag(
                help="torch.compile: kernels, or CUDA graphs too",
                default="measured on a card where a training lasts twenty minutes or more",
            ),
            "threads": Flag(metavar="N", help="of the network on a CPU", default="measured"),
            "accumulate": Flag(metavar="N"),
            "gradient_clip": Flag(metavar="X"),
            "ema": Flag(metavar="D"),
            "checkpoint_seconds": Flag(metavar="S"),
        },
    }
)
"""By group and field, in the order of ``--help``."""


def add_flags(add: Callable[..., argparse.Action], group: str) -> None:
    """Add all flags of a group by an ``add_argument``; none that is left out sets anything."""
    for name, flag in FLAGS[group].items():
        field = PlanFields.model_fields[name]
        option = "--" + (flag.name or name.replace("_", "-"))
        text = _help(field, flag)
        add(option, dest=name, default=None, help=text, **_taken(name, field, flag))


def _help(field: FieldInfo, flag: Flag) -> str:
    text = flag.help or (field.description or "").partition("; null ")[0]
    default = _default(field) if flag.default is None else flag.default
    return f"{text} (default: {default})" if default else text


def _default(field: FieldInfo) -> str:
    if field.is_required() or field.default is None or field.default is False:
        return ""
    if isinstance(field.default, float):
        return f"{field.default:g}"
    return "yes" if field.default is True else str(field.default)


def _taken(name: str, field: FieldInfo, flag: Flag) -> dict[str, Any]:
    """What ``add_argument`` is told of a field's values."""
    kind, takes_several = _kind(field.annotation)
    if kind is bool and field.default is True:
        return {"action": argparse.BooleanOptionalAction}
    if kind is bool:
        return {"action": "store_const", "const": True}
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind)}
    read = READERS.get(name) or partial(_value, kind, field.metadata)
    several = {"nargs": flag.nargs} if takes_several else {}
    return {"type": read, "metavar": flag.metavar, **several}


def _kind(annotation: Any) -> tuple[Any, bool]:
    """The type of a value, and whether a field takes several."""
    inner = [kind for kind in get_args(annotation) if kind is not NoneType]
    if NoneType in get_args(annotation):
        return _kind(inner[0])
    if get_origin(annotation) is tuple:
        return inner[0], True
    return annotation, get_origin(annotation) is dict


def _value(kind: Any, bounds: Sequence[Any], text: str) -> Any:
    """A value within the bounds of its field.

    Raises:
        argparse.ArgumentTypeError: it cannot be.
    """
    try:
        value = TypeAdapter(Annotated[kind, Field(), *bounds]).validate_python(text)
    except ValidationError as error:
        sentence = error.errors()[0]["msg"]
        raise argparse.ArgumentTypeError(f"{sentence[0].lower()}{sentence[1:]}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise argparse.ArgumentTypeError("input should be a finite number")
    return value


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def seed_number(text: str) -> int:
    """A seed that every generator of random numbers takes."""
    seed = _whole(text)
    if not 0 <= seed < 2**32:
        raise argparse.ArgumentTypeError("a seed lies between 0 and 4294967295")
    return seed


def _folds(text: str) -> int:
    folds = _whole(text)
    if folds < 2:
        raise argparse.ArgumentTypeError("cross-validation needs 2 folds or more")
    return folds


def _weight(text: str) -> tuple[str, float]:
    name, _, weight = text.rpartition("=")
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not name or not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a class and a weight, CLASS=2.5, got {text!r}")
    return name, number


def memory_size(text: str) -> int:
    """Bytes of ``8GiB``, ``500MB``, ...

    Raises:
        argparse.ArgumentTypeError: it is no size.
    """
    try:
        # pydantic reads 1e-30 as an exabyte, and passes over the rest
        size = int(TypeAdapter(ByteSize).validate_python(text)) if _SIZE.fullmatch(text) else 0
    except ValidationError:
        size = 0
    if size <= 0:
        raise argparse.ArgumentTypeError(f"expected a size such as 8GiB or 500MB, got {text!r}")
    return size


READERS: Mapping[str, Callable[[str], object]] = MappingProxyType(
    {
        "seed": seed_number,
        "folds": _folds,
        "minutes": positive,
        "steps": count,
        "class_weights": _weight,
        "memory": memory_size,
    }
)
"""Of values that people write in a way of their own."""
