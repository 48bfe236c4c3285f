"""Shapes of many objects at once, in the numbers that scikit-image has for each by itself.

Its ``regionprops`` looks at objects one after another, for half a millisecond each. Letters: ``n``
objects, ``d`` dimensions, ``p`` voxels within objects.
"""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float64, Int64, Integer, UInt32
from scipy import ndimage

from seg.images.storage.file_backed import bands

Columns = dict[str, np.ndarray]

_PERIMETER = np.zeros(50)
"""Length of a border's pixel, by one for itself, two for each side and ten for each corner at which
the border goes on."""
_PERIMETER[[5, 7, 15, 17, 25, 27]] = 1
_PERIMETER[[21, 33]] = np.sqrt(2)
_PERIMETER[[13, 23]] = (1 + np.sqrt(2)) / 2
ROWS = 2**20
"""Voxels whose places are in memory at once."""
_ROUND = 1e-12
"""Relative difference below which two moments are one."""
_POINTS_OF_ROW = np.array([(0, -1, 0), (1, 1, 0), (0, 0, -1), (0, 0, 1), (1, 0, -1), (1, 0, 1)])
"""Which end of a row (0, 1), and how far from its pixel's middle in x and y, in half pixels."""


def shapes_of(
    labels: UInt32[np.ndarray, "*spatial"], spacing: Sequence[float], wanted: Collection[str]
) -> Columns:
    """What ``regionprops_table`` says of objects 1 to n, each of which is there.

    Args:
        labels: numbers of the objects.
        spacing: in which areas and lengths are told.
        wanted: names beside ``area``, ``num_pixels``, ``centroid-*`` (in voxels) and ``bbox-*``.
    """
    boxes = _boxes(labels)
    corner = boxes[:, : labels.ndim].astype(float)
    sizes, sums, squares = _sums(labels, corner)
    means = sums / sizes[:, None]
    found: Columns = {"area": sizes * float(np.prod(spacing)), "num_pixels": sizes}
    found |= {f"centroid-{axis}": each for axis, each in enumerate((corner + means).T)}
    found |= {f"bbox-{number}": edge for number, edge in enumerate(boxes.T)}
    moments = squares / sizes[:, None, None] - means[:, :, None] * means[:, None, :]
    found |= _ellipses(moments * np.multiply.outer(spacing, spacing))
    if "perimeter" in wanted:
        found["perimeter"] = _perimeters(labels, len(sizes)) * spacing[0]
    if "solidity" in wanted:
        found["solidity"] = sizes / _hull_sizes(labels, len(sizes))
    basis = ("area", "num_pixels", "centroid", "bbox")
    return {
        name: values for name, values in found.items() if name.startswith(basis) or name in wanted
    }


def _boxes(labels: UInt32[np.ndarray, "*spatial"]) -> Int64[np.ndarray, "n edges"]:
    """First voxel along each axis, then one behind the last."""
    boxes = ndimage.find_objects(labels.astype(np.int32))
    return np.array(
        [[s.start for s in box] + [s.stop for s in box] for box in boxes], np.int64
    ).reshape(-1, 2 * labels.ndim)


def _sums(
    labels: UInt32[np.ndarray, "*spatial"], corner: Float64[np.ndarray, "n d"]
) -> tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, "n d"], Float64[np.ndarray, "n d d"]]:
    """Of each object: its voxels, and sums of their places and of the products of these.

    Places are told from the corner of its box, as sums of large numbers lose their last digits.
    """
    count, dims = corner.shape
    sizes = np.zeros(count, np.int64)
    sums, squares = np.zeros((count, dims)), np.zeros((count, dims, dims))
    for rows in bands(ROWS, labels):
        part = labels[rows]
        places = np.nonzero(part)
        numbers = part[places].astype(np.int64) - 1
        sizes += np.bincount(numbers, minlength=count)
        start = (rows.start,) + (0,) * (dims - 1)
        within = [
            place + first - corner[numbers, axis]
            for axis, (place, first) in enumerate(zip(places, start, strict=True))
        ]
        for a, one in enumerate(within):
            sums[:, a] += np.bincount(numbers, one, count)
            for b, other in enumerate(within[: a + 1]):
                squares[:, a, b] += np.bincount(numbers, one * other, count)
    lower = np.tril(squares, -1)
    return sizes, sums, squares + np.swapaxes(lower, 1, 2)


def _ellipses(moments: Float64[np.ndarray, "n d d"]) -> Columns:
    """Of the ellipse, or ellipsoid, with the same moments."""
    dims = moments.shape[1]
    traces = np.trace(moments, axis1=1, axis2=2)
    inertia = traces[:, None, None] * np.eye(dims) - moments
    own = np.maximum(np.linalg.eigvalsh(inertia), 0)[:, ::-1]
    if dims == 3:
        first, second, third = own.T
        return {
            "axis_major_length": np.sqrt(np.maximum(0, 10 * (first + second - third))),
            "axis_minor_length": np.sqrt(np.maximum(0, 10 * (second + third - first))),
        }
    longest, shortest = own.T
    share = np.divide(shortest, longest, out=np.ones_like(longest), where=longest > 0)
    a, b, c = inertia[:, 0, 0], inertia[:, 0, 1], inertia[:, 1, 1]
    is_even = np.abs(a - c) <= _ROUND * (a + c)
    diagonal = np.where(b < -_ROUND * (a + c), np.pi / 4, -np.pi / 4)
    return {
        "eccentricity": np.sqrt(1 - share),
        "orientation": np.where(is_even, diagonal, 0.5 * np.arctan2(-2 * b, c - a)),
        "axis_major_length": 4 * np.sqrt(longest),
        "axis_minor_length": 4 * np.sqrt(shortest),
    }


def _perimeters(labels: UInt32[np.ndarray, "y x"], count: int) -> Float64[np.ndarray, " n"]:
    """Lengths of lines through the middles of the pixels at each object's edge, in pixels.

    Source: Benkrid & Crookes, Design and FPGA Implementation of a Perimeter Estimator, Irish
    Machine Vision and Image Processing Conference (2000).
    """
    padded = np.pad(labels, 1)
    flat = padded.reshape(-1)
    width = padded.shape[1]
    sides = np.array([-width, -1, 1, width])
    corners = np.array([-width - 1, -width + 1, width - 1, width + 1])
    inner = padded[1:-1, 1:-1]
    near = (padded[:-2, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:], padded[2:, 1:-1])
    is_border = np.pad((inner > 0) & np.any([each != inner for each in near], axis=0), 1)
    border = np.flatnonzero(is_border)
    edges = np.zeros_like(flat)
    edges[border] = flat[border]
    kind = np.ones(len(border), np.int64)
    for steps, worth in ((sides, 2), (corners, 10)):
        for step in steps:
            kind += worth * (edges[border + step] == edges[border])
    lengths = np.bincount(flat[border], _PERIMETER[kind], minlength=count + 1)
    return np.asarray(lengths[1:], np.float64)


def _hull_sizes(labels: UInt32[np.ndarray, "y x"], count: int) -> Int64[np.ndarray, " n"]:
    """Pixels whose middles lie in the convex hull of the middles of each object's pixels' sides.

    In whole numbers of half pixels, so that no rounding decides.
    """
    import shapely

    numbers, rows, ends = _rows_of_objects(labels)
    points = np.stack(
        [
            np.stack([2 * ends[:, end] + right, 2 * rows + down], axis=1)
            for end, right, down in _POINTS_OF_ROW
        ],
        axis=1,
    )
    of_object = np.repeat(numbers, len(_POINTS_OF_ROW))
    # lines, as they are made in a tenth of the time of as many points
    lines = shapely.linestrings(points.reshape(-1, 2).astype(float), indices=of_object)
    corners, of_hull = shapely.get_coordinates(shapely.convex_hull(lines), return_index=True)
    corners = corners.astype(np.int64)
    is_edge = (of_hull[1:] == of_hull[:-1]) & (corners[1:, 1] != corners[:-1, 1])
    start, stop, hulls = corners[:-1][is_edge], corners[1:][is_edge], of_hull[1:][is_edge]
    top, low = np.sort([start[:, 1], stop[:, 1]], axis=0)
    first = -(-top // 2)
    spans = low // 2 - first + 1
    edge = np.repeat(np.arange(len(spans)), spans)
    row = first[edge] + _counted(spans)
    rise = (stop - start)[edge, 1]
    across = start[edge, 0] * rise + (stop - start)[edge, 0] * (2 * row - start[edge, 1])
    across, over = across * np.sign(rise), 2 * np.abs(rise)
    order = np.lexsort((row, hulls[edge]))
    hull, row = hulls[edge][order], row[order]
    groups = np.flatnonzero(np.append(True, (np.diff(hull) != 0) | (np.diff(row) != 0)))
    left = np.minimum.reduceat(-(-across // over)[order], groups)
    right = np.maximum.reduceat((across // over)[order], groups)
    pixels = np.bincount(hull[groups], right - left + 1, minlength=count)
    return np.asarray(pixels, np.int64)


def _counted(spans: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " m"]:
    """0 to each span, one after another."""
    ends = np.cumsum(spans)
    return np.asarray(np.arange(int(spans.sum())) - np.repeat(ends - spans, spans), np.int64)


def _rows_of_objects(
    labels: Integer[np.ndarray, "y x"],
) -> tuple[Int64[np.ndarray, " r"], Int64[np.ndarray, " r"], Int64[np.ndarray, "r 2"]]:
    """Each row of each object, object after object: number from 0, row, leftmost and rightmost."""
    bordered = np.pad(labels, ((0, 0), (1, 1)))
    differs = bordered[:, 1:] != bordered[:, :-1]
    rows, starts = np.nonzero(differs[:, :-1] & (labels > 0))
    _, stops = np.nonzero(differs[:, 1:] & (labels > 0))
    numbers = labels[rows, starts].astype(np.int64) - 1
    order = np.argsort(numbers, kind="stable")
    numbers, rows, starts, stops = (each[order] for each in (numbers, rows, starts, stops))
    groups = np.flatnonzero(np.append(True, (np.diff(numbers) != 0) | (np.diff(rows) != 0)))
    ends = np.stack(
        [np.minimum.reduceat(starts, groups), np.maximum.reduceat(stops, groups)], axis=1
    )
    return numbers[groups], rows[groups], ends
