"""One of the images that a stack holds: a moment, a slice, a position."""

from collections.abc import Sequence
from dataclasses import dataclass

from seg.errors import ImageError, UnsupportedImageError
from seg.names import FrameAxis

NAMELESS = "QIRP"
"""Letters of axes of pages that nothing names, or that a microscope calls its own way."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Which one."""

    axis: FrameAxis
    number: int
    """From 0."""


def frame_axis(letters: str, shape: Sequence[int], axis: FrameAxis) -> int | None:
    """The place of the axis along which the frames lie; None where all is one frame.

    Raises:
        UnsupportedImageError: one of several axes that nothing names may be meant.
    """
    named = letters.find({"t": "T", "z": "Z", "position": "P"}[axis])
    if named >= 0 and shape[named] > 1:
        return named
    nameless = [at for at, letter in enumerate(letters) if letter in NAMELESS and shape[at] > 1]
    if len(nameless) == 1:
        return nameless[0]
    if named >= 0:
        return named
    if not nameless:
        return None
    lengths = ", ".join(f"{letter} {n}" for letter, n in zip(letters, shape, strict=True))
    raise UnsupportedImageError(
        f"nothing says which axis {axis} is; the file's axes and their lengths are {lengths}"
    )


def frame_index(letters: str, shape: Sequence[int], frame: Frame) -> tuple[slice, ...]:
    """The part of a file's array that is the frame; its axis keeps a length of 1.

    Raises:
        ImageError: the stack ends before, or does not say which axis it is.
    """
    at = frame_axis(letters, shape, frame.axis)
    count = frame_count(shape, at)
    if not 0 <= frame.number < count:
        raise ImageError(f"the stack has {count} frames, there is no number {frame.number}")
    index = [slice(0, n) for n in shape]
    if at is not None:
        index[at] = slice(frame.number, frame.number + 1)
    return tuple(index)


def frame_count(shape: Sequence[int], at: int | None) -> int:
    """How many frames lie along an axis, as ``frame_axis`` tells it."""
    return 1 if at is None else int(shape[at])


def of_frame(
    letters: str, shape: Sequence[int], index: Sequence[slice]
) -> tuple[str, tuple[int, ...]]:
    """Axes and lengths of that part; what it is one of counts as a moment then."""
    lengths = tuple(part.stop - part.start for part in index)
    named = (
        "T" if n != full else letter
        for letter, n, full in zip(letters, lengths, shape, strict=True)
    )
    return "".join(named), lengths
