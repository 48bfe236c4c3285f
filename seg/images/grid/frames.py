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


def frame_axis(letters: str, shape: Sequence[int], axis: FrameAxis) -> int:
    """The place of the axis along which the frames lie.

    Raises:
        UnsupportedImageError: there is none.
    """
    named = letters.find({"t": "T", "z": "Z", "position": "P"}[axis])
    if named >= 0 and shape[named] > 1:
        return named
    nameless = [at for at, letter in enumerate(letters) if letter in NAMELESS and shape[at] > 1]
    if len(nameless) == 1:
        return nameless[0]
    if named >= 0:
        return named
    lengths = ", ".join(f"{letter} {n}" for letter, n in zip(letters, shape, strict=True))
    raise UnsupportedImageError(
        f"there is no axis {axis} to take each of; the file's axes and their lengths are {lengths}"
    )


def frame_index(letters: str, shape: Sequence[int], frame: Frame) -> tuple[slice, ...]:
    """The part of a file's array that is the frame; its axis keeps a length of 1.

    Raises:
        ImageError: the stack has no such axis, or ends before.
    """
    at = frame_axis(letters, shape, frame.axis)
    if not 0 <= frame.number < shape[at]:
        raise ImageError(f"the stack has {shape[at]} frames, there is no number {frame.number}")
    index = [slice(0, n) for n in shape]
    index[at] = slice(frame.number, frame.number + 1)
    return tuple(index)


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
