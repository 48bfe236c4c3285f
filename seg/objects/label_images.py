"""Label images of objects, in formats that name each of them."""

import colorsys
import io
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from seg.images import ClassInfo, Image, MadeBy, Mask, encode_objects
from seg.images.dicom.write_segmentation import Kind, encode_dicom_objects
from seg.images.grid.codes import type_of
from seg.images.itk.slicer import encode_nrrd_objects
from seg.images.zarr.write_labels import write_label_zarr
from seg.objects.objects import Objects

GOLDEN = 0.6180339887498949
"""Share of the circle of hues between one object and the next, so that those near differ most."""


def on_grid(objects: Objects, image: Image | None) -> Mask:
    """The numbers where the image lies; a NIfTI file keeps the header of its image."""
    return objects.mask if image is None else Mask.on_grid_of(image, objects.labels)


def encode_labels(objects: Objects, suffix: str, image: Image | None = None) -> bytes:
    """The numbers of the objects with 32 bits, 0 for none, as TIFF, NIfTI or NRRD."""
    return encode_objects(on_grid(objects, image), f"objects{suffix}")


def encode_seg_nrrd(objects: Objects, image: Image | None = None) -> bytes:
    """A segmentation of 3D Slicer with a segment for each object."""
    return encode_nrrd_objects(on_grid(objects, image), Segments(objects))


def encode_dicom(
    objects: Objects, image: Image | None, made_by: MadeBy | None, kind: Kind
) -> bytes:
    """A DICOM SEG with a segment for each object.

    Raises:
        ImageError: the image did not come from DICOM.
        UnsupportedImageError: there is no object, or more than it has room for.
    """
    return encode_dicom_objects(on_grid(objects, image), Segments(objects), image, made_by, kind)


def encode_zarr(objects: Objects, image: Image | None = None) -> bytes:
    """An OME-Zarr label image in a ZIP file."""
    buffer = io.BytesIO()
    write_zarr(objects, buffer)
    return buffer.getvalue()


def write_zarr(objects: Objects, target: Path | io.BytesIO) -> None:
    """The same into a file; labels may lie in one too."""
    facts = (
        {"class": objects.name_of(number), **({} if p != p else {"probability": round(p, 4)})}
        for number, p in enumerate(objects.probabilities.tolist(), start=1)
    )
    write_label_zarr(target, objects.labels, Segments(objects), facts, objects.spacing)


class Segments(Sequence[ClassInfo]):
    """For each object its class, called by its number, in a colour of its own.

    Made when they are looked at: of a slide they would take more memory than its pixels.
    """

    def __init__(self, objects: Objects) -> None:
        """Of these objects, object 1 first."""
        self._classes = objects.classes
        self._kinds = {info.index: info for info in objects.kinds}

    def __len__(self) -> int:
        return len(self._classes)

    @overload
    def __getitem__(self, at: int) -> ClassInfo: ...
    @overload
    def __getitem__(self, at: slice) -> list[ClassInfo]: ...
    def __getitem__(self, at: int | slice) -> ClassInfo | list[ClassInfo]:
        places = range(len(self))[at]
        if isinstance(places, range):
            return [self._of(place) for place in places]
        return self._of(places)

    def _of(self, place: int) -> ClassInfo:
        kind, number = self._kinds[int(self._classes[place])], place + 1
        return kind.model_copy(
            update={
                "name": f"{kind.name} {number}",
                "color": color_of(number),
                "type": type_of(kind),
            }
        )


def color_of(number: int) -> tuple[int, int, int]:
    """Red, green and blue of an object, the same for its number in every file."""
    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN % 1, 0.65, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)
