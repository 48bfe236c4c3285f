"""GeoJSON beside an image: what QuPath exports, and what this project writes."""

from collections import Counter
from typing import Any

from seg.images.outlines.drawing import AnnotatedDrawing
from seg.images.outlines.read_geojson import is_geojson, shapes_of_geojson
from training.dataset.annotations.annotated import Annotated

__all__ = ["is_geojson", "read_geojson"]


def read_geojson(raw: Any) -> Annotated:
    """The drawing of the one image that the file lies beside.

    Raises:
        ImageError: a feature is not as it should be.
    """
    left_out = Counter[str]()
    shapes = shapes_of_geojson(raw, left_out)
    return Annotated("GeoJSON", {"": AnnotatedDrawing(shapes)}, left_out=left_out)
