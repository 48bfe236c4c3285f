"""Classes from names and colours."""

import colorsys
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from seg.errors import DatasetError
from seg.images import ClassInfo

MOST_CLASSES = 255
"""Masks are served as one byte a pixel, and one number says that nobody annotated it."""

_FIRST_COLORS = (
    *((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
"""Black for background, then colours that colour-blind readers tell apart.

Source: Okabe and Ito, Color Universal Design, 2008.
"""
_GOLDEN_RATIO = 0.618034


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
    # Steps of the golden ratio never come close to an earlier hue.
    hue = (index * _GOLDEN_RATIO) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(
        hue, 0.9 - 0.3 * (index % 2), 1.0 - 0.3 * (index % 3) / 2
    )
    return round(255 * red), round(255 * green), round(255 * blue)
