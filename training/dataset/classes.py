"""Classes from names and colours."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from jaxtyping import Float, Int
from pydantic import ValidationError

from seg.errors import DatasetError
from seg.images import ClassInfo
from seg.names import MOST_CLASSES

_FIRST_COLORS = (
    *((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
"""Black for background, then colours that colour-blind readers tell apart.

Source: Okabe and Ito, Color Universal Design, 2008.
"""
DARKEST = 35
"""Lightness, of 100: what is darker is not seen on a dark image."""


def make_classes(
    names: Sequence[str],
    colors: Mapping[str, Sequence[int]],
    values: Mapping[str, Sequence[int]] | None = None,
) -> tuple[ClassInfo, ...]:
    """Classes in the order of their names, which must differ; the first is background.

    Args:
        names: of the classes.
        colors: of those that have one of their own.
        values: numbers that stand for a class in mask files.

    Raises:
        DatasetError: two names are the same, there are too many, or a colour is none.
    """
    if len(set(names)) != len(names) or not 2 <= len(names) <= MOST_CLASSES:
        raise DatasetError(
            f"a dataset needs 2 to {MOST_CLASSES} classes with different names, background "
            f"included, got {len(names)}: {', '.join(names[:10])}"
        )
    try:
        return tuple(
            ClassInfo(
                index=index,
                name=name,
                color=_triple(colors.get(name, distinct_color(index))),
                values=tuple((values or {}).get(name, ())),
            )
            for index, name in enumerate(names)
        )
    except (ValidationError, TypeError, ValueError) as error:
        raise DatasetError(
            "a class's color is three numbers from 0 to 255, [red, green, blue]"
        ) from error


def _triple(color: Sequence[int]) -> tuple[int, int, int]:
    red, green, blue = color
    return red, green, blue


def distinct_color(index: int) -> tuple[int, int, int]:
    """A colour for a class that names none, unlike those of the classes before it."""
    if index < len(_FIRST_COLORS):
        return _FIRST_COLORS[index]
    return _distinct_colors()[index]


@cache
def _distinct_colors() -> tuple[tuple[int, int, int], ...]:
    """The first ones, then of a grid always the one that looks least like all before it.

    Distances are those of CIELAB, in which equal ones look equally large; of 105 no two are nearer
    than 16, where hues in steps of the golden ratio gave two that no eye tells apart.
    """
    steps = np.arange(40, 256, 12)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    places = _lab(grid)
    is_bright = places[:, 0] > DARKEST
    grid, places = grid[is_bright], places[is_bright]
    colors = list(_FIRST_COLORS)
    first = _lab(np.array(_FIRST_COLORS))
    nearest = np.linalg.norm(places[:, None] - first, axis=-1).min(axis=1)
    while len(colors) < MOST_CLASSES:
        farthest = int(nearest.argmax())
        red, green, blue = grid[farthest].tolist()
        colors.append((red, green, blue))
        nearest = np.minimum(nearest, np.linalg.norm(places - places[farthest], axis=-1))
    return tuple(colors)


def _lab(colors: Int[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    from skimage.color import rgb2lab

    lab: np.ndarray = rgb2lab(colors[np.newaxis] / 255)[0]
    return lab
