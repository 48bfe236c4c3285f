"""NIfTI, part by part. A gzipped file is inflated into a temporary one. Letters: ``c`` channels."""

import gzip
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import IO, Any

import numpy as np
from jaxtyping import Real

from seg.errors import ImageError
from seg.images.grid.limits import ReadOptions
from seg.images.grid.source import ImageSource
from seg.images.nifti.header import (
    HEADER_BYTES,
    HEADER_ERRORS,
    UNITS,
    Layout,
    layout_of,
    parse_header,
    two_sizes,
    unit_of,
    world_of,
)
from seg.images.nifti.whole import STREAM_ERRORS, read_to_end
from seg.images.storage.files import BinaryFile

COPIED_AT_ONCE = 2**22


@contextmanager
def opened_nifti(file: BinaryFile, options: ReadOptions) -> Iterator[ImageSource]:
    """The image in the file.

    Raises:
        ImageError: as ``read_nifti``.
    """
    zipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    with tempfile.TemporaryFile() as inflated:
        try:
            stream = gzip.GzipFile(fileobj=file) if zipped else file
            header = parse_header(stream.read(HEADER_BYTES))
            layout = layout_of(header, options.dims)
            itemsize = max(layout.dtype.itemsize, layout.decoded.itemsize)
            options.limits.check(layout.shape[-2::-1], layout.shape[-1], itemsize)
            world_of(header, layout.dims)  # what is wrong with it is said before anything is read
            if zipped:
                _inflate(stream, inflated, layout.offset + _voxel_bytes(layout))
        except ImageError:
            raise
        except STREAM_ERRORS as error:
            raise ImageError(
                f"the NIfTI file is damaged or cut short ({error}); send the whole file"
            ) from error
        except HEADER_ERRORS as error:
            raise ImageError(f"the NIfTI header is not valid: {error}; repair it") from error
        yield NiftiSource(inflated if zipped else file, layout, header)


def _voxel_bytes(layout: Layout) -> int:
    return prod(layout.shape) * layout.dtype.itemsize


def _inflate(stream: gzip.GzipFile | BinaryFile, target: IO[bytes], size: int) -> None:
    """No further than the header says, whatever the file holds."""
    stream.seek(0)
    while (left := size - target.tell()) > 0:
        part = stream.read(min(left, COPIED_AT_ONCE))
        if not part:
            break
        target.write(part)
    if isinstance(stream, gzip.GzipFile):
        read_to_end(stream)
    target.flush()


class NiftiSource:
    """An ``ImageSource``."""

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        file: IO[bytes],
        layout: Layout,
        header: Any,
    ) -> None:
        self._file, self._layout = file, layout
        self.spacing, self.affine = world_of(header, layout.dims)
        self.notes = two_sizes(header, layout.dims)
        self.reduction: tuple[float, ...] | None = None
        self.unit, self.nifti = UNITS[unit_of(header)], header.binaryblock
        self.spatial_shape: tuple[int, ...] = layout.shape[-2::-1]
        self.channels = layout.shape[-1]
        if file.seek(0, 2) < layout.offset + _voxel_bytes(layout):
            raise ImageError(
                f"the NIfTI header announces {_voxel_bytes(layout):,} bytes of voxels and the "
                "file holds fewer; send the whole file"
            )

    def read(self, region: tuple[slice, ...]) -> Real[np.ndarray, "c *region"]:
        """The intensities of a region."""
        layout = self._layout
        # mapped anew for each region: a page that stays mapped counts as memory in use
        stored = np.memmap(self._file, layout.dtype, "r", layout.offset, layout.shape, order="F").T[
            (slice(None), *region)
        ]
        return layout.decode(np.array(stored))
