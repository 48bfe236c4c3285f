"""A region of interest, as people draw it in QuPath: polygons of GeoJSON in pixels."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from seg.errors import ConfigError

Ring = tuple[tuple[float, float], ...]
"""Points (x, y)."""


@dataclass(frozen=True, slots=True)
class RegionOfInterest:
    """What lies in one of some polygons, by the centres of pixels."""

    polygons: tuple[tuple[Ring, ...], ...]
    """Each an outer ring and its holes; from the outer corner of the first pixel."""

    def box(self, height: int, width: int) -> tuple[slice, slice] | None:
        """Around all that lies on an image; None where nothing does."""
        points = np.array([point for polygon in self.polygons for point in polygon[0]])
        low = np.maximum(np.floor(points.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(points.max(axis=0)).astype(int), (width, height))
        if (low >= high).any():
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


def read_roi(path: Path) -> RegionOfInterest:
    """The polygons of a GeoJSON file.

    Raises:
        ConfigError: it is none, or has no polygon.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        polygons = tuple(_polygons(content))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the region {path} cannot be read: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigError(f"the region {path} is no GeoJSON with polygons in pixels") from error
    if not polygons:
        raise ConfigError(
            f"the region {path} has no polygon; export an annotation with an area, as GeoJSON"
        )
    return RegionOfInterest(polygons)


def _polygons(thing: Any) -> Iterator[tuple[Ring, ...]]:
    if isinstance(thing, list):
        for each in thing:
            yield from _polygons(each)
        return
    kind = thing["type"]
    if kind == "FeatureCollection":
        yield from _polygons(thing["features"])
    elif kind == "Feature":
        yield from _polygons(thing["geometry"])
    elif kind == "GeometryCollection":
        yield from _polygons(thing["geometries"])
    elif kind == "Polygon":
        yield _rings(thing["coordinates"])
    elif kind == "MultiPolygon":
        for coordinates in thing["coordinates"]:
            yield _rings(coordinates)
    elif not isinstance(thing, Mapping):
        raise TypeError("no geometry")


def _rings(coordinates: Any) -> tuple[Ring, ...]:
    rings = tuple(tuple((float(x), float(y)) for x, y, *_ in ring) for ring in coordinates)
    if not rings or any(len(ring) < 3 for ring in rings) or not np.isfinite(sum(rings, ())).all():
        raise ValueError("a ring needs three points")
    return rings
