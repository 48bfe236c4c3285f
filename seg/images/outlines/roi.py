"""A region of interest, as people draw it in QuPath: polygons of GeoJSON, in pixels or in mm."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from seg.errors import ConfigError, ImageError
from seg.images.grid.image import Spacing

Ring = tuple[tuple[float, float], ...]
"""Points (x, y)."""
Rings = tuple[Ring, ...]
"""A polygon: its outer ring and its holes."""
PIXEL = "pixel"
MEMBERS = {"FeatureCollection": "features", "GeometryCollection": "geometries"}
"""Key of what collections hold."""
BAND = 512
"""Rows that are looked at together."""


@dataclass(frozen=True, slots=True)
class RegionOfInterest:
    """What lies in one of some polygons, by the centres of pixels."""

    polygons: tuple[Rings, ...] = ()
    """In pixels, from the outer corner of the first one."""
    in_mm: tuple[Rings, ...] = ()
    """In mm from there, as ``geojson-mm`` has them."""

    def on(
        self, spacing: Spacing | None, reduction: Sequence[float] | None = None
    ) -> "RegionOfInterest":
        """All of it in pixels of an image.

        Args:
            spacing: of the image, in mm.
            reduction: pixels of its file, in which the polygons are, for each of the image's.

        Raises:
            ImageError: it is in mm, and how large a pixel is is not known.
        """
        ours = self.polygons if reduction is None else _divided(self.polygons, reduction)
        if not self.in_mm:
            return RegionOfInterest(ours)
        if spacing is None:
            raise ImageError(
                "the region is in mm, and the image does not say how large a pixel is; draw it in "
                "pixels"
            )
        return RegionOfInterest((*ours, *_divided(self.in_mm, spacing)))

    def box(self, height: int, width: int) -> tuple[slice, slice] | None:
        """Around all that lies on an image; None where no pixel's centre does."""
        points = np.array([point for polygon in self.polygons for point in polygon[0]])
        low = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(points.max(axis=0)).astype(int), (width, height))
        starts = range(int(low[1]), int(high[1]), BAND)
        if low[0] >= high[0] or not any(
            self.rows(start, min(start + BAND, int(high[1])), width).any() for start in starts
        ):
            return None
        return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))

    def rows(self, start: int, stop: int, width: int) -> Bool[np.ndarray, "rows x"]:
        """Whether the pixels of some rows lie inside."""
        from skimage.draw import polygon as drawn

        found = np.zeros((stop - start, width), bool)
        for outer, *holes in self.polygons:
            if max(y for _, y in outer) < start or min(y for _, y in outer) > stop:
                continue
            inside = np.zeros_like(found)
            for number, ring in enumerate((outer, *holes)):
                x, y = np.array(ring).T
                inside[drawn(y - 0.5 - start, x - 0.5, found.shape)] = number == 0
            found |= inside
        return found


def _divided(polygons: Sequence[Rings], steps: Sequence[float]) -> tuple[Rings, ...]:
    y, x = steps[-2:]
    return tuple(
        tuple(tuple((a / x, b / y) for a, b in ring) for ring in rings) for rings in polygons
    )


def read_roi(path: Path) -> RegionOfInterest:
    """The polygons of a GeoJSON file.

    Raises:
        ConfigError: it is none, or has no polygon.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        polygons = list(_polygons(content))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the region {path} cannot be read: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(f"the region {path} is no GeoJSON with polygons in pixels") from error
    if not polygons:
        raise ConfigError(
            f"the region {path} has no polygon; export an annotation with an area, as GeoJSON"
        )
    return RegionOfInterest(
        tuple(rings for rings, unit in polygons if unit == PIXEL),
        tuple(rings for rings, unit in polygons if unit == "mm"),
    )


def _polygons(thing: Any, unit: str = PIXEL) -> Iterator[tuple[Rings, str]]:
    """Each with the unit of its feature."""
    if isinstance(thing, list):
        for each in thing:
            yield from _polygons(each, unit)
        return
    kind = thing["type"]
    if kind in MEMBERS:
        yield from _polygons(thing[MEMBERS[kind]], unit)
    elif kind == "Feature":
        if thing["geometry"] is not None:  # RFC 7946: a feature may have no place
            yield from _polygons(thing["geometry"], _unit_of(thing.get("properties") or {}))
    elif kind == "Polygon":
        yield _rings(thing["coordinates"]), unit
    elif kind == "MultiPolygon":
        for coordinates in thing["coordinates"]:
            yield _rings(coordinates), unit
    elif not isinstance(thing, Mapping):
        raise TypeError("no geometry")


def _unit_of(properties: Mapping[str, Any]) -> str:
    unit = properties.get("unit", PIXEL)
    if unit not in (PIXEL, "mm"):
        raise ConfigError(f"a region is in pixels or in mm, got one in {str(unit)[:20]!r}")
    return str(unit)


def _rings(coordinates: Any) -> Rings:
    rings = tuple(tuple((float(x), float(y)) for x, y, *_ in ring) for ring in coordinates)
    if not rings or any(len(ring) < 3 for ring in rings) or not np.isfinite(sum(rings, ())).all():
        raise ValueError("a ring needs three points")
    return rings
