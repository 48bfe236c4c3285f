"""Masks with palettes that show one number in the color of another: their numbers were permuted."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from warnings import catch_warnings

from PIL import Image as Picture

from training.dataset.cases import Case
from training.dataset.findings.finding import Finding

WITH_PALETTES = (".png", ".gif", ".bmp", ".tif", ".tiff")
Colors = Mapping[int, tuple[int, ...]]


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
