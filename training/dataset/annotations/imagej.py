"""ImageJ: regions of interest (``.roi``), or a ZIP file of them from the ROI Manager."""

import re
import struct
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from roifile import ROI_SUBTYPE, ROI_TYPE, ImagejRoi
from tifffile import TiffFile, TiffFileError

from seg.errors import ImageError
from seg.images.outlines.drawing import (
    OBJECT,
    AnnotatedDrawing,
    Polygon,
    Shape,
    ellipse,
    polygon_of_rings,
    rectangle,
)
from training.dataset.annotations.annotated import Annotated

MAGIC = b"Iout"
WITH_AREA = (
    ROI_TYPE.POLYGON,
    ROI_TYPE.RECT,
    ROI_TYPE.OVAL,
    ROI_TYPE.FREEHAND,
    ROI_TYPE.TRACED,
)
WRITTEN = (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE)
"""What lies on an image as a box, and is no region of it."""
_MANAGERS = re.compile(r"[\d\s_.-]*|[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}", re.IGNORECASE)
"""Names that programs give by themselves: ImageJ slice, row and column, roifile (and with it
cellpose) a number of its own for each."""
_NUMBER = re.compile(r"[\s_.#(-]*\d+\)?$")
_PROPERTY = re.compile(r"^class: *(.*\S)", re.MULTILINE)
"""In which our own files tell the class; older ones have it behind the object's number."""
_OBJECT = re.compile(r"^\d{6,}-(?=.*[^\d\s_.-])")
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

    A region's class is its group, or its name without a number behind, where somebody gave one; of
    what this project wrote it is told by itself.

    Raises:
        ImageError: the file is damaged.
    """
    shapes, left_out = [], Counter[str]()
    try:
        for content in _contents(path):
            roi = ImagejRoi.frombytes(content)
            polygon = None
            if roi.roitype in WITH_AREA and roi.subtype not in WRITTEN:
                polygon = _polygon(roi)
            if polygon is None:
                kind = roi.subtype if roi.subtype in WRITTEN else roi.roitype
                left_out[kind.name.lower()] += 1
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


def _polygon(roi: ImagejRoi) -> Polygon | None:
    """Its rings; boxes and ovals as they were drawn, between pixels too."""
    is_box = roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL) and roi.multi_coordinates is None
    if not is_box:
        return polygon_of_rings(roi.coordinates(multi=True))
    left, top = float(roi.left), float(roi.top)
    width, height = float(roi.right) - left, float(roi.bottom) - top
    if roi.subpixelrect:
        left, top, width, height = roi.xd, roi.yd, roi.widthd, roi.heightd
    if roi.roitype == ROI_TYPE.OVAL:
        return ellipse(left + width / 2, top + height / 2, width / 2, height / 2)
    (corners,) = rectangle(left, top, left + width, top + height)
    return (_rounded(corners, roi.rounded_rect_arc_size),)


def _rounded(corners: Float[np.ndarray, "4 2"], arc: float) -> Float[np.ndarray, "_ 2"]:
    """A box whose corners are quarters of an ellipse, as wide and high as ``arc`` or as the box."""
    if arc <= 0:
        return corners
    radii = np.minimum(np.ptp(corners, axis=0), arc) / 2
    middles = np.clip(corners, corners.min(axis=0) + radii, corners.max(axis=0) - radii)
    steps = np.linspace(0, np.pi / 2, 17)
    turns = [steps + quarter * np.pi / 2 for quarter in (2, 3, 0, 1)]  # from the left to the top on
    parts = [
        middle + radii * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        for middle, turn in zip(middles, turns, strict=True)
    ]
    return np.concatenate(parts)


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
    if told := _PROPERTY.search(roi.props):
        return told[1]
    if _MANAGERS.fullmatch(roi.name):
        return OBJECT
    own = _OBJECT.sub("", roi.name, count=1)
    name = "" if _MANAGERS.fullmatch(own) else _NUMBER.sub("", own).strip()
    return name or OBJECT
