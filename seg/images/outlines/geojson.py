"""Masks as polygons: GeoJSON, exact along the borders of pixels."""

import json
from collections.abc import Iterator, Sequence

import numpy as np

from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Mask
from seg.images.outlines.polygons import Polygon, outlines

DECIMALS = 9
"""Of a coordinate in mm; more only show what binary fractions are."""


def encode_geojson(mask: Mask, classes: Sequence[ClassInfo]) -> bytes:
    """A FeatureCollection with a polygon for each part of each class, of a volume in each slice.

    Filling the polygons gives the very same mask. Coordinates are (x, y) from the outer corner of
    the first pixel: in mm where the spacing is known, else in pixels, and the property ``unit``
    of each feature says which. ``index``, ``name`` and ``color`` are the class, ``slice`` is
    the index along z.

    Source: RFC 7946, without its use of degrees.
    """
    features = list(_features(mask, classes))
    collection = {"type": "FeatureCollection", "features": features}
    return json.dumps(collection, separators=(",", ":")).encode()


def _features(mask: Mask, classes: Sequence[ClassInfo]) -> Iterator[dict[str, object]]:
    unit = "pixel" if mask.spacing is None else "mm"
    named = {entry.index: entry for entry in classes}
    for z, plane in enumerate(mask.array if mask.dims == 3 else mask.array[np.newaxis]):
        where = {"slice": z} if mask.dims == 3 else {}
        for index, polygon in outlines(plane):
            yield {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": _rings(polygon, mask)},
                "properties": {
                    "index": index,
                    "name": named[index].name,
                    "color": list(named[index].color),
                    "unit": unit,
                    **where,
                },
            }


def _rings(polygon: Polygon, mask: Mask) -> list[list[list[int | float]]]:
    rings = [np.asarray(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]
    if mask.spacing is None:
        return [ring.astype(int).tolist() for ring in rings]
    across = mask.spacing[:-3:-1]
    return [(ring * across).round(DECIMALS).tolist() for ring in rings]
