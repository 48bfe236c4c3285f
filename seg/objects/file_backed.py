"""Arrays that lie in files: memory that was looked at is given back, or it would all add up."""

import mmap

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
