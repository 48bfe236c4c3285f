"""From bytes to ``Image`` and ``Mask``: the one registry of file formats.

What a file is, its first bytes say; its name and a declared content type are not asked.
"""

import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seg.errors import ImageError, UnsupportedImageError
from seg.images.arrays.npy import MAGIC as NPY_MAGIC
from seg.images.arrays.npy import read_npy
from seg.images.arrays.npz import read_npz
from seg.images.class_numbers import class_numbers
from seg.images.dicom.file import is_dicom
from seg.images.dicom.images import read_dicom, read_series
from seg.images.dicom.series import study_of
from seg.images.elsewhere import known_elsewhere
from seg.images.grid.image import Image, Mask
from seg.images.grid.limits import DEFAULT_LIMITS, Limits, ReadOptions
from seg.images.grid.orientation import turn_onto, turned_image
from seg.images.grid.same_grid import check_grid
from seg.images.itk.metaimage import METAIMAGE_WORDS, read_metaimage
from seg.images.itk.nrrd import read_nrrd
from seg.images.nifti.whole import read_nifti
from seg.images.pictures.raster import read_bmp, read_jpeg, read_png, read_webp
from seg.images.storage.files import BinaryFile, Source, open_binary
from seg.images.storage.folders import (
    ZIP_ERRORS,
    Entry,
    damaged_zip,
    entries_of_folder,
    entries_of_zip,
)
from seg.images.tiff.whole import read_tiff
from seg.images.zarr.names import is_zarr
from seg.images.zarr.ome_zarr import read_zarr_entries, read_zarr_folder, zarr_root
from seg.sentences import Sentence

HEAD_BYTES = 348
"""Enough to tell every format by."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format and how it is told from the others."""

    name: str
    magic: tuple[tuple[int, bytes], ...]
    """Places and what stands there; one of them suffices."""
    read: Callable[[BinaryFile, ReadOptions], Image]
    lossy: bool = False
    """Compression alters values, so class indices do not survive it."""
    also: Callable[[bytes], bool] = lambda head: False
    """What tells the format where no single word does."""

    def begins(self, head: bytes) -> bool:
        """The first bytes of a file are this format's."""
        return self.also(head) or any(head[at : at + len(word)] == word for at, word in self.magic)


def read_zip(file: BinaryFile, options: ReadOptions) -> Image:
    """The one image of an archive: DICOM, OME-Zarr, a file, or the labels of a NumPy archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = entries_of_zip(archive, 2 * options.limits.max_bytes)
            if any(entry.name.endswith(".npy") for entry in entries):
                _check_no_series("NumPy", options)
                return read_npz(file, options)
            if zarr_root([entry.name for entry in entries]) is not None:
                _check_no_series("OME-Zarr", options)
                return read_zarr_entries(entries, options)
            known = _images_among(entries)
            if not known or any(found.name == "DICOM" for _, found in known):
                return read_series(entries, options)
            return _read_only_image(known, len(entries), options)
    except ImageError:
        raise
    except ZIP_ERRORS as error:
        raise damaged_zip(error) from error


def _check_no_series(kind: str, options: ReadOptions) -> None:
    """Who asks for a series and sends another image would take its mask for the series'."""
    if options.series is not None:
        raise ImageError(
            f"a DICOM series is asked for by its UID, this is {kind}; leave series out"
        )


def _images_among(entries: Sequence[Entry]) -> list[tuple[Entry, "FileFormat"]]:
    """Files that begin as an image does, whatever they are called; no archives within archives."""
    found = []
    for entry in entries:
        head = entry.head(HEAD_BYTES)
        known = next((each for each in FORMATS if head and each.begins(head)), None)
        if known is not None and known.name != "ZIP":
            found.append((entry, known))
    return found


def _read_only_image(
    known: Sequence[tuple[Entry, "FileFormat"]], files: int, options: ReadOptions
) -> Image:
    if len(known) > 1:
        raise ImageError(
            f"the ZIP file holds {len(known)} images; send one, or the slices of one DICOM series"
        )
    ((entry, found),) = known
    with entry.open() as member:
        image = read_as(found, member, options)
    left_out = files - 1
    if not left_out:
        return image
    sentence = f"{left_out} {'file' if left_out == 1 else 'files'} left out: no images"
    note = Sentence(sentence, "files_left_out", count=left_out)
    return replace(image, notes=(*image.notes, note))


def read_folder(folder: Path, options: ReadOptions) -> Image:
    """The one image that a folder is: a DICOM series or an OME-Zarr."""
    try:
        if is_zarr(folder):
            return read_zarr_folder(folder, options)
        return read_series(entries_of_folder(folder), options)
    except ImageError as error:
        raise type(error)(f"{folder}: {error}") from error


def series_in(
    source: Source, *, dims: int | None = None, limits: Limits = DEFAULT_LIMITS
) -> tuple[str, ...]:
    """SeriesInstanceUIDs of the volumes in a folder or ZIP file of DICOM; none of anything else.

    Localizers, screenshots and single images beside volumes are no series of their own.

    Raises:
        ImageError: a DICOM file is damaged, or the archive is.
    """
    if isinstance(source, Path) and (source.is_dir() or _is_dicomdir(source)):
        folder = source if source.is_dir() else source.parent
        if is_zarr(folder):
            return ()
        study = study_of(entries_of_folder(folder), labels=False, dims=dims)
        return tuple(each.uid for each in study.series)
    with open_binary(source) as file:
        if format_of(file.read(HEAD_BYTES)).name != "ZIP":
            return ()
        file.seek(0)
        try:
            with zipfile.ZipFile(file) as archive:
                entries = entries_of_zip(archive, 2 * limits.max_bytes)
                if not any(found.name == "DICOM" for _, found in _images_among(entries)):
                    return ()
                study = study_of(entries, labels=False, dims=dims)
        except ImageError:
            raise
        except ZIP_ERRORS as error:
            raise damaged_zip(error) from error
        return tuple(each.uid for each in study.series)


def _is_dicomdir(path: Path) -> bool:
    """The table of contents of a CD, which stands for the folder in which it lies."""
    return path.name.upper() == "DICOMDIR" and path.is_file()


FORMATS = (
    # DICOM first: what stands before its own word may well be the beginning of a TIFF.
    FileFormat("DICOM", (), read_dicom, also=is_dicom),
    FileFormat("PNG", ((0, b"\x89PNG\r\n\x1a\n"),), read_png),
    FileFormat("JPEG", ((0, b"\xff\xd8\xff"),), read_jpeg, lossy=True),
    FileFormat("WebP", ((8, b"WEBP"),), read_webp, lossy=True),
    FileFormat("TIFF", ((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")), read_tiff),
    FileFormat(
        "NIfTI",
        ((0, b"\x1f\x8b"), (344, b"n+1\0"), (344, b"ni1\0"), (4, b"n+2\0"), (4, b"ni2\0")),
        read_nifti,
    ),
    FileFormat("ZIP", ((0, b"PK\x03\x04"), (0, b"PK\x05\x06")), read_zip),
    FileFormat("NRRD", ((0, b"NRRD000"),), read_nrrd),
    FileFormat("MetaImage", tuple((0, word) for word in METAIMAGE_WORDS), read_metaimage),
    FileFormat("BMP", ((0, b"BM"),), read_bmp),
    FileFormat("NumPy", ((0, NPY_MAGIC),), read_npy),
)


def read_image(
    source: Source,
    *,
    dims: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    series: str | None = None,
    coarsest: float | None = None,
) -> Image:
    """An image from a path or from bytes, in the file's own dtype.

    Args:
        source: PNG, JPEG, BMP, WebP, TIFF, NIfTI (also gzipped), NRRD, MetaImage, DICOM or NPY; a
            folder or a ZIP file of a DICOM series or of an OME-Zarr.
        dims: Spatial axes that are needed; settles what a file leaves open. TIFF pages without a
            name are channels for 2 and z for 3, NIfTI of one slice is flat for 2.
        limits: Sizes beyond which the file is not decoded.
        series: SeriesInstanceUID of the one that is wanted where a folder or ZIP file of DICOM
            holds several (``series_in``).
        coarsest: Of an OME-Zarr with several levels of pictures, the coarsest one is read whose
            pixels are no larger than that, in mm; otherwise the full one.

    Raises:
        ImageError: the bytes are not the image they should be; its branches say which way.
    """
    return _read(source, ReadOptions(dims=dims, limits=limits, series=series, coarsest=coarsest))


def read_channels(
    sources: Sequence[Source],
    *,
    dims: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    series: str | None = None,
) -> Image:
    """One image from one file a channel, or from one file with all channels.

    Files that hold the same grid in another voxel order are turned onto the first.

    Raises:
        ImageError: a file cannot be read, or the files do not lie on one grid.
    """
    return joined_channels(
        (read_image(source, dims=dims, limits=limits, series=series) for source in sources), limits
    )


def joined_channels(parts: Iterable[Image], limits: Limits) -> Image:
    """One image from some that hold a channel each; as ``read_channels``."""
    images: list[Image] = []
    for number, part in enumerate(parts):
        image = part
        if images:
            image = turned_image(image, turn_onto(image, images[0]))
        images.append(image)
        check_grid(images[0], image, number)
        channels = sum(each.channels for each in images)
        limits.check(image.spatial_shape, channels, image.array.itemsize)
    if not images:
        raise ImageError("at least one file is needed, got none")
    if len(images) == 1:
        return images[0]
    first = images[0]
    array = np.concatenate([part.array for part in images])
    notes = tuple(dict.fromkeys(note for part in images for note in part.notes))
    return replace(first, array=array, notes=notes)


def read_mask(
    source: Source,
    *,
    dims: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
    image: Image | None = None,
) -> Mask:
    """A mask: one class index a pixel or voxel, as its file has them.

    A palette's numbers are the indices, whatever its colours; one bit is 0 and 1; whole numbers
    kept as float are taken; a grey picture saved as RGB is grey.

    Args:
        source: PNG, BMP, TIFF, NIfTI (also gzipped), NRRD, MetaImage, NPZ, NPY or DICOM SEG; a
            folder or a ZIP file with one DICOM SEG or one OME-Zarr.
        dims: Spatial axes that are needed, as for ``read_image``.
        limits: Sizes beyond which the file is not decoded.
        image: That it was drawn on: the frames of a DICOM SEG, which leaves empty ones out, are
            laid on its slices. Other files say themselves where they lie.

    Raises:
        ImageError: the bytes are no mask, or a DICOM SEG of another image.
    """
    found = _read(source, ReadOptions(dims=dims, limits=limits, labels=True, onto=image))
    return Mask(class_numbers(found.array), spacing=found.spacing, affine=found.affine)


def _read(source: Source, options: ReadOptions) -> Image:
    if not isinstance(source, Path):
        return _read_file(source, options)
    if _is_dicomdir(source):
        return replace(read_folder(source.parent, options), file_name=source.parent.name)
    if source.is_dir():
        return replace(read_folder(source, options), file_name=source.name)
    image = _read_file(source, replace(options, folder=source.parent))
    return replace(image, file_name=source.name)


def _read_file(source: Source, options: ReadOptions) -> Image:
    with open_binary(source) as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        return read_as(format_of(head), file, options)


def read_as(kind: FileFormat, file: BinaryFile, options: ReadOptions) -> Image:
    """The image of a file of that format.

    Raises:
        ImageError: it is damaged, or no mask where one is wanted.
    """
    if options.labels and kind.lossy:
        raise UnsupportedImageError(
            f"a mask cannot be a {kind.name} file, its compression alters class numbers; "
            "save it as PNG, TIFF or NIfTI"
        )
    if kind.name not in ("DICOM", "ZIP"):
        _check_no_series(kind.name, options)
    return kind.read(file, options)


def format_of(head: bytes) -> FileFormat:
    """The format of a file that begins so.

    Raises:
        UnsupportedImageError: none that is read.
    """
    if not head:
        raise ImageError("the file is empty")
    for known in FORMATS:
        if known.begins(head):
            return known
    elsewhere = known_elsewhere(head)
    if elsewhere is not None:
        raise UnsupportedImageError(f"this is {elsewhere}")
    raise UnsupportedImageError(
        "PNG, JPEG, BMP, WebP, TIFF, NIfTI (also gzipped), NRRD, MetaImage, DICOM, a NumPy array "
        "(.npy), or a ZIP file of a DICOM series or an OME-Zarr is needed; the file is none of them"
    )
