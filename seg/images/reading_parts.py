"""Images that are read part by part. Letters: ``c`` channels."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Real

from seg.errors import ImageError
from seg.images.grid.image import Affine, Spacing
from seg.images.grid.limits import DEFAULT_LIMITS, Limits, ReadOptions
from seg.images.grid.orientation import turn_onto, turned_source
from seg.images.grid.same_grid import check_grid
from seg.images.grid.source import ImageSource
from seg.images.nifti.parts import opened_nifti
from seg.images.reading import HEAD_BYTES, format_of, read_image
from seg.images.storage.files import open_binary
from seg.images.tiff.parts import opened_tiff

STREAMED_LIMITS = Limits(max_pixels=2**36, max_voxels=2**40, max_bytes=2**43)
"""Sizes of images that stay in their files."""


def stays_in_file(path: Path) -> bool:
    """Whether ``open_image`` reads the file part by part.

    Raises:
        ImageError: it cannot be opened.
    """
    if path.is_dir():
        return False
    with open_binary(path) as file:
        return format_of(file.read(HEAD_BYTES)).name in ("TIFF", "NIfTI")


@contextmanager
def open_image(
    path: Path, *, dims: int | None = None, coarsest: float | None = None
) -> Iterator[ImageSource]:
    """An image that stays in its file where the format allows it, for the length of a block.

    TIFF and NIfTI are read part by part; a gzipped NIfTI is inflated into a temporary file. Of
    other formats the image itself is given, within the limits of ``read_image``.

    Args:
        path: of the file or folder.
        dims: as of ``read_image``.
        coarsest: in mm; of a pyramid, the coarsest level is opened whose pixels are no larger.

    Raises:
        ImageError: as ``read_image``.
    """
    if path.is_dir():
        yield read_image(path, dims=dims, coarsest=coarsest)
        return
    options = ReadOptions(dims=dims, limits=STREAMED_LIMITS, coarsest=coarsest)
    with open_binary(path) as file, ExitStack() as stack:
        name = format_of(file.read(HEAD_BYTES)).name
        file.seek(0)
        source: ImageSource | None = None
        if name == "TIFF":
            source = stack.enter_context(opened_tiff(path, file, options))
        elif name == "NIfTI":
            source = stack.enter_context(opened_nifti(file, options))
        yield source or read_image(path, dims=dims, limits=DEFAULT_LIMITS)


@contextmanager
def open_channels(
    paths: Sequence[Path], *, dims: int | None = None, coarsest: float | None = None
) -> Iterator[ImageSource]:
    """One image from one file a channel, or from one file with all channels; as ``open_image``.

    Raises:
        ImageError: a file cannot be read, or the files do not lie on one grid.
    """
    if not paths:
        raise ImageError("at least one file is needed, got none")
    with ExitStack() as stack:
        parts = [
            stack.enter_context(open_image(path, dims=dims, coarsest=coarsest)) for path in paths
        ]
        parts = [turned_source(part, turn_onto(part, parts[0])) for part in parts]
        for number, part in enumerate(parts):
            check_grid(parts[0], part, number)
        yield parts[0] if len(parts) == 1 else _Channels(parts)


class _Channels:
    """Several sources as one."""

    def __init__(self, parts: Sequence[ImageSource]) -> None:
        self._parts = parts
        self.spatial_shape: tuple[int, ...] = parts[0].spatial_shape
        self.spacing: Spacing | None = parts[0].spacing
        self.affine: Affine | None = parts[0].affine
        self.unit, self.nifti = parts[0].unit, parts[0].nifti
        self.reduction: tuple[float, ...] | None = parts[0].reduction
        self.channels = sum(part.channels for part in parts)
        self.notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))

    def read(self, region: tuple[slice, ...]) -> Real[np.ndarray, "c *region"]:
        """The intensities of a region."""
        return np.concatenate([part.read(region) for part in self._parts])
