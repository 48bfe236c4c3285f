"""DICOM images: single files, multi-frame files, and series of slices.

Compressed pixels are decoded by Pillow, CharLS and gdcm through pydicom. Letters: ``c`` channels.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seg.errors import ImageError, UnsupportedImageError
from seg.images.dicom.file import Dataset, parse, translated
from seg.images.dicom.geometry import Stack, flat, missing_between, stack
from seg.images.dicom.one_scan import check_one_scan, check_one_volume
from seg.images.dicom.pixels.decoding import decode_into
from seg.images.dicom.pixels.layout import PixelLayout
from seg.images.dicom.pixels.scale import Scale, scales_of, unscaled, value_type
from seg.images.dicom.planes import plane_of, planes_of
from seg.images.dicom.read_segmentation import read_segmentation
from seg.images.dicom.series import FoundSlice, chosen_series, is_segmentation, study_of
from seg.images.grid.image import Image
from seg.images.grid.limits import ReadOptions
from seg.images.storage.files import BinaryFile
from seg.images.storage.folders import Entry

TIME_TAGS = (0x00181063, 0x00181065)
"""Frame Time and Frame Time Vector: frames that follow each other in time."""

FILMS = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{end}"
    for end in ("3", "3.1", "12.1", "12.2", "77.1.1.1", "77.1.2.1", "77.1.4.1")
)
"""SOP classes whose frames are moments, whether they say so or not: ultrasound, angiography and
fluoroscopy by X-ray, and videos of endoscopes, microscopes and cameras."""


@translated()
def read_dicom(file: BinaryFile, options: ReadOptions) -> Image:
    """The image of one file: flat, or a volume where it has several frames.

    Intensities are rescaled (Hounsfield in CT), MONOCHROME1 is turned so that more is brighter
    unless it measures something, colours are RGB.
    """
    header = parse(file, pixels=False)
    if options.labels and is_segmentation(header):
        return read_segmentation(file, header, options)
    if options.series not in (None, header.get("SeriesInstanceUID")):
        raise ImageError("this DICOM file is of another series than the one that is asked for")
    layout = _layout(header, options)
    if layout.frames == 1 and options.dims == 3:
        raise ImageError(
            "a volume is needed, this DICOM file is one slice; send the whole series as a folder "
            "or as a ZIP file"
        )
    if layout.frames > 1 and options.dims == 2:
        raise ImageError(
            f"a 2D image is needed, the DICOM file has {layout.frames} frames; send one of them"
        )
    shape = (layout.frames, layout.rows, layout.columns)
    options.limits.check(shape, layout.channels, 1)  # before each frame is looked at
    grid = _frames(header, layout) if layout.frames > 1 else flat(plane_of(header))
    scales = scales_of(header, layout.frames)
    dtype = value_type(layout, header, scales)
    options.limits.check(shape, layout.channels, dtype.itemsize)
    array = np.empty((layout.channels, *shape), dtype)
    file.seek(0)
    places = np.argsort(grid.order).tolist()
    whole = parse(file, pixels=True, most_pixel_bytes=layout.most_bytes)
    decode_into(array, places, whole, layout, scales)
    return Image(
        array if layout.frames > 1 else array[:, 0],
        spacing=grid.spacing,
        affine=grid.affine,
        headers=(header,),
        notes=unscaled(header),
    )


def read_series(entries: Sequence[Entry], options: ReadOptions) -> Image:
    """The volume of one series, its slices sorted by where they lie.

    Files that are no slices of it (other kinds of files, reports, localizers, screenshots, copies)
    are left out, and the image's notes count them; so are segmentations, and where a mask is
    wanted everything else.

    Raises:
        ImageError: no image, several series of which ``options.series`` names none, slices missing
            or doubled, or of different kinds.
    """
    study = study_of(entries, labels=options.labels, dims=options.dims)
    if options.labels:
        masks = [each for series in study.series for each in series.slices]
        if len(masks) > 1:
            raise ImageError(
                f"one DICOM SEG is needed as a mask, got {len(masks)}; send one of them"
            )
        with masks[0].entry.open() as file:
            return read_dicom(file, options)
    series, notes = chosen_series(study, options.series)
    try:
        volume = _volume(series.slices, options)
        return replace(volume, notes=(*notes, *volume.notes))
    except ImageError as error:
        raise type(error)("; ".join([str(error), *notes])) from error


@translated()
def _volume(slices: Sequence[FoundSlice], options: ReadOptions) -> Image:
    if len(slices) == 1:
        with slices[0].entry.open() as file:
            return read_dicom(file, options)
    if options.dims == 2:
        raise ImageError(
            f"a 2D image is needed, this is a DICOM series of {len(slices)} slices; send one slice"
        )
    headers = [each.header for each in slices]
    check_one_scan(headers)
    layouts = [_layout(header, options) for header in headers]
    _check_alike(layouts)
    grid = stack([plane_of(header) for header in headers])
    scales = [Scale.of(header) for header in headers]
    dtype = np.result_type(
        *(value_type(layout, headers[0], scales) for layout in dict.fromkeys(layouts))
    )
    first = layouts[0]
    shape = (len(slices), first.rows, first.columns)
    options.limits.check(shape, first.channels, dtype.itemsize)
    array = np.empty((first.channels, *shape), dtype)
    for place, index in enumerate(grid.order):
        entry = slices[index].entry
        try:
            with entry.open() as file:
                whole = parse(file, pixels=True, most_pixel_bytes=layouts[index].most_bytes)
            decode_into(array[:, place : place + 1], (0,), whole, layouts[index], (scales[index],))
        except ImageError as error:
            # not the file's name, which may be a patient's
            number = headers[index].get("InstanceNumber")
            known = "" if number is None else f" (InstanceNumber {number})"
            raise type(error)(f"slice {place + 1} of {len(slices)}{known}: {error}") from error
    return Image(
        array,
        spacing=grid.spacing,
        affine=grid.affine,
        headers=tuple(headers[index] for index in grid.order),
        notes=(*missing_between(headers, grid), *unscaled(headers[0])),
    )


def _layout(header: Dataset, options: ReadOptions) -> PixelLayout:
    if is_segmentation(header):
        raise UnsupportedImageError(
            "this DICOM file is a segmentation, which is a mask and no image"
        )
    if "TotalPixelMatrixRows" in header:
        raise UnsupportedImageError(
            "this DICOM file is a whole slide in tiles; convert it to a tiled OME-TIFF"
        )
    if options.labels:
        raise UnsupportedImageError(
            "a mask in DICOM is a segmentation object (DICOM SEG), this file is an image"
        )
    return PixelLayout.of(header)


def _check_alike(layouts: Sequence[PixelLayout]) -> None:
    sizes = Counter((layout.rows, layout.columns) for layout in layouts)
    if len(sizes) > 1:
        told = ", ".join(f"{n} of {rows} x {columns}" for (rows, columns), n in sizes.most_common())
        raise ImageError(f"the DICOM slices differ in size: {told}; send one series")
    if any(layout.frames > 1 for layout in layouts):
        raise ImageError(
            f"{len(layouts)} DICOM files with several frames each are several volumes; send one"
        )
    if len({layout.channels for layout in layouts}) > 1:
        raise ImageError("some DICOM slices are grey and some are in colour; send one kind")


def _frames(header: Dataset, layout: PixelLayout) -> Stack:
    """The grid of a multi-frame file."""
    pointer = header.get("FrameIncrementPointer")
    is_film = pointer in TIME_TAGS or "FrameTime" in header
    if is_film or header.get("SOPClassUID") in FILMS:
        raise UnsupportedImageError(
            f"one moment is needed, the DICOM file holds {layout.frames}; send its frames one by "
            "one"
        )
    check_one_volume(header, layout.frames)
    planes = planes_of(header, layout.frames)
    if any(plane.is_placed for plane in planes):
        return stack(planes)
    plane = planes[0]
    spacing = None
    if plane.pixel is not None and plane.thickness is not None:
        spacing = (plane.thickness, *plane.pixel)
    return Stack(tuple(range(layout.frames)), spacing, None)
