"""Masks as run lengths: a COCO file, as object detection and its tools have it."""

import json
from collections.abc import Iterator, Sequence

import numpy as np

from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Mask


def encode_rle(mask: Mask, classes: Sequence[ClassInfo]) -> bytes:
    """COCO JSON that ``pycocotools.coco.COCO`` loads: one annotation for each class that is there.

    A volume is as many COCO images as it has slices, numbered from 1, each with its ``slice``.
    Categories are the classes without background; compressed run lengths are column by column.

    Source: Lin et al., Microsoft COCO, ECCV 2014, and its cocoapi.
    """
    planes = mask.array if mask.dims == 3 else mask.array[np.newaxis]
    height, width = planes.shape[1:]
    slices: list[dict[str, int]] = [
        {"slice": z} if mask.dims == 3 else {} for z in range(len(planes))
    ]
    coco = {
        "images": [
            {"id": z + 1, "width": width, "height": height, **where}
            for z, where in enumerate(slices)
        ],
        "categories": [
            {"id": entry.index, "name": entry.name, "color": list(entry.color)}
            for entry in classes
            if entry.index
        ],
        "annotations": [
            {"id": number, **annotation}
            for number, annotation in enumerate(_annotations(planes), start=1)
        ],
    }
    return json.dumps(coco, separators=(",", ":")).encode()


def _annotations(planes: np.ndarray) -> Iterator[dict[str, object]]:
    from pycocotools import mask as coco_mask

    for z, plane in enumerate(planes):
        for index in np.unique(plane[plane > 0]).tolist():
            runs = coco_mask.encode(np.asfortranarray(plane == index, np.uint8))
            yield {
                "image_id": z + 1,
                "category_id": index,
                "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
                "area": int(coco_mask.area(runs)),
                "bbox": coco_mask.toBbox(runs).tolist(),
                "iscrowd": 0,
            }
