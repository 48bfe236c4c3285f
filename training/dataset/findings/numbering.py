"""Whether numbers are those of objects, each of which has one number and no other thing has it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Integer
from scipy import ndimage
from skimage.measure import label

from training.dataset.dataset_yaml import CARD
from training.dataset.findings.finding import Finding

SPECK = 0.1
"""Of the largest piece of an object; smaller ones are slips of the pen."""
MOST = 0.5
"""Of the objects; what is true of so many is no slip."""
FEWEST = 3
"""Objects, or slices, that say something of all."""
OTHERS = 0.1
"""Of the voxels that lie on an object; so many belong to another one where objects are dense."""
ENDS = {255: 8, 65535: 16}
"""The highest numbers, by the bits that hold no higher one."""
Pieces = tuple[Integer[np.ndarray, " pieces"], Integer[np.ndarray, " pieces"]]
"""Of each component of an object its number, and how many voxels it has."""


def pieces_of(numbers: Integer[np.ndarray, "*spatial"]) -> Pieces:
    """Components of all objects; corners join, as people draw.

    All at once: thousands of objects that reach over the whole image take no longer than one.
    """
    pieces = label(numbers, background=0, connectivity=numbers.ndim)
    sizes = np.bincount(pieces.ravel())
    owners = np.zeros(len(sizes), np.int64)
    owners[pieces.ravel()] = numbers.ravel()
    return owners[1:], sizes[1:]


def scattered(numbers: Integer[np.ndarray, "*spatial"]) -> tuple[int, int]:
    """Objects of several pieces none of which is a speck beside another, and all objects.

    Args:
        numbers: from 1; those that are not there do not count.
    """
    whole = _large_pieces(pieces_of(numbers))
    return int((whole > 1).sum()), int((whole > 0).sum())


def _large_pieces(pieces: Pieces) -> Integer[np.ndarray, " numbers"]:
    """How many pieces of each number are no specks."""
    owners, sizes = pieces
    largest = np.zeros(int(owners.max(initial=0)) + 1, np.int64)
    np.maximum.at(largest, owners, sizes)
    return np.bincount(owners[sizes >= SPECK * largest[owners]], minlength=len(largest))


def numbering_findings(
    where: Path, numbers: Integer[np.ndarray, "*spatial"], pieces: Pieces, highest: int
) -> Iterator[Finding]:
    """What makes the numbers others than those of objects.

    Args:
        where: the file of the numbers.
        numbers: from 1 on without gaps, in the order of those in the file.
        pieces: of the same.
        highest: number in the file.
    """
    said = _cut_off(pieces, highest) or (
        _outlines(numbers) if numbers.ndim == 2 else _by_slice(numbers)
    )
    if said:
        yield Finding("warning", str(where), *said)
    elif finding := _smoothed(str(where), pieces):
        yield finding


def _smoothed(where: str, pieces: Pieces) -> Finding | None:
    """Between 3 and 9 an interpolation writes 6, which is another object."""
    owners, _ = pieces
    all_pieces = np.bincount(owners)[1:]
    with_crumbs = int((all_pieces > _large_pieces(pieces)[1:]).sum())
    if len(all_pieces) < FEWEST or with_crumbs < MOST * len(all_pieces):
        return None
    return Finding.counted(
        where,
        with_crumbs,
        len(all_pieces),
        "objects have crumbs elsewhere, as at edges of other objects: the numbers seem to have "
        "been interpolated",
        "resize and turn masks of numbers by nearest neighbour",
    )


def _cut_off(pieces: Pieces, highest: int) -> tuple[str, str] | None:
    """A file of 8 bits holds 255 numbers; a 256th object is called 255 or 0 again."""
    whole = _large_pieces(pieces)
    several, count = int((whole > 1).sum()), len(whole) - 1
    is_full = several and (count == highest or several > MOST * count)
    if highest not in ENDS or not (whole[-1] > 1 or is_full):
        return None
    return (
        f"the numbers end at {highest}, the last one that {ENDS[highest]} bits hold, and name "
        "several things: more objects than numbers",
        f"write them with {2 * ENDS[highest]} bits, from where they still are what they were",
    )


def _outlines(numbers: Integer[np.ndarray, "y x"]) -> tuple[str, str] | None:
    """Lines around objects, whose inside is taken for background."""
    inside = numbers > 0
    holes, count = ndimage.label(ndimage.binary_fill_holes(inside) & ~inside)
    if count < MOST * int(numbers.max()) or (holes > 0).sum() < MOST * inside.sum():
        return None
    return (
        f"the mask shows outlines: it encloses {count} holes in {int(numbers.max())} objects, and "
        "what lies in them is taken for background",
        "fill the objects",
    )


def _by_slice(numbers: Integer[np.ndarray, "z y x"]) -> tuple[str, str] | None:
    """Numbers that say nothing of what lies in the next slice."""
    slices = [set(np.unique(each).tolist()) - {0} for each in numbers]
    filled = [at for at, each in enumerate(slices) if each]
    count = int(numbers.max())
    if count >= FEWEST and len(filled) == 1 and len(slices) >= FEWEST:
        return (
            f"all objects lie in slice {filled[0]} of {len(slices)}, and what others show is taken "
            "for background",
            f"number objects through all slices, or mark the others by a value that {CARD} calls "
            "ignore",
        )
    if len(filled) < FEWEST or count < FEWEST:
        return None
    begins_anew = sum(slices[at] == set(range(1, len(slices[at]) + 1)) for at in filled)
    counts = {len(slices[at]) for at in filled}
    is_anew = begins_anew == len(filled) and len(counts) > 1
    here, there = numbers[:-1] > 0, numbers[1:] > 0
    over, same = here & there, numbers[:-1] == numbers[1:]
    is_new_each = over.sum() > MOST * here.sum() and not (over & same).any()
    if is_anew and _changes(numbers):
        problem = "the numbers begin with 1 in every slice, and name other things in the next"
    elif is_new_each:
        problem = f"all {count} objects are one slice thick and lie on each other"
    else:
        return None
    return (
        f"{problem}: the slices seem to be numbered one by one",
        "number objects through the slices, or save each slice as an image of its own",
    )


def _changes(numbers: Integer[np.ndarray, "z y x"]) -> bool:
    """Whether what lies on an object often has another number."""
    over: Bool[np.ndarray, "z y x"] = (numbers[:-1] > 0) & (numbers[1:] > 0)
    pairs = np.stack([numbers[:-1][over], numbers[1:][over]])
    return bool(len(pairs.T)) and bool((pairs[0] != pairs[1]).mean() > OTHERS)
