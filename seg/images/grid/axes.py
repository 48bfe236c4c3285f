"""Which axis of a file is which: from axis letters to ``(c, z, y, x)``."""

from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Shaped

from seg.errors import ImageError, UnsupportedImageError

HOW_TO_NAME = "name the axes in the file, as tifffile.imwrite(..., metadata={'axes': 'CZYX'}) does"


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of an array in a file, each told by one letter.

    Letters as tifffile has them: ``X``, ``Y``, ``Z``; ``C`` channels and ``S`` samples (both are
    channels here); ``T`` time; anything else (``Q``, ``I``, ...) is an axis that nothing names.
    """

    letters: str
    """One of ``TCZYX`` an axis of the file; time only with length 1."""
    shape: tuple[int, ...]
    dims: int

    @classmethod
    def of(cls, letters: str, shape: tuple[int, ...], dims: int | None) -> "Axes":
        """The axes as the caller needs them.

        Raises:
            ImageError: the file cannot be read as an image of ``dims`` spatial axes.
            UnsupportedImageError: time, or axes that could mean anything.
        """
        named = _named(letters.replace("S", "C"), shape, dims)
        lengths = dict.fromkeys("TCZ", 1)
        for letter, length in zip(named, shape, strict=True):
            lengths[letter] = max(length, lengths.get(letter, 1))
        if lengths["T"] > 1:
            raise UnsupportedImageError(
                f"one moment is needed, the file holds {lengths['T']}; send its frames one by one"
            )
        if "Y" not in named or "X" not in named:
            raise UnsupportedImageError(f"axes y and x are needed, got {letters}; {HOW_TO_NAME}")
        if dims == 2 and lengths["Z"] > 1:
            raise ImageError(
                f"a 2D image is needed, the file is a volume of {lengths['Z']} slices; "
                "send one slice"
            )
        if dims == 3 and "Z" not in named:
            raise ImageError(
                f"a volume is needed, the file is flat (axes {letters}); "
                f"send a stack, and if it is one, {HOW_TO_NAME}"
            )
        return cls(named, shape, dims or (3 if lengths["Z"] > 1 else 2))

    @property
    def spatial(self) -> tuple[int, ...]:
        """Size along the spatial axes."""
        return tuple(self.shape[self.letters.index(axis)] for axis in "ZYX"[-self.dims :])

    @property
    def channels(self) -> int:
        """Number of channels."""
        return prod(self.shape) // prod(self.spatial)

    def arrange(self, array: Shaped[np.ndarray, "*file"]) -> Shaped[np.ndarray, "c *spatial"]:
        """The file's array as (c, *spatial)."""
        spatial = [self.letters.index(axis) for axis in "ZYX"[-self.dims :]]
        others = [i for i in range(array.ndim) if i not in spatial]
        return array.transpose(*others, *spatial).reshape(self.channels, *self.spatial)


def _named(letters: str, shape: tuple[int, ...], dims: int | None) -> str:
    """The letters, with a name for the axis that has none; an axis of length 1 is like time."""
    name = "C" if dims == 2 else "Z"
    long = [letter for letter, length in zip(letters, shape, strict=True) if length > 1]
    nameless = [letter for letter in long if letter not in "TCZYX"]
    if len(nameless) > 1 or (nameless and name in long) or long.count("C") > 1:
        raise UnsupportedImageError(
            f"axes {letters} of lengths {shape} could mean several things; {HOW_TO_NAME}"
        )
    named = ""
    for letter, length in zip(letters, shape, strict=True):
        if letter not in "TCZYX":
            named += name if length > 1 else "T"
        else:
            named += "T" if nameless and letter == name else letter
    return named
