"""When two images are the same, or nearly: fingerprints small enough to be kept for all cases.

Letters: ``n``, ``m`` images, ``d`` numbers of a thumbnail.
"""

import hashlib
from itertools import combinations

import numpy as np
from jaxtyping import Float32, Float64, Int, Real

EDGE = {2: 32, 3: 16}
"""Numbers along each axis of a thumbnail, by number of dimensions."""
NEARLY_THE_SAME = 0.98
"""Correlation of thumbnails from which two images are taken for one.

Measured: an image that was made brighter, noisier by 5 % of its range, half as large, or cut by a
pixel reaches 0.994 to 1 (hela, cho, phantom). Of cho, a film of the same cells, the nearest
training frame of a test frame reaches 0.988, of hela 0.957, of regions of scratch-assay 0.13.
"""


DIGITS = 16
"""Of a digest of intensities that tells whether a package was trained on them."""
ROWS = 512
"""Thumbnails that are compared with all others at once: of many cases all pairs fill no memory."""


def most_alike(
    ours: Float32[np.ndarray, "n d"], theirs: Float32[np.ndarray, "m d"], *, signed: bool = True
) -> tuple[Int[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """For each of ours the place of the one of theirs that it is most like, and how much.

    Args:
        ours: thumbnails.
        theirs: thumbnails, at least one.
        signed: where not, dark instead of bright is as much alike.
    """
    places, likeness = [], []
    for first in range(0, len(ours), ROWS):
        found = ours[first : first + ROWS] @ theirs.T
        found = found if signed else np.abs(found)
        places.append(found.argmax(axis=1))
        likeness.append(found.max(axis=1))
    return np.concatenate(places), np.concatenate(likeness)


def alike_pairs(
    ours: Float32[np.ndarray, "n d"], theirs: Float32[np.ndarray, "n d"], *, signed: bool = True
) -> set[tuple[int, int]]:
    """Places of which the first of ours is nearly the same as the second, which lies behind it.

    Args:
        ours: thumbnails.
        theirs: thumbnails of the same images, or of these as they are turned.
        signed: where not, dark instead of bright is as much alike.
    """
    pairs: set[tuple[int, int]] = set()
    for first in range(0, len(ours), ROWS):
        found = ours[first : first + ROWS] @ theirs[first:].T
        found = found if signed else np.abs(found)
        rows, columns = np.nonzero(np.triu(found >= NEARLY_THE_SAME, 1))
        pairs.update(zip((rows + first).tolist(), (columns + first).tolist(), strict=True))
    return pairs


def turned(thumbnails: Float32[np.ndarray, "n d"], dims: int) -> list[Float32[np.ndarray, "n d"]]:
    """The thumbnails mirrored along every axis and, of images, turned by quarters; not as they are.

    A copy that was turned is as much a copy.
    """
    grid = thumbnails.reshape(-1, *(EDGE[dims],) * dims)
    axes = range(1, dims + 1)
    ways = [each for count in range(dims + 1) for each in combinations(axes, count)]
    found = [np.flip(grid, way) for way in ways]
    if dims == 2:
        found += [np.swapaxes(each, 1, 2) for each in found]
    return [each.reshape(thumbnails.shape) for each in found[1:]]


def content_hash(array: Real[np.ndarray, "c *spatial"]) -> str:
    """Hex digest of the intensities, whatever the file's name, format, compression or type."""
    digest = hashlib.sha256(str(array.shape).encode())
    for channel in array:
        for part in channel:  # a volume widened at once would fill the memory
            digest.update(np.ascontiguousarray(part, dtype="<f4").data)
    return digest.hexdigest()


def thumbnail(array: Real[np.ndarray, "c *spatial"]) -> Float32[np.ndarray, " d"]:
    """Local means of the image on a small grid, with mean 0 and length 1; all 0 where it is flat.

    Two thumbnails' product is their correlation, which brightness and contrast do not change.
    """
    blocks, dims = _row_blocks(array.shape[1:]), array.ndim - 1
    sums = np.stack([_sum_of_rows(array, rows) for rows in blocks])
    small = _divided(sums, _edges(array.shape[1], dims), axis=0)
    for axis in range(1, dims):
        size = small.shape[axis]
        edges = _edges(size, dims)
        sums = np.add.reduceat(small, np.minimum(edges[:-1], size - 1), axis=axis)
        small = _divided(sums, edges, axis)
    centred = (small - small.mean()).ravel()
    length = float(np.linalg.norm(centred))
    scale = float(np.abs(small).max())
    is_flat = length <= 1e-9 * max(scale, 1e-30) * len(centred)
    return np.zeros(len(centred), np.float32) if is_flat else (centred / length).astype(np.float32)


def _edges(size: int, dims: int) -> Int[np.ndarray, " edges"]:
    """Where an axis is cut, alike from both ends, so that a mirrored copy has a mirrored thumbnail.

    Where the axis has fewer voxels than the grid, some are taken twice.
    """
    return np.rint(np.linspace(0, size, EDGE[dims] + 1)).astype(int)


def _divided(
    sums: Float64[np.ndarray, "*grid"], edges: Int[np.ndarray, " edges"], axis: int
) -> Float64[np.ndarray, "*grid"]:
    return np.moveaxis(np.moveaxis(sums, axis, -1) / np.maximum(np.diff(edges), 1), -1, axis)


def _row_blocks(shape: tuple[int, ...]) -> list[slice]:
    """Rows that come together along the first axis, so that a volume is widened part by part."""
    edges = _edges(shape[0], len(shape))
    firsts = np.minimum(edges[:-1], shape[0] - 1).tolist()
    lasts = edges[1:].tolist()
    return [slice(a, max(a + 1, b)) for a, b in zip(firsts, lasts, strict=True)]


def _sum_of_rows(
    array: Real[np.ndarray, "c *spatial"], rows: slice
) -> Float64[np.ndarray, "*rest"]:
    part = array[:, rows]
    wide = part.mean(axis=0, dtype=np.float64) if len(part) > 1 else part[0].astype(np.float64)
    if array.dtype.kind == "f":
        wide[~np.isfinite(wide)] = 0.0
    found: np.ndarray = np.add.reduceat(wide, [0], axis=0)[0]
    return found
