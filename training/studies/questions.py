"""What each study asks, and the sizes that it has by default; light, as every command line is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from seg.errors import ConfigError
from seg.names import SHORTCUT_NAMES, check_known


@dataclass(frozen=True)
class Question:
    """What a study finds out."""

    text: str
    setting: Mapping[str, object]
    """Fields of ``Setting`` that have no default, as this study takes them."""
    fixed: tuple[str, ...] = ()
    """Fields that its networks decide, and nobody else."""


QUESTIONS: Mapping[str, Question] = MappingProxyType(
    {
        "depth": Question(
            "loss and Dice against depth, for each shortcut",
            {"shortcuts": SHORTCUT_NAMES, "layers": (9, 21, 57, 201), "steps": 120},
        ),
        "gradients": Question(
            "gradients that reach each block, and how they shatter with depth",
            {
                "shortcuts": tuple(name for name in SHORTCUT_NAMES if name != "gated-channel"),
                "layers": (9, 21, 33, 57),
                "steps": 60,
            },
        ),
        "vanishing": Question(
            "what is left of the gradient, and what is learned, where nothing is normalised",
            {"shortcuts": ("none", "identity"), "layers": (9, 21, 57, 105), "steps": 60},
        ),
        "thousand": Question(
            "preact-1001, identity-1202 and a plain network of 1001 layers, trained",
            {
                "shortcuts": ("preact", "identity", "none"),
                "layers": (1001,),
                "steps": 150,
                "edge": 32,
                "batch_size": 2,
            },
            fixed=("layers",),
        ),
        "encoders": Question(
            "an encoder of 152 layers beside one of 34, after equal time and equal steps",
            {"shortcuts": ("identity",), "layers": (34, 152), "steps": 200},
            fixed=("layers", "features"),
        ),
        "transformer": Question(
            "attention at the bottom, with and without its shortcuts",
            {"shortcuts": ("identity",), "layers": (21,), "steps": 300},
        ),
        "lesion": Question(
            "Dice against blocks dropped or swapped after training; lengths of gradient paths",
            {"shortcuts": ("none", "identity", "preact"), "layers": (45,), "steps": 900},
        ),
        "landscape": Question(
            "the loss around the trained weights, residual beside plain",
            {"shortcuts": ("none", "identity"), "layers": (21, 57), "steps": 200},
        ),
        "gates": Question(
            "what gated and highway networks let pass, block by block",
            {"shortcuts": ("gated", "gated-channel", "highway"), "layers": (45,), "steps": 300},
        ),
    }
)
"""By the name of the study."""


def check_shortcuts(names: Sequence[str]) -> None:
    """Say which shortcut cannot be, before a library is imported or a file read.

    Raises:
        ConfigError: one is not known, or is the name of a network.
    """
    for name in names:
        if ":" in name or "/" in name or name.startswith("tu-"):
            raise ConfigError(
                f"studies change what leads around this package's own blocks, and {name} is a "
                f"network of another library; --shortcuts takes {', '.join(SHORTCUT_NAMES)}"
            )
        check_known(SHORTCUT_NAMES, name, "shortcut")
