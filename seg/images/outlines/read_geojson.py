"""The shapes of a GeoJSON file: what QuPath exports, and what this project writes.

Sources: RFC 7946; QuPath's documentation, "Exporting annotations".
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from seg.errors import ImageError
from seg.images.outlines.drawing import OBJECT, Polygon, Shape, polygon_of_rings

_GEOMETRIES = ("Polygon", "MultiPolygon", "GeometryCollection")
_CLASSES = ("class", "label", "category", "class_name")
"""Properties in which programs other than QuPath and this one keep the class."""


def is_geojson(raw: Any) -> bool:
    """The JSON of a file is GeoJSON."""
    first = raw[0] if isinstance(raw, list) and raw else raw
    return isinstance(first, dict) and first.get("type") in (
        *("FeatureCollection", "Feature"),
        *_GEOMETRIES,
    )


def shapes_of_geojson(raw: Any, left_out: Counter[str]) -> tuple[Shape, ...]:
    """All polygons, each with its class.

    A feature's class is its classification in QuPath, the property ``name`` of our own files, or
    what other programs call so.

    Args:
        raw: the JSON of a file.
        left_out: is told what is no polygon.

    Raises:
        ImageError: a feature is not as it should be.
    """
    shapes = []
    try:
        for feature in _features(raw):
            geometry = feature["geometry"] or {"type": "features without a geometry"}
            polygons = tuple(_polygons(geometry, left_out))
            if polygons:
                properties = feature.get("properties") or {}
                place = geometry.get("plane") or {}
                if place.get("t"):
                    raise ImageError(
                        f"a shape lies at moment {place['t']} of a film; save each moment as an "
                        "image of its own, with its own annotations"
                    )
                plane = properties.get("slice", place.get("z"))
                is_mm = properties.get("unit") == "mm"
                shapes.append(Shape(_class_of(properties), polygons, plane=plane, is_mm=is_mm))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ImageError(f"this GeoJSON file is not as it should be: {error!r:.100}") from error
    return tuple(shapes)


def _features(raw: Any) -> Iterator[Any]:
    for entry in raw if isinstance(raw, list) else [raw]:
        if "crs" in entry:
            raise ImageError(
                "this GeoJSON names a coordinate system (crs), so its points are places on Earth "
                "or in a plan, not pixels; export the shapes in pixels"
            )
        if entry["type"] == "FeatureCollection":
            yield from entry["features"]
        elif entry["type"] in _GEOMETRIES:
            yield {"geometry": entry}
        else:
            yield entry


def _class_of(properties: Any) -> str:
    classified = properties.get("classification")
    if isinstance(classified, dict):
        named = classified.get("name") or ": ".join(classified.get("names", ()))
        return str(named or OBJECT)
    # a name in QuPath is that of the one object, in our files it is the class
    named = properties.get("name") if "index" in properties else None
    others = (each for key in _CLASSES if isinstance(each := properties.get(key), str))
    return str(classified or named or next(others, None) or OBJECT)


def _polygons(geometry: Any, left_out: Counter[str]) -> Iterator[Polygon]:
    kind = geometry["type"]
    if kind == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _polygons(part, left_out)
        return
    if kind not in ("Polygon", "MultiPolygon"):
        left_out[kind] += 1
        return
    coordinates = geometry["coordinates"]
    for rings in [coordinates] if kind == "Polygon" else coordinates:
        polygon = polygon_of_rings(rings)
        if polygon:
            yield polygon
