"""Colors that say what nobody meant: palettes that were permuted, lines on grey pictures."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from warnings import catch_warnings

import numpy as np
from jaxtyping import Real
from PIL import Image as Picture

from training.dataset.cases import Case
from training.dataset.findings.finding import Finding

WITH_PALETTES = (".png", ".gif", ".bmp", ".tif", ".tiff")
Colors = Mapping[int, tuple[int, ...]]
GREY = 0.8
"""Of the pixels: a picture with fewer that are grey to the last bit is one in colour."""
BRIGHT = 0.5
"""Of the picture's range, by which the channels of a colour that somebody draws with differ."""
SHADES = 0.02
"""Of the range, by which the grey of a picture varies; what is black around colours does not."""
LEAST_DRAWN = 0.0005
"""Of the pixels: fewer are specks."""


def drawn_share(array: Real[np.ndarray, "c *spatial"]) -> float:
    """Share of the pixels of a grey picture with a bright colour; 0 of a picture in colour."""
    if len(array) != 3:
        return 0.0
    low, high = array.min(axis=0), array.max(axis=0)
    grey = low == high
    extent = float(high.max()) - float(low.min())
    if grey.mean() < GREY or not extent > 0 or float(low[grey].std()) < SHADES * extent:
        return 0.0
    return float((high.astype(np.float32) - low > BRIGHT * extent).mean())


def drawn_on(cases: Sequence[tuple[Case, float]]) -> list[Finding]:
    """Pictures with something on them that their network will see, and others' will not."""
    drawn = [(case, share) for case, share in cases if share >= LEAST_DRAWN]
    if not drawn:
        return []
    case, share = drawn[0]
    return [
        Finding(
            "warning",
            str(case.images[0]),
            f"the picture is grey, but for {share:.1%} of its pixels in bright colours (so are "
            f"{len(drawn)} of {len(cases)}): outlines or a scale bar seem to be drawn on it, and "
            "the network learns what was drawn",
            "take the images as they were before somebody drew on them",
        )
    ]


def palette_of(path: Path, values: Iterable[int]) -> Colors:
    """Colors of these numbers in a file; none where it has no palette."""
    if path.suffix.lower() not in WITH_PALETTES:
        return {}
    try:
        with catch_warnings(action="ignore"), Picture.open(path) as picture:
            flat = picture.getpalette("RGB") if picture.mode == "P" else None
    except (OSError, ValueError, Picture.DecompressionBombError):  # another reader reads it
        return {}
    if not flat:
        return {}
    return {
        value: tuple(flat[3 * value : 3 * value + 3]) for value in values if 3 * value < len(flat)
    }


def permuted_colors(cases: Sequence[tuple[Case, Colors]]) -> list[Finding]:
    """A number has the color that another one has in most masks."""
    usual: dict[int, tuple[int, ...]] = {}
    for value in sorted({value for _, colors in cases for value in colors}):
        counts = Counter(colors[value] for _, colors in cases if value in colors)
        usual[value], _ = counts.most_common(1)[0]
    value_of = {color: value for value, color in usual.items()}
    wrong = [
        (case, value, value_of[color])
        for case, colors in cases
        for value, color in colors.items()
        if usual[value] != color and value_of.get(color, value) != value
    ]
    if not wrong:
        return []
    case, value, other = wrong[0]
    return [
        Finding(
            "warning",
            str(case.mask),
            f"the palette shows {value} in the color that {other} has in most masks (in "
            f"{len({each.name for each, *_ in wrong})} of {len(cases)} masks with palettes such a "
            "number): the number is read, not the color",
            "save all masks with one palette; or, if colors are classes, as RGB pictures with "
            "masks: colors",
        )
    ]
