"""Arrays that lie in files: memory that was looked at is given back, or it would all add up."""

import mmap
from collections.abc import Iterator

import numpy as np


def let_go(*arrays: np.ndarray) -> None:
    """Unmap the pages of arrays that are mapped from files; their content stays in the files.

    The kernel would do so by itself where memory is short, but not within a container's limit as
    far as others can see: pages that were read count as this process's.
    """
    advice = getattr(mmap, "MADV_DONTNEED", None)
    if advice is None:
        return
    for array in arrays:
        base: object = array
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, mmap.mmap):
            base.madvise(advice)


def bands(voxels: int, *arrays: np.ndarray) -> Iterator[slice]:
    """Rows of arrays of one shape, about so many voxels at a time; each band is let go after."""
    first = arrays[0]
    rows = max(1, voxels // max(1, int(first[0].size)))
    for start in range(0, len(first), rows):
        yield slice(start, start + rows)
        let_go(*arrays)
