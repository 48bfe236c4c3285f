"""``AnnotatedDrawing``: what somebody drew on one image, and how it becomes labels.

Points are (x, y) in pixels from the outer corner of the first pixel, so that the centre of the
first one is (0.5, 0.5). A pixel belongs to a shape where its centre does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int32, Integer, UInt8
from pycocotools import mask as run_lengths

from seg.errors import ImageError
from seg.images.grid.image import Image

Ring = Float[np.ndarray, "_ 2"]
Polygon = tuple[Ring, ...]
"""An outer ring and its holes; of a shape that ``is_composite`` rings of either kind."""

Number = float | int
"""Of a file in JSON."""

OBJECT = "object"
"""The class of what was drawn without saying what it is."""
_CORNERS_OF_AN_ELLIPSE = 64


@dataclass(frozen=True, eq=False, slots=True)
class Runs:
    """Pixels of a plane as run lengths, as COCO compresses them."""

    size: tuple[int, int]
    """Height and width."""
    counts: bytes

    @classmethod
    def of(cls, pixels: Bool[np.ndarray, "y x"]) -> "Runs":
        """The pixels that are true."""
        found = run_lengths.encode(np.asfortranarray(pixels, np.uint8))
        return cls((int(found["size"][0]), int(found["size"][1])), found["counts"])

    def pixels(self) -> Bool[np.ndarray, "y x"]:
        """True where the runs are.

        Raises:
            ImageError: they do not fill the plane.
        """
        try:
            decoded = run_lengths.decode({"size": list(self.size), "counts": self.counts})
        except (ValueError, TypeError) as error:
            raise ImageError(f"run lengths that do not fill {_size(self.size)} pixels") from error
        found: Bool[np.ndarray, "y x"] = decoded.astype(bool)
        return found


@dataclass(frozen=True, eq=False, slots=True)
class Shape:
    """One thing that was drawn: polygons, or pixels."""

    label: str
    polygons: tuple[Polygon, ...] = ()
    runs: Runs | None = None
    plane: int | None = None
    """Index along z; None in a 2D image."""
    page: int | None = None
    """Index among all pages of the image's file, its channels too, where no plane is known."""
    is_mm: bool = False
    """The points are in mm, not in pixels."""
    group: int | None = None
    """Shapes of one group are one object; None is an object by itself."""
    is_crowd: bool = False
    """Several objects, which nobody outlined one by one."""
    is_composite: bool = False
    """A point is inside a polygon where an odd number of its rings holds it."""


class Drawn(Protocol):
    """What was drawn on one image."""

    @property
    def are_numbered(self) -> bool:
        """Whether the tool draws objects and nothing else, each with a number."""
        ...

    def labels(self) -> set[str]:
        """The names that occur."""
        ...

    def painted(self, image: Image, label_of: Mapping[str, int]) -> UInt8[np.ndarray, "*spatial"]:
        """Labels on the image's grid.

        Raises:
            ImageError: it does not lie on this image.
        """
        ...

    def numbered(self, image: Image) -> Int32[np.ndarray, "*spatial"]:
        """The number of the object in each voxel, 0 where none is.

        Raises:
            ImageError: it does not lie on this image, or does not tell objects apart.
        """
        ...


@dataclass(frozen=True, eq=False, slots=True)
class AnnotatedDrawing:
    """All that was drawn on an image; later shapes lie on earlier ones."""

    shapes: tuple[Shape, ...] = ()
    size: tuple[int, int] | None = None
    """Height and width of the image that was drawn on, where the file says them."""

    @property
    def are_numbered(self) -> bool:
        """Shapes may be objects, or regions."""
        return False

    def labels(self) -> set[str]:
        """The names that occur."""
        return {shape.label for shape in self.shapes}

    def painted(self, image: Image, label_of: Mapping[str, int]) -> UInt8[np.ndarray, "*spatial"]:
        """Labels on the image's grid; 0 where nothing was drawn.

        Raises:
            ImageError: it was drawn on an image of another size.
        """
        labels = np.zeros(image.spatial_shape, np.uint8)
        self._paint(labels, [label_of[shape.label] for shape in self.shapes], image)
        return labels

    def numbered(self, image: Image) -> Int32[np.ndarray, "*spatial"]:
        """An object for each shape or group of shapes, 0 where none is or many are in one shape.

        Raises:
            ImageError: it was drawn on an image of another size, or slice by slice.
        """
        if image.dims == 3 and any(shape.group is None for shape in self.shapes):
            raise ImageError(
                "it was drawn slice by slice, which does not say what is one object in the next "
                "slice; number the objects in a mask of the volume"
            )
        keys = [
            ("shape", index) if shape.group is None else ("group", shape.group)
            for index, shape in enumerate(self.shapes)
        ]
        number_of = {key: number for number, key in enumerate(dict.fromkeys(keys), start=1)}
        numbers = np.zeros(image.spatial_shape, np.int32)
        values = [
            0 if shape.is_crowd else number_of[key]
            for shape, key in zip(self.shapes, keys, strict=True)
        ]
        self._paint(numbers, values, image)
        return numbers

    def ordered(self, image: Image) -> Int32[np.ndarray, "*spatial"]:
        """The number of the shape on top in each voxel, from 1 on; 0 where none is.

        Raises:
            ImageError: it was drawn on an image of another size.
        """
        numbers = np.zeros(image.spatial_shape, np.int32)
        self._paint(numbers, range(1, len(self.shapes) + 1), image)
        return numbers

    def lost(self, image: Image) -> int:
        """How many shapes hold no pixel of the image: they lie beside it, or are too small.

        Raises:
            ImageError: points are in mm, and the image states no spacing.
        """
        return sum(not _holds_a_pixel(shape, image) for shape in self.shapes)

    def hidden(self, image: Image) -> int:
        """How many shapes that hold pixels lie under later ones entirely.

        Raises:
            ImageError: it was drawn on an image of another size.
        """
        on_top = np.unique(self.ordered(image))
        return len(self.shapes) - self.lost(image) - int((on_top > 0).sum())

    def _paint(
        self, array: Integer[np.ndarray, "*spatial"], values: Sequence[int], image: Image
    ) -> None:
        """Give each shape its value, on an array of the image's size."""
        if self.size is not None and self.size != image.spatial_shape[-2:]:
            raise ImageError(
                f"this was drawn on an image of {_size(self.size)} pixels, the image has "
                f"{_size(image.spatial_shape[-2:])}; export it for this image, or find the image"
            )
        planes = array if image.dims == 3 else array[np.newaxis]
        for shape, value in zip(self.shapes, values, strict=True):
            _paint(shape, _plane(planes, shape, image), value, image)


def _plane(
    planes: Integer[np.ndarray, "z y x"], shape: Shape, image: Image
) -> Integer[np.ndarray, "y x"]:
    index = shape.plane
    if index is None and shape.page is not None:
        index = _plane_of_page(shape.page, image)
    if index is None:
        if image.dims == 3:
            raise ImageError("a shape does not say in which slice of the volume it lies")
        index = 0
    if not 0 <= index < len(planes):
        raise ImageError(f"a shape lies in slice {index}, the image has {len(planes)}")
    plane: Integer[np.ndarray, "y x"] = planes[index]
    return plane


def _plane_of_page(page: int, image: Image) -> int:
    """The slice that a page shows.

    Raises:
        ImageError: the image has slices and channels, so that it may be any.
    """
    if image.channels == 1:
        return page
    if image.dims == 2 and page < image.channels:
        return 0
    raise ImageError(
        f"a shape lies on page {page + 1} of a file with {image.channels} channels, which does not "
        "say in which slice; open the image as a hyperstack before drawing"
    )


def _paint(shape: Shape, plane: Integer[np.ndarray, "y x"], label: int, image: Image) -> None:
    if shape.runs is not None:
        if shape.runs.size != plane.shape:
            raise ImageError(
                f"pixels were drawn on {_size(shape.runs.size)}, the image has {_size(plane.shape)}"
            )
        plane[shape.runs.pixels()] = label
    for polygon in _in_pixels(shape, image):
        box, inside = _pixels_of(polygon, plane.shape, shape.is_composite)
        plane[box][inside] = label


def _holds_a_pixel(shape: Shape, image: Image) -> bool:
    size = image.spatial_shape[-2:]
    if any(
        _pixels_of(each, size, shape.is_composite)[1].any() for each in _in_pixels(shape, image)
    ):
        return True
    return shape.runs is not None and bool(shape.runs.pixels().any())


def _in_pixels(shape: Shape, image: Image) -> tuple[Polygon, ...]:
    if not shape.is_mm:
        return shape.polygons
    if image.spacing is None:
        raise ImageError("points are in mm, and the image states no spacing")
    across = np.array(image.spacing[:-3:-1])
    return tuple(tuple(ring / across for ring in polygon) for polygon in shape.polygons)


def _pixels_of(
    polygon: Polygon, size: tuple[int, ...], is_composite: bool
) -> tuple[tuple[slice, slice], Bool[np.ndarray, "y x"]]:
    """A box within an image of that size, and the pixels in it whose centres the polygon holds."""
    points = np.concatenate(polygon)
    low = np.clip(np.floor(points.min(axis=0)), 0, size[::-1]).astype(int)
    high = np.clip(np.ceil(points.max(axis=0)), low, size[::-1]).astype(int)
    shape = tuple((high - low)[::-1].tolist())
    inside = np.zeros(shape, bool)
    for at, ring in enumerate(polygon if inside.size else ()):
        within = _inside(ring - low, shape)
        inside = inside & ~within if at and not is_composite else inside ^ within
    return (slice(low[1], high[1]), slice(low[0], high[0])), inside


def _inside(ring: Ring, shape: tuple[int, ...]) -> Bool[np.ndarray, "y x"]:
    """Pixels whose centres a ring goes around, whichever way and however often."""
    height, width = shape
    turns = np.zeros((height, width + 1), np.int32)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        top, bottom = (y0, y1) if y0 < y1 else (y1, y0)
        rows = np.arange(max(np.ceil(top - 0.5), 0), min(np.ceil(bottom - 0.5), height), dtype=int)
        if len(rows):
            crossings = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            columns = np.ceil(crossings - 0.5).clip(0, width).astype(int)
            turns[rows, columns] += 1 if y1 > y0 else -1
    found: Bool[np.ndarray, "y x"] = turns[:, :-1].cumsum(axis=1) != 0
    return found


def polygon_of(points: Sequence[Any]) -> Polygon | None:
    """One ring of points (x, y); None where it encloses nothing.

    Raises:
        ImageError: they are no points.
    """
    return polygon_of_rings([points])


def polygon_of_rings(rings: Iterable[Any]) -> Polygon | None:
    """An outer ring and its holes; None where the outer one encloses nothing.

    Raises:
        ImageError: they are no points.
    """
    polygon: list[Ring] = []
    for points in rings:
        try:
            ring = np.asarray(points, np.float64)
        except (TypeError, ValueError) as error:
            raise ImageError(
                f"a ring of points needs pairs of numbers, got {points!r:.60}"
            ) from error
        if len(ring) < 3:
            if not polygon:
                return None
            continue
        if ring.ndim != 2 or ring.shape[1] < 2 or not np.isfinite(ring).all():
            raise ImageError(f"a ring of points needs pairs of numbers, got {points!r:.60}")
        polygon.append(ring[:, :2])
    return tuple(polygon) or None


def rectangle(left: Number, top: Number, right: Number, bottom: Number) -> Polygon:
    """Its four corners."""
    return (np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64),)


def ellipse(x: Number, y: Number, across: Number, along: Number) -> Polygon:
    """About its centre, with radii ``across`` and ``along``."""
    step = 2 * np.pi / _CORNERS_OF_AN_ELLIPSE
    angles = step * np.arange(_CORNERS_OF_AN_ELLIPSE)
    # corners a little outside make the polygon's area that of the ellipse
    outside = np.sqrt(step / np.sin(step))
    points = outside * np.stack([across * np.cos(angles), along * np.sin(angles)], axis=1)
    return (points + np.array([x, y]),)


def turned(polygon: Polygon, about: tuple[Number, Number], degrees: Number) -> Polygon:
    """The polygon turned clockwise, as it is seen with y downwards, about a point."""
    if not degrees:
        return polygon
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, sin], [-sin, cos]])
    return tuple((ring - about) @ turn + about for ring in polygon)


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
