"""COCO: polygons or run lengths of all images in one JSON file.

Source: Lin et al., Microsoft COCO, ECCV 2014, and its cocoapi.
"""

from collections import Counter
from typing import Any

from pycocotools import mask as run_lengths

from seg.errors import ImageError
from training.dataset.annotations.annotated import Annotated
from training.dataset.annotations.drawing import AnnotatedDrawing, Runs, Shape


def is_coco(raw: Any) -> bool:
    """The JSON of a file is COCO's."""
    return (
        isinstance(raw, dict)
        and all(isinstance(raw.get(key), list) for key in ("images", "annotations"))
        and "categories" in raw
    )


def read_coco(raw: Any) -> Annotated:
    """Drawings by ``file_name``; images without one, as of a single case, are planes of one.

    Raises:
        ImageError: an entry is not as COCO has it.
    """
    try:
        return _read(raw)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ImageError(f"this COCO file is not as it should be: {error!r:.100}") from error


def _read(raw: Any) -> Annotated:
    categories = {entry["id"]: str(entry["name"]) for entry in raw["categories"]}
    images = {entry["id"]: entry for entry in raw["images"]}
    shapes: dict[Any, list[Shape]] = {number: [] for number in images}
    left_out: Counter[str] = Counter()
    for entry in raw["annotations"]:
        image = images.get(entry["image_id"])
        name = categories.get(entry["category_id"])
        if image is None or name is None:
            raise ImageError(
                f"annotation {entry.get('id')} of this COCO file is of an image or a category that "
                "the file does not list"
            )
        runs = _runs(entry.get("segmentation"), int(image["height"]), int(image["width"]))
        if runs is None:
            left_out["boxes without an outline"] += 1
        else:
            shape = Shape(
                name, runs=runs, plane=image.get("slice"), is_crowd=bool(entry.get("iscrowd"))
            )
            shapes[entry["image_id"]].append(shape)
    drawings: dict[str, AnnotatedDrawing] = {}
    for number, image in images.items():
        size = (int(image["height"]), int(image["width"]))
        key = str(image.get("file_name") or "")
        before = drawings[key].shapes if key in drawings else ()
        drawings[key] = AnnotatedDrawing((*before, *shapes[number]), size)
    names = tuple(categories[number] for number in sorted(categories))
    return Annotated("COCO", drawings, names, left_out)


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
            if sum(counts) != height * width:
                raise ImageError(f"run lengths that do not fill {height} x {width} pixels")
            counts = run_lengths.frPyObjects(segmentation, height, width)["counts"]
        return Runs((height, width), counts.encode() if isinstance(counts, str) else counts)
    outlines = [outline for outline in segmentation if len(outline) >= 6]
    if not outlines:
        return None
    parts = run_lengths.frPyObjects(outlines, height, width)
    return Runs((height, width), run_lengths.merge(parts)["counts"])
