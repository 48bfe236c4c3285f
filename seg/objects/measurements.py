"""What can be measured of each object, by the names that scikit-image has for it."""

from collections.abc import Iterator
from math import isnan

import numpy as np
from jaxtyping import Bool, Int64, UInt32
from scipy import ndimage

from seg.errors import ImageError
from seg.images import Image, ImageSource, Spacing
from seg.images.grid.image import sheared_share
from seg.images.storage.file_backed import let_go
from seg.objects.objects import Objects
from seg.objects.shapes import shapes_of

Cell = str | int | float | bool | None

SHAPES = (
    "perimeter",
    "eccentricity",
    "orientation",
    "axis_major_length",
    "axis_minor_length",
    "solidity",
)
"""Of flat objects; the angle is between the first axis (rows) and the longest, in radians."""
SHAPES_OF_VOLUMES = ("axis_major_length", "axis_minor_length")
"""Of the ellipsoid with the same second moments."""
LET_GO_ROWS = 256
BAND = 2**21
"""Voxels that are measured at once in images that stay in their files."""
DIGITS = 6
"""Of a number, the significant ones that are written."""


def measure_objects(objects: Objects, image: Image | None = None) -> list[dict[str, Cell]]:
    """A row for each object, object 1 first.

    ``area`` is in mm² where the spacing is known and in pixels where not, of a volume in mm³ or
    voxels, and so are lengths, as ``unit`` says; ``num_pixels`` counts. Boxes are in voxels, from
    the first to one behind the last. ``intensity_mean``, ``_std`` and ``_total`` are those of the
    image's channels in the file's own unit. ``neighbors`` are objects that share a side with it.

    Raises:
        ImageError: the image lies on another grid.
    """
    if image is not None and image.spatial_shape != objects.labels.shape:
        raise ImageError(
            f"objects of {objects.labels.shape} cannot be measured on an image of "
            f"{image.spatial_shape}"
        )
    if not len(objects):
        return []
    touches, neighbours = _surroundings(objects)
    return _rows(objects, image, touches[1:], neighbours[1:])


def _rows(
    objects: Objects,
    image: Image | None,
    touches: Bool[np.ndarray, " n"],
    neighbours: Int64[np.ndarray, " n"],
) -> list[dict[str, Cell]]:
    table = _properties(objects)
    table |= _intensities(objects.labels, image, table["num_pixels"]) if image else {}
    unit = "mm" if objects.spacing else "pixel"
    columns = columns_of(objects, image)
    rows: list[dict[str, Cell]] = []
    for at in range(len(objects)):
        probability = float(objects.probabilities[at])
        row: dict[str, Cell] = {
            "label": at + 1,
            "class": objects.name_of(at + 1),
            "probability": None if isnan(probability) else round(probability, 4),
        }
        row |= {name: _cell(values[at]) for name, values in table.items()}
        row |= {"touches_border": bool(touches[at]), "neighbors": int(neighbours[at]), "unit": unit}
        rows.append({name: row[name] for name in columns})
    return rows


def columns_of(objects: Objects, image: ImageSource | None = None) -> list[str]:
    """Names of the columns, also where there is no object."""
    return object_columns(
        objects.dims, image.channels if image else 0, is_square=_is_square(objects.spacing)
    )


def object_columns(dims: int, channels: int, *, is_square: bool = True) -> list[str]:
    """Names of the columns for images of so many channels, whose pixels are square or not."""
    flat = SHAPES if is_square else tuple(name for name in SHAPES if name != "perimeter")
    numbers = range(channels)
    return [
        *("label", "class", "probability", "area", "num_pixels"),
        *(f"centroid-{axis}" for axis in range(dims)),
        *(f"bbox-{number}" for number in range(2 * dims)),
        *(flat if dims == 2 else SHAPES_OF_VOLUMES),
        *(f"intensity_{what}-{c}" for what in ("mean", "std", "total") for c in numbers),
        *("touches_border", "neighbors", "unit"),
    ]


def _is_square(spacing: Spacing | None) -> bool:
    return spacing is None or bool(np.isclose(spacing[-2], spacing[-1], rtol=1e-3))


def _properties(objects: Objects) -> dict[str, np.ndarray]:
    spacing = objects.spacing or (1.0,) * objects.dims
    names = columns_of(objects)
    if "perimeter" in names:  # which wants equal numbers
        spacing = (spacing[0],) * 2
    found = shapes_of(objects.labels, spacing, names)
    found["area"] = found["area"] * sheared_share(objects.mask.steps)
    return found


def _intensities(
    labels: UInt32[np.ndarray, "*spatial"], image: Image, sizes: np.ndarray
) -> dict[str, np.ndarray]:
    flat, count = labels.reshape(-1), len(sizes)
    found: dict[str, np.ndarray] = {}
    totals, deviations = [], []
    for channel in image.array:
        values = channel.reshape(-1).astype(np.float64)
        total = np.bincount(flat, weights=values, minlength=count + 1)[1 : count + 1]
        mean = total / sizes
        squares = (values - np.append(0, mean)[flat]) ** 2
        variance = np.bincount(flat, weights=squares, minlength=count + 1)[1 : count + 1] / sizes
        totals.append(total)
        deviations.append(np.sqrt(variance))
    for what, arrays in (
        ("mean", [total / sizes for total in totals]),
        ("std", deviations),
        ("total", totals),
    ):
        found |= {f"intensity_{what}-{c}": array for c, array in enumerate(arrays)}
    return found


def _cut_by_region(objects: Objects, start: int, stop: int) -> UInt32[np.ndarray, " n"]:
    """Numbers of objects in some rows with a pixel beside one that was not asked about."""
    labels = objects.labels
    if objects.region is None:
        return np.zeros(0, np.uint32)
    first, last = max(0, start - 1), min(len(labels), stop + 1)
    outside = ~objects.region.rows(first, last, labels.shape[1])
    beside = ndimage.binary_dilation(outside)[start - first : stop - first]
    return np.unique(np.asarray(labels[start:stop])[beside])


def _sides(labels: UInt32[np.ndarray, "*spatial"], axis: int) -> Int64[np.ndarray, "pairs 2"]:
    along = np.moveaxis(labels, axis, 0)
    here, there = along[:-1], along[1:]
    meet = (here != there) & (here > 0) & (there > 0)
    pairs = np.stack([here[meet], there[meet]], axis=1).astype(np.int64)
    return np.unique(np.sort(pairs, axis=1), axis=0)


def _cell(value: object) -> Cell:
    number = value.item() if isinstance(value, np.generic) else value
    if isinstance(number, float):
        if isnan(number):  # as the axis of a single row of voxels
            return None
        return float(f"{number:.{DIGITS}g}")
    assert isinstance(number, int)
    return number


def measure_in_bands(objects: Objects, source: ImageSource | None) -> Iterator[dict[str, Cell]]:
    """The rows of ``measure_objects``, a band of the image in memory at a time.

    Each object is measured in the band in which it begins, with as many rows more as it needs; of
    an image that was turned for its network, objects do not begin in the order of their numbers.
    """
    labels, count = objects.labels, len(objects)
    boxes = _boxes_in_bands(labels, count)
    touches, neighbours = _surroundings(objects)
    height = _band_rows(labels)
    for start in range(0, len(labels), height):
        own = np.flatnonzero((boxes[:, 0] >= start) & (boxes[:, 0] < start + height)) + 1
        if not len(own):
            continue
        stop = int(boxes[own - 1, 1].max())
        new = np.zeros(count + 1, np.uint32)
        new[own] = np.arange(1, len(own) + 1)
        band = (slice(start, stop), *(slice(0, n) for n in labels.shape[1:]))
        part = Objects(
            labels=new[np.asarray(labels[band])],
            classes=objects.classes[own - 1],
            probabilities=objects.probabilities[own - 1],
            kinds=objects.kinds,
            spacing=objects.spacing,
            affine=objects.affine,  # a shear makes voxels smaller
        )
        image = Image(source.read(band)) if source else None
        rows = _rows(part, image, touches[own], neighbours[own])
        for number, row in zip(own.tolist(), rows, strict=True):
            row["label"] = number
            for name in ("centroid-0", "bbox-0", f"bbox-{objects.dims}"):
                value = row[name]
                assert isinstance(value, int | float)
                row[name] = value + start
            yield row
        let_go(labels)


def _band_rows(labels: UInt32[np.ndarray, "*spatial"]) -> int:
    return max(1, BAND // max(1, int(labels[0].size)))


def _boxes_in_bands(labels: UInt32[np.ndarray, "*spatial"], count: int) -> Int64[np.ndarray, "n 2"]:
    """First row of each object, and one behind its last."""
    ends = np.zeros((count, 2), np.int64)
    ends[:, 0] = len(labels)
    for row in range(len(labels)):
        there = np.unique(labels[row])
        there = there[there > 0].astype(np.int64) - 1
        ends[there, 0] = np.minimum(ends[there, 0], row)
        ends[there, 1] = row + 1
        if row % LET_GO_ROWS == 0:
            let_go(labels)
    return ends


def _surroundings(
    objects: Objects,
) -> tuple[Bool[np.ndarray, " numbers"], Int64[np.ndarray, " numbers"]]:
    """By number from 0: whether an object touches the border, and how many others it touches."""
    labels, count = objects.labels, len(objects)
    touches = np.zeros(count + 1, bool)
    height = _band_rows(labels)
    pairs = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(labels), height):
        band = np.asarray(labels[start : start + height + 1])
        pairs += [_sides(band, axis) for axis in range(labels.ndim)]
        for axis in range(1, labels.ndim):
            along = np.moveaxis(band, axis, 0)
            touches[np.unique(along[[0, -1]])] = True
        touches[_cut_by_region(objects, start, min(start + height, len(labels)))] = True
        let_go(labels)
    touches[np.unique(labels[0])] = touches[np.unique(labels[-1])] = True
    both = np.unique(np.concatenate(pairs), axis=0)
    return touches, np.bincount(both.reshape(-1), minlength=count + 1)
