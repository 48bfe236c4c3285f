"""Which way the axes of an array run in the world, and arrays turned to run another way.

Axis codes are nibabel's and go in the order (x, y, z): ``RAS`` says that x runs to the patient's
right, y to the front and z to the head. To turn an array is to let its axes change places and run
backwards: no voxel changes, and the way back is exact. Letters: ``c`` channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Real, Shaped

from seg.images.grid.image import Affine, Image, Mask, Spacing
from seg.images.grid.source import ImageSource

WORLD = ("LR", "PA", "IS")
"""Letters of the world's axes, towards minus and towards plus in RAS+ mm."""
SURELY_NEARER = 1e-5
"""Sums of cosines that differ by less fit equally well: a volume that is turned by 45 degrees."""

_Number = TypeVar("_Number")


def axis_codes(grid: ImageSource | Mask) -> str | None:
    """The world's axes that are nearest to x, y and z, one letter each; None without an affine."""
    if grid.affine is None:
        return None
    return codes_of(grid.affine, len(grid.spatial_shape))


def codes_of(affine: Affine, dims: int) -> str | None:
    """The axis codes of an affine; None where it maps some axes onto one line.

    The nearest axes are those of the rotation that is left when scale and shear are taken out, as
    nibabel has it. They do not depend on the order in which the axes are stored, even where a
    volume lies between two axes.
    """
    steps = affine[:3, :dims]
    lengths = np.linalg.norm(steps, axis=0)
    if not lengths.all():
        return None
    outer, sizes, inner = np.linalg.svd(steps / lengths, full_matrices=False)
    if sizes.min() < SURELY_NEARER:
        return None
    cosines = np.round(outer @ inner, 6)
    choices = list(permutations(range(3), dims))
    fits = [sum(abs(cosines[world, axis]) for axis, world in enumerate(c)) for c in choices]
    near = [c for c, fit in zip(choices, fits, strict=True) if fit > max(fits) - SURELY_NEARER]
    chosen = max(near, key=lambda choice: _frame(cosines, choice))
    return "".join(WORLD[world][int(cosines[world, axis] > 0)] for axis, world in enumerate(chosen))


def _frame(cosines: np.ndarray, choice: Sequence[int]) -> tuple[float, ...]:
    """The directions of the world's axes that a choice names, towards plus."""
    columns = {world: cosines[:, axis] * np.sign(cosines[world, axis] or 1)
               for axis, world in enumerate(choice)}  # fmt: skip
    return tuple(float(value) for world in sorted(columns) for value in columns[world])


def are_axis_codes(text: str, dims: int) -> bool:
    """Whether a text names each of ``dims`` axes of the world once."""
    axes = [next((n for n, ends in enumerate(WORLD) if letter in ends), None) for letter in text]
    return len(axes) == dims and None not in axes and len(set(axes)) == dims


def left_right_axis(orientation: str) -> int | None:
    """The axis of an array ``(z, y, x)`` that runs between left and right; None where none does."""
    for place, letter in enumerate(reversed(orientation)):
        if letter in WORLD[0]:
            return place
    return None


@dataclass(frozen=True, slots=True)
class Turn:
    """How an array's spatial axes change places and directions."""

    axes: tuple[int, ...]
    """For each axis of the turned array, the axis of the stored one that it is."""
    flips: tuple[bool, ...]
    """For each axis of the turned array, whether it runs the other way."""

    @property
    def is_nothing(self) -> bool:
        """Everything stays where it is."""
        return self.axes == tuple(range(len(self.axes))) and not any(self.flips)

    @property
    def keeps_rows(self) -> bool:
        """The first axis stays the first, and runs the same way."""
        return self.axes[0] == 0 and not self.flips[0]

    def there(self, array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """A stored array, turned; axes before the spatial ones stay."""
        before = array.ndim - len(self.axes)
        turned = array.transpose(*range(before), *(before + axis for axis in self.axes))
        return np.flip(turned, self._flipped(before))

    def back(self, array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
        """A turned array as it is stored."""
        before = array.ndim - len(self.axes)
        places = sorted(range(len(self.axes)), key=lambda place: self.axes[place])
        flipped = np.flip(array, self._flipped(before))
        return flipped.transpose(*range(before), *(before + place for place in places))

    def numbers(self, stored: Sequence[_Number]) -> tuple[_Number, ...]:
        """One number an axis, in the order of the turned array."""
        return tuple(stored[axis] for axis in self.axes)

    def region(self, turned: Sequence[slice], shape: Sequence[int]) -> tuple[slice, ...]:
        """Where a region of the turned array lies in the stored one, which has ``shape``."""
        stored = [slice(None)] * len(self.axes)
        for part, axis, is_flipped in zip(turned, self.axes, self.flips, strict=True):
            n = shape[axis]
            stored[axis] = slice(n - part.stop, n - part.start) if is_flipped else part
        return tuple(stored)

    def affine(self, stored: Affine, shape: Sequence[int]) -> Affine:
        """That of the turned array, where the stored one has ``shape``."""
        dims = len(self.axes)
        moved = np.eye(4)
        moved[:dims, :dims] = 0
        for place, (axis, is_flipped) in enumerate(zip(self.axes, self.flips, strict=True)):
            row, column = dims - 1 - axis, dims - 1 - place  # x is the last axis of an array
            moved[row, column] = -1 if is_flipped else 1
            moved[row, 3] = shape[axis] - 1 if is_flipped else 0
        turned: Affine = stored @ moved
        return turned

    def _flipped(self, before: int) -> tuple[int, ...]:
        return tuple(before + place for place, flip in enumerate(self.flips) if flip)


def turn_between(stored: str, wanted: str) -> Turn | None:
    """From axis codes to others; None where these are of another plane."""
    axes, flips = [], []
    for letter in reversed(wanted):
        ends = next(each for each in WORLD if letter in each)
        place = next((n for n, other in enumerate(reversed(stored)) if other in ends), None)
        if place is None:
            return None
        axes.append(place)
        flips.append(stored[len(stored) - 1 - place] != letter)
    return Turn(tuple(axes), tuple(flips))


def turn_to(grid: ImageSource | Mask, orientation: str | None) -> Turn:
    """What turns a grid to an orientation.

    Nothing, where no orientation is wanted, or the grid says nothing of its own or lies in another
    plane: a slice cannot be turned out of its plane.
    """
    dims = len(grid.spatial_shape)
    codes = axis_codes(grid) if orientation and len(orientation) == dims else None
    turn = turn_between(codes, orientation) if codes and orientation else None
    return turn or Turn(tuple(range(dims)), (False,) * dims)


def turn_onto(grid: ImageSource | Mask, first: ImageSource | Mask) -> Turn:
    """What turns a grid to the voxel order of another; nothing where one does not say its own."""
    return turn_to(grid, axis_codes(first))


def turned_image(image: Image, turn: Turn) -> Image:
    """The image, turned; what files said of its slices does not come along."""
    if turn.is_nothing:
        return image
    array = np.ascontiguousarray(turn.there(image.array))
    return Image(array, notes=image.notes, **_turned_place(image, turn))


def turned_mask(mask: Mask, turn: Turn) -> Mask:
    """The mask, turned."""
    if turn.is_nothing:
        return mask
    return Mask(np.ascontiguousarray(turn.there(mask.array)), **_turned_place(mask, turn))


def _turned_place(grid: ImageSource | Mask, turn: Turn) -> dict[str, Any]:
    """Where a grid lies once it is turned; a NIfTI header tells of the stored one alone."""
    return {
        "spacing": None if grid.spacing is None else turn.numbers(grid.spacing),
        "affine": None if grid.affine is None else turn.affine(grid.affine, grid.spatial_shape),
        "unit": grid.unit,
        "nifti": None,
        "reduction": None if grid.reduction is None else turn.numbers(grid.reduction),
    }


class TurnedSource:
    """An ``ImageSource`` whose parts are turned when they are read."""

    def __init__(self, source: ImageSource, turn: Turn) -> None:
        self._source, self._turn = source, turn
        self.spatial_shape: tuple[int, ...] = turn.numbers(source.spatial_shape)
        self.channels, self.notes = source.channels, source.notes
        place = _turned_place(source, turn)
        self.spacing: Spacing | None = place["spacing"]
        self.affine: Affine | None = place["affine"]
        self.unit: str = place["unit"]
        self.nifti: bytes | None = place["nifti"]
        self.reduction: tuple[float, ...] | None = place["reduction"]

    def read(self, region: tuple[slice, ...]) -> Real[np.ndarray, "c *region"]:
        """The intensities of a region."""
        stored = self._turn.region(region, self._source.spatial_shape)
        return np.ascontiguousarray(self._turn.there(self._source.read(stored)))


def turned_source(source: ImageSource, turn: Turn) -> ImageSource:
    """The image, turned: as a whole where it is in memory, else part by part."""
    if turn.is_nothing:
        return source
    return turned_image(source, turn) if isinstance(source, Image) else TurnedSource(source, turn)
