"""Transparency (alpha), which is no channel: what it says is asked before it is left out.

Letters: ``c`` channels.
"""

import numpy as np
from jaxtyping import Real

from seg.errors import ImageError
from seg.sentences import Sentence


def check_opaque(
    numbers: Real[np.ndarray, "c *spatial"], opacity: Real[np.ndarray, "a *spatial"]
) -> None:
    """Pass where a mask has no class that is not to be seen.

    What was drawn on a transparent page may keep its one colour beside what was drawn, so that the
    transparency alone is the mask.

    Raises:
        ImageError: pixels that are transparent have a number above 0.
    """
    if not opacity.size:
        return
    is_hidden = (opacity == 0).all(axis=0) & (numbers != 0).any(axis=0)
    if hidden := int(np.count_nonzero(is_hidden)):
        raise ImageError(
            f"{hidden:,} pixels of the mask are transparent and have a class number all the same "
            f"({numbers[0][is_hidden][0]}), so what is meant cannot be told; save it without "
            "transparency (alpha), 0 where nothing is"
        )


def varies(opacity: Real[np.ndarray, "a *spatial"]) -> bool:
    """Whether it is not the same everywhere, so that it says something."""
    return any(plane.min() != plane.max() for plane in opacity)


def left_out(opacity: Real[np.ndarray, "a *spatial"], kind: str) -> tuple[str, ...]:
    """What is to be said of a picture whose transparency is not the same everywhere.

    Args:
        opacity: what is left out.
        kind: of the file, as people call it.
    """
    if not varies(opacity):
        return ()
    sentence = (
        f"the transparency (alpha) of the {kind} was left out, and it is not the same everywhere: "
        "what is transparent has a colour all the same, and that is taken"
    )
    return (Sentence(sentence, "transparency_left_out", kind=kind),)
