"""Images at the resolution that is wished."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from seg.images import ImageSource, open_channels
from seg.images.grid.units import MM
from seg.transforms import at_resolution


@contextmanager
def open_at(paths: Sequence[Path], *, dims: int, mpp: float | None) -> Iterator[ImageSource]:
    """As ``open_channels``, with pixels of that size where one is wished.

    Of a pyramid the coarsest level is read that is fine enough.

    Args:
        paths: of an image, one or one a channel.
        dims: 2 where a size is wished.
        mpp: micrometres a pixel; None takes the file's own.

    Raises:
        ImageError: as ``open_channels``; how large the file's pixels are is not known.
    """
    if mpp is None:
        with open_channels(paths, dims=dims) as source:
            yield source
        return
    mm = mpp * MM["um"]
    with open_channels(paths, dims=dims, coarsest=mm) as source:
        yield at_resolution(source, mm)
