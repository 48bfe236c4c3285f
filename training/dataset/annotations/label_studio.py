"""Label Studio: all tasks of a project in one JSON file (export "JSON", not "JSON-MIN").

Source: labelstud.io/guide/task_format, and the bit stream of label-studio-converter's brush.py.
"""

from collections import Counter
from typing import Any

import numpy as np
from jaxtyping import UInt8

from seg.errors import ImageError
from seg.images.outlines.drawing import (
    AnnotatedDrawing,
    Runs,
    Shape,
    ellipse,
    polygon_of,
    rectangle,
    turned,
)
from training.dataset.annotations.annotated import Annotated

_NO_SHAPES = ("choices", "textarea", "rating", "taxonomy", "number", "pairwise")


def is_label_studio(raw: Any) -> bool:
    """The JSON of a file is Label Studio's."""
    first = raw[0] if isinstance(raw, list) and raw else raw
    return (
        isinstance(first, dict)
        and isinstance(first.get("data"), dict)
        and any(isinstance(first.get(key), list) for key in ("annotations", "completions"))
    )


def read_label_studio(raw: Any) -> Annotated:
    """Drawings by the images of the tasks; of several annotations the one updated last is taken.

    Raises:
        ImageError: a result is not as Label Studio has it.
    """
    try:
        return _read(raw if isinstance(raw, list) else [raw])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ImageError(
            f"this Label Studio file is not as it should be: {error!r:.100}"
        ) from error


def _read(tasks: list[Any]) -> Annotated:
    drawings, unfinished, left_out = {}, [], Counter[str]()
    for task in tasks:
        name = _image_of(task)
        done = [
            each
            for each in task.get("annotations", task.get("completions", ()))
            if not each.get("was_cancelled")
        ]
        if not done:
            unfinished.append(name)
            continue
        left_out["earlier annotations of an image"] += len(done) - 1
        latest = max(done, key=lambda each: str(each.get("updated_at") or each.get("created_at")))
        drawings[name] = _drawing(latest["result"], left_out)
    return Annotated("Label Studio", drawings, left_out=+left_out, unfinished=tuple(unfinished))


def _image_of(task: Any) -> str:
    """The file's name; that of an upload is told beside, and has a prefix of its own."""
    if isinstance(task.get("file_upload"), str):
        return str(task["file_upload"])
    data = task["data"]
    named = data.get("image") or next(
        (value for value in data.values() if isinstance(value, str) and "." in value), None
    )
    if not isinstance(named, str):
        raise ImageError(f"task {task.get('id')} of this Label Studio file names no image")
    return named.partition("?d=")[2] or named


def _drawing(results: list[Any], left_out: Counter[str]) -> AnnotatedDrawing:
    """A region and its label may be two results with one id."""
    shapes: list[Shape] = []
    size = None
    named = {each.get("id") for each in results if str(each.get("type", "")).endswith("labels")}
    for result in results:
        kind = str(result.get("type", ""))
        if kind in _NO_SHAPES or "value" not in result:
            continue
        if kind in _KINDS.values():
            left_out[f"{kind} without a label"] += result.get("id") not in named - {None}
            continue
        if result.get("image_rotation"):
            raise ImageError("Label Studio turned this image while it was drawn on; it is not read")
        size = (int(result["original_height"]), int(result["original_width"]))
        value = result["value"]
        labels = value.get(kind) or ()
        left_out["second labels of a region"] += max(0, len(labels) - 1)
        shape = _shape(kind, value, size)
        if shape is None:
            left_out[kind] += 1
        else:
            shapes.append(shape)
    return AnnotatedDrawing(tuple(shapes), size)


_KINDS = {"points": "polygon", "rle": "brush", "radiusX": "ellipse", "height": "rectangle"}
"""By a field that only it has, what was drawn; and the type of a result that has no label."""


def _shape(kind: str, value: Any, size: tuple[int, int]) -> Shape | None:
    labels = value.get(kind)
    if not kind.endswith("labels") or not labels:
        return None
    label = str(labels[0])
    if kind == "labels":
        kind = next((f"{each}labels" for key, each in _KINDS.items() if key in value), kind)
    if kind == "brushlabels":
        return Shape(label, runs=_brushed(value, size))
    percent = np.array([size[1], size[0]]) / 100
    if kind == "polygonlabels":
        polygon = polygon_of((np.asarray(value["points"], float) * percent).tolist())
        return Shape(label, (polygon,)) if polygon else None
    if kind not in ("rectanglelabels", "ellipselabels"):
        return None
    x, y = np.array([value["x"], value["y"]]) * percent
    turn = float(value.get("rotation") or 0)
    if kind == "ellipselabels":
        across, along = np.array([value["radiusX"], value["radiusY"]]) * percent
        return Shape(label, (turned(ellipse(x, y, across, along), (x, y), turn),))
    width, height = np.array([value["width"], value["height"]]) * percent
    return Shape(label, (turned(rectangle(x, y, x + width, y + height), (x, y), turn),))


def _brushed(value: Any, size: tuple[int, int]) -> Runs:
    if value.get("format", "rle") != "rle":
        raise ImageError(f"Label Studio's brush strokes as {value['format']!r:.20} are not read")
    painted = decode_brush(value["rle"])
    if len(painted) != size[0] * size[1] * 4:
        raise ImageError(
            f"a brush stroke of Label Studio holds {len(painted) // 4} pixels, its image "
            f"{size[0] * size[1]}"
        )
    return Runs.of(painted.reshape(*size, 4)[..., 3] > 0)


def decode_brush(rle: list[int]) -> UInt8[np.ndarray, " n"]:
    """The bytes behind a brush stroke: red, green, blue and opacity of each pixel in turn.

    A stream of bits: 32 for how many values come, 5 for the bits a value less 1, four times 4 for
    the bits of a length less 1; then blocks of one bit (repeated or not), two that choose the bits
    of the length, the length less 1, and one value or as many.

    Raises:
        ImageError: the stream ends too early, or holds more than it announces.
    """
    stream = _Bits(rle)
    total = stream.number(32)
    word = stream.number(5) + 1
    lengths = [stream.number(4) + 1 for _ in range(4)]
    if word > 8:
        raise ImageError("a brush stroke of Label Studio has values of more than 8 bits")
    parts, filled = [], 0
    while filled < total:
        is_repeated = stream.number(1)
        count = stream.number(lengths[stream.number(2)]) + 1
        values = [stream.number(word) for _ in range(1 if is_repeated else count)]
        parts.append(
            np.full(count, values[0], np.uint8) if is_repeated else np.array(values, np.uint8)
        )
        filled += count
    if filled != total:
        raise ImageError("a brush stroke of Label Studio is damaged")
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


class _Bits:
    """Numbers out of a row of bits."""

    def __init__(self, content: list[int]) -> None:
        self._content = bytes(content)
        self._at = 0

    def number(self, bits: int) -> int:
        """The next one, of so many bits."""
        end = self._at + bits
        if end > 8 * len(self._content):
            raise ImageError("a brush stroke of Label Studio is cut off")
        first, last = self._at // 8, -(-end // 8)
        window = int.from_bytes(self._content[first:last], "big")
        self._at = end
        return window >> (8 * last - end) & ((1 << bits) - 1)
