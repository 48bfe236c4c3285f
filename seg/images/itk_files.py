"""NRRD and MetaImage, written through SimpleITK, their axes ``(x, y, z)`` in LPS+ mm."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seg.errors import UnsupportedImageError
from seg.images.classes import ClassInfo
from seg.images.image import Image, Mask
from seg.images.world import directions, lps_affine

TYPES = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64",
)  # fmt: skip


def encode_itk(grid: Image | Mask, suffix: str, names: Mapping[str, str] | None = None) -> bytes:
    """An NRRD (``.nrrd``) or MetaImage file (``.mha``), compressed, on the grid's own affine.

    A flat grid with an affine is a volume of one slice; without a position the file says origin 0
    and spacing 1 mm, since ITK has no word for "not known".

    Args:
        grid: What is written; channels become components.
        suffix: Chooses the format.
        names: Further fields of the header, each on one line.

    Raises:
        UnsupportedImageError: the formats have no such voxel type, or no such affine.
    """
    import SimpleITK as sitk  # noqa: N813

    if grid.array.dtype.name not in TYPES:
        raise UnsupportedImageError(
            f"NRRD and MetaImage hold {', '.join(TYPES)}, got {grid.array.dtype}; "
            "convert to float32"
        )
    image = _itk_image(sitk, grid)
    for name, value in (names or {}).items():
        image.SetMetaData(name, " ".join(value.split()))
    with tempfile.TemporaryDirectory() as folder:  # ITK writes to paths only
        path = Path(folder) / f"image{suffix}"
        sitk.WriteImage(image, str(path), useCompression=True)
        return path.read_bytes()


def encode_nrrd(mask: Mask, classes: Sequence[ClassInfo]) -> bytes:
    """A ``.seg.nrrd`` file: a plain NRRD volume whose header names the classes for 3D Slicer.

    Source: 3D Slicer, developer guide, "Segmentation labelmap file format".
    """
    labels = mask.array.astype(np.uint8)
    volume = labels if mask.dims == 3 else labels[np.newaxis]  # Slicer wants three axes
    spacing = mask.spacing and (*(1.0,) * (3 - mask.dims), *mask.spacing)
    extent = " ".join(f"0 {length - 1}" for length in volume.shape[::-1])
    names = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_SourceRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for number, entry in enumerate(entry for entry in classes if entry.index):
        fields = {
            "ID": f"class_{entry.index}",
            "Name": entry.name,
            "Color": " ".join(f"{channel / 255:.6f}" for channel in entry.color),
            "LabelValue": str(entry.index),
            "Layer": "0",
            "Extent": extent,
        }
        names |= {f"Segment{number}_{field}": value for field, value in fields.items()}
    return encode_itk(Mask(volume, spacing=spacing, affine=mask.affine), ".nrrd", names)


def _itk_image(sitk: Any, grid: Image | Mask) -> Any:
    labels = isinstance(grid, Mask)
    array = grid.array[np.newaxis] if labels else grid.array
    flat = grid.dims == 2 and grid.affine is None
    if grid.dims == 2 and not flat:
        array = array[:, np.newaxis]
    pixels = array[0] if len(array) == 1 else np.moveaxis(array, 0, -1)
    image = sitk.GetImageFromArray(np.ascontiguousarray(pixels), isVector=len(array) > 1)
    if flat:
        image.SetSpacing((grid.spacing or (1.0, 1.0))[::-1])
        return image
    affine = lps_affine(grid)
    sizes, turned = directions(affine)
    image.SetSpacing(sizes.tolist())
    image.SetDirection(turned.ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image
