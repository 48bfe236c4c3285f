"""ImageJ: regions of interest (``.roi``), or a ZIP file of them from the ROI Manager."""

import re
import struct
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from roifile import ROI_TYPE, ImagejRoi
from tifffile import TiffFile, TiffFileError

from seg.errors import ImageError
from seg.images.outlines.drawing import OBJECT, AnnotatedDrawing, Shape, polygon_of_rings
from training.dataset.annotations.annotated import Annotated

MAGIC = b"Iout"
WITH_AREA = (
    ROI_TYPE.POLYGON,
    ROI_TYPE.RECT,
    ROI_TYPE.OVAL,
    ROI_TYPE.FREEHAND,
    ROI_TYPE.TRACED,
)
_MANAGERS = re.compile(r"[\d\s_.-]*")
"""Names that ImageJ gives by itself: slice, row and column."""
_NUMBER = re.compile(r"[\s_.#(-]*\d+\)?$")
_LARGEST_ROI = 1 << 24
_MOST_NAMES = 32
"""More names than this are not classes."""


def is_imagej(path: Path) -> bool:
    """The file is a region, or a ZIP file of regions alone."""
    with path.open("rb") as file:
        head = file.read(4)
    if head == MAGIC:
        return True
    if head[:2] != b"PK":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().endswith(".roi") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def has_overlay(path: Path) -> bool:
    """The file is ImageJ's TIFF, and regions were saved with the image."""
    if not path.name.lower().endswith((".tif", ".tiff")):
        return False
    try:
        with TiffFile(path) as tiff:
            return bool({"Overlays", "ROI"} & (tiff.imagej_metadata or {}).keys())
    except (TiffFileError, OSError, ValueError, struct.error):
        return False  # what is wrong with an image is told where it is read


def read_imagej(path: Path) -> Annotated:
    """The drawing of the one image that the file lies beside.

    A region's class is its group, or its name without a number behind, where somebody gave one.

    Raises:
        ImageError: the file is damaged.
    """
    shapes, left_out = [], Counter[str]()
    try:
        for content in _contents(path):
            roi = ImagejRoi.frombytes(content)
            polygon = None
            if roi.roitype in WITH_AREA:
                polygon = polygon_of_rings(roi.coordinates(multi=True))
            if polygon is None:
                left_out[roi.roitype.name.lower()] += 1
                continue
            if roi.t_position > 1:
                raise ImageError(
                    f"{path}: a region lies at moment {roi.t_position} of a film; save each moment "
                    "as an image of its own, with its own regions"
                )
            shapes.append(
                Shape(
                    _class_of(roi),
                    (polygon,),
                    plane=roi.z_position - 1 if roi.z_position else None,
                    page=roi.position - 1 if roi.position and not roi.z_position else None,
                    is_composite=True,
                )
            )
    except (zipfile.BadZipFile, ValueError, IndexError, struct.error, EOFError) as error:
        raise ImageError(f"{path} is no file of ImageJ's regions: {error}") from error
    if len({shape.label for shape in shapes}) > _MOST_NAMES:
        shapes = [replace(shape, label=OBJECT) for shape in shapes]
    return Annotated("ImageJ", {"": AnnotatedDrawing(tuple(shapes))}, left_out=left_out)


def _contents(path: Path) -> list[bytes]:
    if not zipfile.is_zipfile(path):
        return [path.read_bytes()]
    with zipfile.ZipFile(path) as archive:
        entries = [info for info in archive.infolist() if info.filename.lower().endswith(".roi")]
        if any(info.file_size > _LARGEST_ROI for info in entries):
            raise ImageError(f"{path} holds a region of more than {_LARGEST_ROI >> 20} MiB")
        return [archive.read(info) for info in entries]


def _class_of(roi: ImagejRoi) -> str:
    if roi.group:
        return f"group_{roi.group}"
    name = "" if _MANAGERS.fullmatch(roi.name) else _NUMBER.sub("", roi.name).strip()
    return name or OBJECT
