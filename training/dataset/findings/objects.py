"""What is odd about numbered objects: each finding says how many, and of which kind."""

from pathlib import Path

import numpy as np
from jaxtyping import Int32, Integer, UInt8

from training.dataset.findings.finding import Finding
from training.dataset.findings.numbering import numbering_findings, pieces_of
from training.dataset.legend import IGNORE

FEW_VOXELS = 10
"""Objects smaller than this are seldom meant."""
THOUSAND = 1000
SHARE_WITHOUT_OBJECT = 0.02
"""Of the voxels with a class; less is a rim."""
SHARE_AT_THE_EDGE = 0.5
"""Of the objects; from there on their sizes say little."""


def compacted(
    numbers: Integer[np.ndarray, "*spatial"],
) -> tuple[Integer[np.ndarray, " n"], Int32[np.ndarray, "*spatial"]]:
    """The values that are there with 0 as the first, and the place among them of each voxel's."""
    values, compact = np.unique(numbers, return_inverse=True)
    compact = compact.reshape(numbers.shape).astype(np.int32)
    return (values, compact) if values[0] == 0 else (np.append(0, values), compact + 1)


def object_findings(
    where: Path, numbers: Integer[np.ndarray, "*spatial"], labels: UInt8[np.ndarray, "*spatial"]
) -> list[Finding]:
    """What a colleague would ask about.

    Args:
        where: the file of the numbers.
        numbers: as the file has them.
        labels: classes of the voxels.
    """
    inside = (numbers > 0) & (labels != IGNORE)
    values, compact = compacted(np.where(inside, numbers, 0))
    count = len(values) - 1
    if not count:
        return _without_object(where, compact, labels)
    pieces = pieces_of(compact)
    findings = list(numbering_findings(where, compact, pieces, int(values[-1])))
    in_pieces = 0 if findings else int((np.bincount(pieces[0])[1:] > 1).sum())
    problems = [
        (_without_class(compact, labels), "without a class", "give their voxels a class"),
        (_in_two_classes(compact, labels), "in several classes", "give each object one class"),
        (in_pieces, "in several pieces", "number each piece by itself"),
        (
            int((np.bincount(compact.ravel())[1:] < FEW_VOXELS).sum()),
            f"of fewer than {FEW_VOXELS} voxels",
            "remove them where they are slips of the pen",
        ),
        (_full_rows(compact), "cut straight along many voxels", "look for seams of tiles"),
    ]
    findings += [
        Finding.counted(str(where), number, count, f"objects are {what}", advice)
        for number, what, advice in problems
        if number
    ]
    findings += _without_object(where, compact, labels)
    if len(set(np.unique(labels).tolist()) - {0, IGNORE}) == 1:
        findings += _with_classes_in_them(where, values[1:])
    at_edge = _at_the_edge(compact)
    if count >= FEW_VOXELS and at_edge > SHARE_AT_THE_EDGE * count:
        findings.append(
            Finding.counted(
                str(where),
                at_edge,
                count,
                "objects touch the edge of the image",
                "sizes of these are too small; larger images have fewer of them",
            )
        )
    return findings


def shapes_that_join(
    numbers: Integer[np.ndarray, "*spatial"], labels: UInt8[np.ndarray, "*spatial"]
) -> tuple[int, int]:
    """How many objects touch another one of their class, and how many there are."""
    inside = np.where((labels > 0) & (labels != IGNORE), numbers, 0)
    touching: set[int] = set()
    for axis in range(numbers.ndim):
        along, of_class = np.moveaxis(inside, axis, 0), np.moveaxis(labels, axis, 0)
        here, there = along[:-1], along[1:]
        meet = (here != there) & (here > 0) & (there > 0) & (of_class[:-1] == of_class[1:])
        touching |= {*here[meet].tolist(), *there[meet].tolist()}
    return len(touching), len(np.unique(inside[inside > 0]))


def _without_class(
    numbers: Integer[np.ndarray, "*spatial"], labels: UInt8[np.ndarray, "*spatial"]
) -> int:
    return len(np.unique(numbers[(numbers > 0) & (labels == 0)]))


def _in_two_classes(
    numbers: Integer[np.ndarray, "*spatial"], labels: UInt8[np.ndarray, "*spatial"]
) -> int:
    inside = (numbers > 0) & (labels > 0)
    pairs = np.unique(numbers[inside].astype(np.int64) * (IGNORE + 1) + labels[inside])
    return int((np.unique(pairs // (IGNORE + 1), return_counts=True)[1] > 1).sum())


def _without_object(
    where: Path, numbers: Integer[np.ndarray, "*spatial"], labels: UInt8[np.ndarray, "*spatial"]
) -> list[Finding]:
    """Where a class is and no object: what is found there counts as wrong."""
    of_class = (labels > 0) & (labels != IGNORE)
    share = float((numbers[of_class] == 0).mean()) if of_class.any() else 0.0
    if share < SHARE_WITHOUT_OBJECT:
        return []
    problem = f"{share:.0%} of what has a class belongs to no object"
    advice = "number the objects there, or mark it as ignored"
    return [Finding("warning", str(where), problem, advice)]


def _with_classes_in_them(where: Path, values: Integer[np.ndarray, " n"]) -> list[Finding]:
    """Numbers such as 1001, 1002, 2001, in which the thousands are the class (Cityscapes)."""
    values = values.astype(np.int64)
    thousands, first = np.unique(values // THOUSAND, return_index=True)
    if len(thousands) < 2 or thousands[0] == 0 or (values[first] % THOUSAND > 1).any():
        return []
    named = " and ".join(map(str, values[first[:2]].tolist()))
    problem = (
        f"the numbers begin anew in each thousand, with {named}, as where these are the class of "
        "an object; all of them are taken for one class"
    )
    advice = "put masks of classes into classes/, or name a table by objects"
    return [Finding("warning", str(where), problem, advice)]


SEAM_VOXELS = 12
"""Two objects that meet along a straight line of so many voxels were one before it was cut."""


def _full_rows(numbers: Integer[np.ndarray, "*spatial"]) -> int:
    """Objects that share a straight border which runs through several pairs of them."""
    cut: set[int] = set()
    for axis in (-2, -1):
        along = np.moveaxis(numbers, axis, 0)
        here, there = along[:-1], along[1:]
        meet = (here != there) & (here > 0) & (there > 0)
        for row in np.flatnonzero(meet.reshape(len(meet), -1).sum(axis=1) >= 2 * SEAM_VOXELS):
            pairs, lengths = np.unique(
                np.stack([here[row][meet[row]], there[row][meet[row]]], axis=1),
                axis=0,
                return_counts=True,
            )
            straight = pairs[lengths >= SEAM_VOXELS]
            if len(straight) >= 2:  # one pair may well meet in a line, a row of pairs does not
                cut |= set(straight.ravel().tolist())
    return len(cut)


def _at_the_edge(numbers: Integer[np.ndarray, "*spatial"]) -> int:
    found: set[int] = set()
    flat_axes = range(max(0, numbers.ndim - 2), numbers.ndim)  # few slices are no edge
    for axis in flat_axes:
        along = np.moveaxis(numbers, axis, 0)
        found |= set(np.unique(along[[0, -1]]).tolist())
    return len(found - {0})
