"""CVAT for images 1.1: outlines of all images in one XML file.

Source: docs.cvat.ai, "XML annotation format".
"""

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from seg.errors import ImageError
from seg.images.outlines.drawing import (
    AnnotatedDrawing,
    Polygon,
    Runs,
    Shape,
    ellipse,
    polygon_of,
    rectangle,
    turned,
)
from training.dataset.annotations.annotated import Annotated, add_drawing
from training.dataset.text_files import said_of

_LABELS = "meta/*/labels/label/name"
_NO_SHAPES = ("tag", "attribute")


def parse_xml(path: Path) -> Element:
    """The root of an XML file; one that declares entities is refused, they can be bombs.

    Raises:
        ImageError: it is no XML.
    """
    content = path.read_bytes()
    if b"<!ENTITY" in content:
        raise ImageError(f"{path}: XML with entities is not read")
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError) as error:
        raise ImageError(f"{path}: {said_of(error)}") from error


def is_cvat(root: Element) -> bool:
    """The XML is CVAT's."""
    return root.tag == "annotations" and (
        root.find("image") is not None
        or root.find("track") is not None
        or root.find("meta") is not None
    )


def read_cvat(root: Element) -> Annotated:
    """Drawings by the names of the images; shapes of a higher ``z_order`` lie on top.

    Raises:
        ImageError: a shape is not as CVAT has it, or the file is of a video.
    """
    if root.find("track") is not None:
        raise ImageError("this is CVAT for video; export the task as CVAT for images 1.1")
    left_out: Counter[str] = Counter()
    drawings: dict[str, AnnotatedDrawing] = {}
    subset_of = {}
    try:
        for image in root.findall("image"):
            size = (int(image.attrib["height"]), int(image.attrib["width"]))
            children = sorted(image, key=lambda each: int(each.get("z_order", "0")))
            shapes = [shape for each in children if (shape := _shape(each, size, left_out))]
            name = image.attrib["name"]
            add_drawing(drawings, name, AnnotatedDrawing(tuple(shapes), size), "images")
            subset_of[name] = image.get("subset", "")
    except (KeyError, ValueError) as error:
        raise ImageError(f"this CVAT file is not as it should be: {error!r:.100}") from error
    names = tuple(dict.fromkeys(each.text or "" for each in root.findall(_LABELS)))
    used = set().union(*(drawing.labels() for drawing in drawings.values()))
    names = tuple(name for name in names if name in used)
    return Annotated("CVAT", drawings, names, left_out, subset_of=subset_of)


def _shape(element: Element, size: tuple[int, int], left_out: Counter[str]) -> Shape | None:
    if element.tag in _NO_SHAPES:
        return None
    label = element.attrib["label"]
    group = int(element.get("group_id", "0")) or None
    if element.tag == "mask":
        return Shape(label, runs=_pixels(element, size), group=group)
    polygon = _polygon(element)
    if polygon is None:
        left_out[element.tag] += 1
        return None
    return Shape(label, (polygon,), group=group)


def _polygon(element: Element) -> Polygon | None:
    numbers = {key: float(v) for key, v in element.attrib.items() if key in _NUMBERS}
    turn = numbers.get("rotation", 0.0)
    if element.tag == "polygon":
        return polygon_of([p.split(",") for p in element.attrib["points"].split(";") if p])
    if element.tag == "ellipse":
        x, y, across, along = (numbers[key] for key in ("cx", "cy", "rx", "ry"))
        return turned(ellipse(x, y, across, along), (x, y), turn)
    if element.tag != "box":
        return None
    left, top, right, bottom = (numbers[key] for key in ("xtl", "ytl", "xbr", "ybr"))
    middle = ((left + right) / 2, (top + bottom) / 2)
    return turned(rectangle(left, top, right, bottom), middle, turn)


_NUMBERS = ("cx", "cy", "rx", "ry", "xtl", "ytl", "xbr", "ybr", "rotation")


def _pixels(element: Element, size: tuple[int, int]) -> Runs:
    """Run lengths row by row within a box, those outside first."""
    left, top, width, height = (
        int(float(element.attrib[key])) for key in ("left", "top", "width", "height")
    )
    lengths = [int(each) for each in element.attrib["rle"].split(",")]
    if sum(lengths) != width * height or min(lengths) < 0:
        raise ImageError(f"run lengths of a CVAT mask do not fill its {width} x {height} pixels")
    values = np.arange(len(lengths)) % 2 == 1
    part = np.repeat(values, lengths).reshape(height, width)
    pixels = np.zeros(size, bool)
    if left < 0 or top < 0 or left + width > size[1] or top + height > size[0]:
        raise ImageError("a CVAT mask reaches out of its image")
    pixels[top : top + height, left : left + width] = part
    return Runs.of(pixels)
