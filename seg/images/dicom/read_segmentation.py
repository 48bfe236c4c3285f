"""DICOM SEG objects as masks, on the grid that they state themselves, through highdicom."""

from typing import Any

import numpy as np

from seg.errors import ImageError, UnsupportedImageError
from seg.images.dicom.file import Dataset, pydicom, translated
from seg.images.grid.image import Image
from seg.images.grid.limits import ReadOptions
from seg.images.grid.world import LPS_TO_RAS
from seg.images.storage.files import BinaryFile

SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of a DICOM SEG and of one whose pixels are segment numbers (label map)."""


def read_segmentation(file: BinaryFile, header: Dataset, options: ReadOptions) -> Image:
    """Segment numbers as an image of one channel; 0 where there is no segment.

    A SEG may leave empty slices out. Those between its first and its last slice come back empty;
    those beyond are not part of its grid.

    Raises:
        ImageError: segments overlap, or the frames make no volume.
        UnsupportedImageError: probabilities in place of a mask.
    """
    _check_header(header, options)
    volume = _volume(file, options)
    with translated():
        array, (z, y, x) = volume.array, volume.spacing
        affine = LPS_TO_RAS @ volume.affine[:, [2, 1, 0, 3]]
    flat = options.dims == 2 or (options.dims is None and len(array) == 1)
    if flat and len(array) > 1:
        raise ImageError(
            f"a 2D mask is needed, the DICOM SEG is a volume of {len(array)} slices; send one slice"
        )
    spacing = (float(z), float(y), float(x))
    return Image(
        array if flat else array[np.newaxis],
        spacing=spacing[1:] if flat else spacing,
        affine=affine,
        headers=(header,),
    )


def _check_header(header: Dataset, options: ReadOptions) -> None:
    with translated():
        if header.get("SegmentationType") == "FRACTIONAL":
            raise UnsupportedImageError(
                "this DICOM SEG holds fractions, not a mask; send a binary one or a label map"
            )
        rows, columns = int(header.Rows), int(header.Columns)
        frames = int(header.get("NumberOfFrames") or 1)
        options.limits.check((1, rows, columns), 1, 2)
        options.limits.check((frames, rows, columns), 1, 1)
        if "TotalPixelMatrixRows" in header:
            raise UnsupportedImageError("a DICOM SEG of a whole slide in tiles is not read")


def _volume(file: BinaryFile, options: ReadOptions) -> Any:
    """The segments as highdicom's volume, whose slices rise along the normal as in a series."""
    pydicom()
    import highdicom

    with translated():
        file.seek(0)
        segmentation = highdicom.seg.segread(file)
        geometry = segmentation.get_volume_geometry(allow_missing_positions=True)
        if geometry is None:
            raise ImageError(
                "the frames of the DICOM SEG do not say where they lie, or make no volume"
            )
        options.limits.check(tuple(geometry.spatial_shape), 1, 2)
    try:
        with translated():
            volume = segmentation.get_volume(combine_segments=True, dtype=np.uint16)
    except ImageError as error:
        if isinstance(error.__cause__, RuntimeError):
            raise ImageError(
                "segments of the DICOM SEG overlap, so they are no mask of one class a voxel"
            ) from error
        raise
    with translated():
        along = np.cross(volume.affine[:3, 2], volume.affine[:3, 1])
        return volume.flip_spatial(0) if volume.affine[:3, 0] @ along < 0 else volume
