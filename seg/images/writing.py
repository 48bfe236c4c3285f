"""From ``Mask`` and ``Image`` to files: the one registry of output formats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from seg.errors import ImageError, UnsupportedImageError
from seg.files import replace_file
from seg.images.arrays.npy import encode_npy
from seg.images.arrays.npz import encode_npz
from seg.images.dicom.rtstruct import encode_rtstruct
from seg.images.dicom.write_report import encode_dicom_sc, encode_dicom_sr
from seg.images.dicom.write_segmentation import encode_dicom_labelmap, encode_dicom_seg
from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Image, Mask
from seg.images.grid.made_by import MadeBy
from seg.images.itk.slicer import encode_nrrd
from seg.images.itk.write import encode_itk
from seg.images.measures.measurements import encode_measurements
from seg.images.measures.summary import encode_summary
from seg.images.nifti.whole import encode_nifti
from seg.images.outlines.coco import encode_rle
from seg.images.outlines.geojson import encode_geojson
from seg.images.pictures.raster import encode_png
from seg.images.pictures.sheets import encode_overlay
from seg.images.tiff.whole import encode_tiff

Encode = Callable[[Mask, Sequence[ClassInfo], Image | None, MadeBy | None], bytes]


@dataclass(frozen=True, slots=True)
class MaskFormat:
    """A format that a mask can be had in."""

    name: str
    media_type: str
    """Registered where there is one; NIfTI, NPZ, NPY and NRRD have none."""
    suffix: str
    encode: Encode
    dims: tuple[int, ...] = (2, 3)
    """Dimensions of the masks that it can hold."""


MASK_FORMATS: Mapping[str, MaskFormat] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            MaskFormat("png", "image/png", ".png", lambda m, k, *_: encode_png(m, k), dims=(2,)),
            MaskFormat("tiff", "image/tiff", ".tif", lambda m, *_: encode_tiff(m)),
            MaskFormat("nifti", "application/x-nifti", ".nii.gz", lambda m, *_: encode_nifti(m)),
            MaskFormat("npz", "application/x-npz", ".npz", lambda m, *_: encode_npz(m)),
            MaskFormat("npy", "application/x-npy", ".npy", lambda m, *_: encode_npy(m)),
            MaskFormat(
                "nrrd", "application/x-nrrd", ".seg.nrrd", lambda m, k, *_: encode_nrrd(m, k)
            ),
            MaskFormat("dicom-seg", "application/dicom", ".dcm", encode_dicom_seg),
            MaskFormat("dicom-labelmap", "application/dicom", ".dcm", encode_dicom_labelmap),
            MaskFormat("dicom-sr", "application/dicom", ".sr.dcm", encode_dicom_sr),
            MaskFormat("dicom-sc", "application/dicom", ".sc.dcm", encode_dicom_sc),
            MaskFormat("rtstruct", "application/dicom", ".dcm", encode_rtstruct),
            MaskFormat("json", "application/json", ".json", lambda m, k, *_: encode_summary(m, k)),
            MaskFormat("csv", "text/csv", ".csv", lambda m, k, i, _: encode_measurements(m, k, i)),
            MaskFormat(
                "geojson", "application/geo+json", ".geojson", lambda m, k, *_: encode_geojson(m, k)
            ),
            MaskFormat(
                "geojson-mm",
                "application/geo+json",
                ".geojson",
                lambda m, k, *_: encode_geojson(m, k, in_mm=True),
            ),
            MaskFormat(
                "rle", "application/json", ".rle.json", lambda m, k, i, _: encode_rle(m, k, i)
            ),
            MaskFormat("overlay", "image/png", ".png", lambda m, k, i, _: encode_overlay(m, k, i)),
        )
    }
)
"""By name. Letters: ``m`` the mask, ``k`` its classes, ``i`` the image. Of formats with one media
type the first is the one that an ``Accept`` header gets."""


def encode_mask(
    mask: Mask,
    format: str,
    classes: Sequence[ClassInfo],
    image: Image | None = None,
    made_by: MadeBy | None = None,
) -> bytes:
    """The mask as a file of one of ``MASK_FORMATS``.

    Args:
        mask: Labels and where they lie.
        format: ``png`` (palette, a pixel's value is its class), ``tiff``, ``nifti`` (gzipped),
            ``npz``, ``npy`` (labels alone), ``nrrd`` (3D Slicer's segmentation), ``dicom-seg``,
            ``dicom-labelmap`` (the same, smaller where there are many classes), ``dicom-sr``
            (volumes as a report), ``dicom-sc`` (an overlay as an archive's picture), ``rtstruct``
            (contours in DICOM), ``json`` (class sizes), ``csv`` (measurements), ``geojson``
            (polygons in pixels, as QuPath has them), ``geojson-mm``, ``rle`` (COCO run lengths) or
            ``overlay`` (for people).
        classes: Names and colours of all labels in the mask.
        image: What was segmented; an overlay is drawn on it, intensities are measured on it,
            and DICOM objects refer to its headers.
        made_by: what made the mask, for DICOM objects to say.

    Raises:
        UnsupportedImageError: no such format, or it cannot hold this mask.
        ImageError: a label has no class, or the image that the format needs is not there.
    """
    if format not in MASK_FORMATS:
        raise UnsupportedImageError(
            f"masks are written as {', '.join(MASK_FORMATS)}, got {format!r}"
        )
    highest = max((entry.index for entry in classes), default=-1)
    low, high = int(mask.array.min()), int(mask.array.max())
    if low < 0 or high > highest:
        raise ImageError(
            f"the classes go from 0 to {highest}, the mask holds labels {low} to {high}; "
            "name every label's class"
        )
    return MASK_FORMATS[format].encode(mask, classes, image, made_by)


def write_mask(
    path: Path,
    mask: Mask,
    format: str,
    classes: Sequence[ClassInfo],
    image: Image | None = None,
    made_by: MadeBy | None = None,
) -> None:
    """Write the mask whole or not at all.

    Raises:
        ImageError: as ``encode_mask`` does.
    """
    replace_file(path, encode_mask(mask, format, classes, image, made_by))


def encode_objects(objects: Mask, name: str) -> bytes:
    """Numbers of objects with 32 bits, as TIFF, NIfTI or NRRD by the ending of a name.

    Raises:
        UnsupportedImageError: another ending.
    """
    numbers = replace(objects, array=objects.array.astype(np.uint32))
    ending = name.lower()
    if ending.endswith((".tif", ".tiff")):
        return encode_tiff(numbers)
    if ending.endswith((".nii", ".nii.gz")):
        return encode_nifti(numbers, zipped=ending.endswith(".gz"))
    return encode_image(Image.on_grid_of(numbers, numbers.array[np.newaxis]), name)


def write_objects(path: Path, objects: Mask) -> None:
    """Write numbers of objects, whole or not at all.

    Raises:
        UnsupportedImageError: as ``encode_objects`` does.
    """
    replace_file(path, encode_objects(objects, path.name))


def write_image(path: Path, image: Image) -> None:
    """Write a TIFF, NIfTI, NRRD or MetaImage file by its suffix, whole or not at all.

    Raises:
        UnsupportedImageError: as ``encode_image`` does.
    """
    replace_file(path, encode_image(image, path.name))


def encode_image(image: Image, name: str, *, zipped: bool = True) -> bytes:
    """The image as a TIFF, NIfTI, NRRD or MetaImage file, by the ending of a name.

    TIFF (``.tif``, ``.tiff``) keeps the spacing, NIfTI (``.nii``, ``.nii.gz``), NRRD (``.nrrd``)
    and MetaImage (``.mha``) the affine as well. None of them has 16-bit floats, as maps of
    uncertainty are kept in memory: they become 32 bits, the same numbers. An NRRD file is
    compressed where it is ``zipped``.

    Raises:
        UnsupportedImageError: another ending, or a type of numbers that the format lacks.
    """
    ending = name.lower()
    if image.array.dtype == np.float16:
        image = replace(image, array=image.array.astype(np.float32))
    if ending.endswith((".tif", ".tiff")):
        return encode_tiff(image)
    if ending.endswith((".nii", ".nii.gz")):
        return encode_nifti(image, zipped=ending.endswith(".gz"))
    if ending.endswith((".nrrd", ".mha")):
        return encode_itk(image, ending[ending.rindex(".") :], zipped=zipped)
    raise UnsupportedImageError(
        "images are written as .tif, .tiff, .nii, .nii.gz, .nrrd or .mha, "
        f"got {Path(name).suffix or name!r}"
    )
