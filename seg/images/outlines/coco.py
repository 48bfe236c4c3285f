"""Masks as run lengths: a COCO file, as object detection and its tools have it.

Source: Lin et al., Microsoft COCO, ECCV 2014, and its cocoapi.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import IO

import numpy as np
from jaxtyping import Integer

from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Image, Mask
from seg.images.outlines.regions import MaskPart, Runs, regions_of

COMPACT = (",", ":")

EXACT_BITS = 53
"""Of a whole number that every reader of JSON keeps."""

UNNAMED = "image"
"""Name of a file that came as bytes."""


def encode_rle(mask: Mask, classes: Sequence[ClassInfo], image: Image | None = None) -> bytes:
    """COCO JSON that ``pycocotools.coco.COCO`` loads: one annotation for each part of a class.

    A volume is as many COCO images as it has slices, each with its ``slice``. Categories are the
    classes without background; compressed run lengths are column by column. Numbers of images and
    annotations are drawn from the name of the image's file, so that files can be merged.
    """
    name = image.file_name if image is not None and image.file_name else None
    seed = name or sha256(np.ascontiguousarray(mask.array).tobytes()).hexdigest()
    planes = mask.array if mask.dims == 3 else mask.array[np.newaxis]
    shape = (planes.shape[1], planes.shape[2])
    slices = range(len(planes)) if mask.dims == 3 else [None]
    coco = {
        **_head([_image(name or UNNAMED, seed, shape, z) for z in slices], classes),
        "annotations": [
            annotation
            for z, plane in zip(slices, planes, strict=True)
            for annotation in _annotations(regions_of([plane]), seed, shape, z)
        ],
    }
    return json.dumps(coco, separators=COMPACT).encode()


def stream_rle(
    file: IO[bytes],
    bands: Iterable[Integer[np.ndarray, "rows x"]],
    classes: Sequence[ClassInfo],
    shape: tuple[int, int],
    name: str,
) -> None:
    """The same of a picture that comes band by band, an annotation as soon as it is whole."""
    head = json.dumps(_head([_image(name, name, shape, None)], classes), separators=COMPACT)
    file.write(head[:-1].encode() + b',"annotations":[')
    for number, annotation in enumerate(_annotations(regions_of(bands), name, shape, None)):
        file.write((b"," if number else b"") + json.dumps(annotation, separators=COMPACT).encode())
    file.write(b"]}")


def _head(images: Sequence[dict[str, object]], classes: Sequence[ClassInfo]) -> dict[str, object]:
    return {
        "images": images,
        "categories": [
            {"id": entry.index, "name": entry.name, "color": list(entry.color)}
            for entry in classes
            if entry.index
        ],
    }


def _image(name: str, seed: str, shape: tuple[int, int], z: int | None) -> dict[str, object]:
    where = {} if z is None else {"slice": z}
    height, width = shape
    number = _number(seed, z)
    return {"id": number, "file_name": name, "width": width, "height": height, **where}


def _annotations(
    regions: Iterable[MaskPart], seed: str, shape: tuple[int, int], z: int | None
) -> Iterator[dict[str, object]]:
    for number, region in enumerate(regions):
        left, top, right, bottom = region.box
        yield {
            "id": _number(seed, z, number),
            "image_id": _number(seed, z),
            "category_id": region.index,
            "segmentation": {"size": list(shape), "counts": compressed(region.runs, shape)},
            "area": region.area,
            "bbox": [left, top, right - left, bottom - top],
            "iscrowd": 0,
        }


def _number(*what: object) -> int:
    """The same for the same image or part, and another one for any other."""
    digest = sha256(repr(what).encode()).digest()
    return (int.from_bytes(digest[:8]) >> (64 - EXACT_BITS)) or 1


def compressed(runs: Runs, shape: tuple[int, int]) -> str:
    """Run lengths of the whole picture, column by column, from those of a part."""
    from pycocotools import mask as coco_mask

    height, width = shape
    starts, ends = runs[:, 0] * height + runs[:, 1], runs[:, 0] * height + runs[:, 2]
    apart = starts[1:] != ends[:-1]  # a run to the end of a column may go on in the next one
    starts, ends = starts[np.append(True, apart)], ends[np.append(apart, True)]
    edges = np.column_stack([starts, ends]).ravel()
    counts = np.diff(edges, prepend=0, append=height * width).tolist()
    encoded = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    text: str = encoded["counts"].decode()
    return text
