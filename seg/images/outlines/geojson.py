"""Masks as polygons: GeoJSON as QuPath has it, exact along the borders of pixels.

Source: RFC 7946, without its use of degrees; QuPath's documents, "Exporting objects".
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import IO
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from jaxtyping import Integer

from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Mask
from seg.images.grid.source import ImageSource
from seg.images.outlines.polygons import Polygon, outlines
from seg.images.outlines.regions import regions_of

DECIMALS = 9
"""Of a coordinate in mm; more only show what binary fractions are."""

COMPACT = (",", ":")


def encode_geojson(mask: Mask, classes: Sequence[ClassInfo], *, in_mm: bool = False) -> bytes:
    """A FeatureCollection with a polygon for each part of each class, of a volume in each slice.

    Filling the polygons gives the very same mask. Coordinates are (x, y) in pixels of the image's
    file from the outer corner of the first one, as QuPath reads them; its ``classification`` is the
    class, and ``measurements`` hold the area. ``index`` is the class, ``slice`` the index along z.

    Args:
        mask: What is written.
        classes: Of the mask.
        in_mm: Coordinates in mm where the spacing is known; ``unit`` says which they are.
    """
    collection = {"type": "FeatureCollection", "features": list(_features(mask, classes, in_mm))}
    return json.dumps(collection, separators=COMPACT).encode()


def stream_geojson(
    file: IO[bytes],
    bands: Iterable[Integer[np.ndarray, "rows x"]],
    classes: Sequence[ClassInfo],
    grid: ImageSource,
) -> None:
    """The same of a picture that comes band by band, a feature as soon as it is whole."""
    file.write(b'{"type":"FeatureCollection","features":[')
    named = {entry.index: entry for entry in classes}
    for number, region in enumerate(regions_of(bands)):
        feature = _feature(region.polygon(), named[region.index], grid, None, number, in_mm=False)
        file.write((b"," if number else b"") + json.dumps(feature, separators=COMPACT).encode())
    file.write(b"]}")


def _features(mask: Mask, classes: Sequence[ClassInfo], in_mm: bool) -> Iterator[dict[str, object]]:
    named = {entry.index: entry for entry in classes}
    number = 0
    for z, plane in enumerate(mask.array if mask.dims == 3 else mask.array[np.newaxis]):
        for index, polygon in outlines(plane):
            place = z if mask.dims == 3 else None
            yield _feature(polygon, named[index], mask, place, number, in_mm=in_mm)
            number += 1


def _feature(
    polygon: Polygon,
    entry: ClassInfo,
    grid: Mask | ImageSource,
    z: int | None,
    number: int,
    *,
    in_mm: bool,
) -> dict[str, object]:
    across = grid.spacing[:-3:-1] if grid.spacing is not None else None
    in_mm = in_mm and across is not None
    pixels = None if grid.reduction is None else grid.reduction[:-3:-1]
    geometry: dict[str, object] = {
        "type": "Polygon",
        "coordinates": _rings(polygon, across if in_mm else pixels),
    }
    if z is not None:
        geometry["plane"] = {"c": -1, "z": z, "t": 0}
    measurements = {"Area px^2": float(polygon.area * np.prod(pixels or 1.0))}
    if across is not None:
        measurements["Area \N{MICRO SIGN}m^2"] = round(polygon.area * np.prod(across) * 1e6, 6)
    return {
        "type": "Feature",
        "id": str(uuid5(NAMESPACE_OID, f"{entry.index} {number} {z} {polygon.wkt}")),
        "geometry": geometry,
        "properties": {
            "objectType": "annotation",
            "classification": {"name": entry.name, "color": list(entry.color)},
            "measurements": measurements,
            "index": entry.index,
            "unit": "mm" if in_mm else "pixel",
            **({} if z is None else {"slice": z}),
        },
    }


def _rings(polygon: Polygon, across: tuple[float, ...] | None) -> list[list[list[int | float]]]:
    rings = [np.asarray(ring.coords) for ring in (polygon.exterior, *polygon.interiors)]
    if across is None:
        return [ring.astype(int).tolist() for ring in rings]
    return [(ring * across).round(DECIMALS).tolist() for ring in rings]
