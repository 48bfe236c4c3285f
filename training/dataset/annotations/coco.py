"""COCO: polygons or run lengths of all images in one JSON file.

Source: Lin et al., Microsoft COCO, ECCV 2014, and its cocoapi.
"""

from collections import Counter
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from pycocotools import mask as run_lengths

from seg.errors import ImageError
from seg.images.outlines.drawing import AnnotatedDrawing, Runs, Shape
from training.dataset.annotations.annotated import Annotated, add_drawing

HOLES = "outlines within another of their object"
"""What programs write for holes; COCO has none, and its own code fills them."""
FARTHEST = 10
"""Sizes of an image that a point may lie outside of it: farther ones are no pixels, and filling
them takes memory by their distance."""

_LETTERS = 7
"""Of a run length at most: 35 bits."""
_WRONG = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)
"""What an entry raises that is not as COCO has it."""


def is_coco(raw: Any) -> bool:
    """The JSON of a file is COCO's, with a category for each annotation."""
    return (
        isinstance(raw, dict)
        and all(isinstance(raw.get(key), list) for key in ("images", "annotations"))
        and "categories" in raw
        and not is_panoptic(raw)
    )


def is_panoptic(raw: Any) -> bool:
    """The JSON lists what the colours of pictures beside it stand for."""
    entries = raw.get("annotations") if isinstance(raw, dict) else None
    first = entries[0] if isinstance(entries, list) and entries else None
    return isinstance(first, dict) and "segments_info" in first


def read_coco(raw: Any) -> Annotated:
    """Drawings by ``file_name``; images without one, as of a single case, are planes of one.

    Raises:
        ImageError: an entry is not as COCO has it.
    """
    try:
        return _read(raw)
    except _WRONG as error:
        raise ImageError(f"this COCO file is not as it should be: {error!r:.100}") from error


def _read(raw: Any) -> Annotated:
    categories = {key: str(each["name"]) for key, each in _by_id(raw, "categories").items()}
    images = _by_id(raw, "images")
    shapes: dict[Any, list[Shape]] = {number: [] for number in images}
    left_out: Counter[str] = Counter()
    for entry in raw["annotations"]:
        number = str(entry["image_id"])
        image = images.get(number)
        name = categories.get(str(entry["category_id"]))
        if image is None or name is None:
            raise ImageError(
                f"annotation {entry.get('id')} of this COCO file is of an image or a category that "
                "the file does not list"
            )
        outlines = _as_lists(entry.get("segmentation"))
        left_out[HOLES] += _within_others(outlines)
        runs = _runs(outlines, int(image["height"]), int(image["width"]))
        if runs is None:
            left_out["boxes without an outline"] += 1
        else:
            shape = Shape(
                name, runs=runs, plane=image.get("slice"), is_crowd=bool(entry.get("iscrowd"))
            )
            shapes[number].append(shape)
    drawings: dict[str, AnnotatedDrawing] = {}
    for number, image in images.items():
        size = (int(image["height"]), int(image["width"]))
        # who marks many objects at once means those that nobody outlined one by one
        shapes[number].sort(key=lambda shape: not shape.is_crowd)
        key = str(image.get("file_name") or "")
        if key in drawings and "slice" in image:
            shapes[number] = [*drawings.pop(key).shapes, *shapes[number]]
        add_drawing(drawings, key, AnnotatedDrawing(tuple(shapes[number]), size), "images")
    in_order = sorted(categories, key=lambda number: (not number.isdecimal(), number.zfill(20)))
    names = tuple(categories[number] for number in in_order)
    return Annotated("COCO", drawings, names, left_out)


def _by_id(raw: Any, what: str) -> dict[str, Any]:
    """Entries by their numbers, which some programs write as text."""
    entries = {str(entry["id"]): entry for entry in raw[what]}
    if len(entries) < len(raw[what]):
        twice = Counter(str(entry["id"]) for entry in raw[what]).most_common(1)[0][0]
        raise ImageError(f"several {what} of this COCO file have the id {twice}")
    return entries


def _as_lists(segmentation: Any) -> Any:
    """Polygons as a list of them, also where a single one is not in a list of its own.

    Run lengths stay what they are, also where a single one is in a list.
    """
    if not isinstance(segmentation, list) or not segmentation:
        return segmentation
    first = segmentation[0]
    if isinstance(first, int | float):
        return [segmentation]
    if isinstance(first, dict) and len(segmentation) == 1:
        return first
    is_pairs = all(isinstance(each, list) and len(each) == 2 for each in segmentation)
    return [segmentation] if is_pairs and isinstance(first[0], int | float) else segmentation


def _within_others(outlines: Any) -> int:
    """How many outlines lie within another one of their annotation, as holes would."""
    if not isinstance(outlines, list) or len(outlines) < 2:
        return 0
    import shapely

    rings = [np.asarray(each, np.float64).reshape(-1) for each in outlines]
    areas = [shapely.Polygon(r.reshape(-1, 2)) for r in rings if len(r) >= 6 and not len(r) % 2]
    sound = [each for each in areas if each.is_valid]
    return sum(
        any(other is not each and other.contains_properly(each) for other in sound)
        for each in sound
    )


def _runs(segmentation: Any, height: int, width: int) -> Runs | None:
    """Of polygons, or of run lengths, compressed or not; None where nothing is outlined."""
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != [height, width]:
            raise ImageError(
                f"run lengths of this COCO file are of {segmentation['size']} pixels, their image "
                f"of {[height, width]}"
            )
        counts = segmentation["counts"]
        if isinstance(counts, list):
            counts = run_lengths.frPyObjects(segmentation, height, width)["counts"]
        counts = counts.encode() if isinstance(counts, str) else bytes(counts)
        lengths = _lengths(counts)
        if lengths is None or lengths.min() < 0 or lengths.sum() != height * width:
            raise ImageError(f"run lengths that do not fill {height} x {width} pixels")
        return Runs((height, width), counts)
    points = [np.asarray(outline, np.float64).reshape(-1) for outline in segmentation]
    outlines = [outline.tolist() for outline in points if len(outline) >= 6]
    if not outlines:
        return None
    _check_points(np.concatenate(points), height, width)
    parts = run_lengths.frPyObjects(outlines, height, width)
    return Runs((height, width), run_lengths.merge(parts)["counts"])


def _lengths(counts: bytes) -> Int64[np.ndarray, " runs"] | None:
    """The runs behind COCO's letters; None where they are none of its own.

    Its own code does not look whether they fill the image, and takes the rest of it from whatever
    the memory held before.
    """
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - ord("0")
    is_last = codes & 0x20 == 0
    if not len(codes) or codes.min() < 0 or codes.max() > 0x3F or not is_last[-1]:
        return None
    starts = np.flatnonzero(np.append(True, is_last[:-1]))
    sizes = np.diff(starts, append=len(codes))
    if sizes.max() > _LETTERS:
        return None
    places = np.arange(len(codes)) - np.repeat(starts, sizes)
    numbers = np.add.reduceat((codes & 0x1F) << 5 * places, starts)
    numbers -= np.where(codes[is_last] & 0x10, 1 << 5 * sizes, 0)
    for first in (1, 2):  # from the fourth on a run is told by what it has more than that before it
        numbers[first::2] = numbers[first::2].cumsum()
    return numbers


def _check_points(numbers: Float[np.ndarray, " n"], height: int, width: int) -> None:
    """Pass where the numbers may be pixels."""
    farthest = FARTHEST * max(height, width)
    if len(numbers) % 2 or not np.isfinite(numbers).all() or np.abs(numbers).max() > farthest:
        raise ImageError(
            f"an outline of this COCO file is no list of x, y, x, y, ... in pixels of its image of "
            f"{height} x {width}"
        )
    if numbers.min() >= 0 and numbers.max() <= 1:
        raise ImageError(
            "points of this COCO file lie between 0 and 1, as shares of an image do; COCO has "
            "pixels: multiply them by width and height"
        )
