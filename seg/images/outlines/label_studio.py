"""Regions as Label Studio has them: brush strokes, polygons, rectangles and ellipses, in and out.

Source: labelstud.io/guide/task_format, and the bit stream of label-studio-converter's brush.py.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

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

_NO_SHAPES = ("choices", "textarea", "rating", "taxonomy", "number", "pairwise")
_WORD = 8
"""Bits of a value in strokes that we write."""
_LENGTHS = (3, 4, 8, 16)
"""Bits of the lengths of runs in strokes that we write."""
_LONGEST_BLOCK = 3 + max(_LENGTHS) + _WORD
_PIXEL = 4
"""Values of a pixel: red, green, blue, opacity."""


def drawing_of(
    results: Sequence[Any], left_out: Counter[str], image_size: tuple[int, int] | None = None
) -> AnnotatedDrawing:
    """What the results of an annotation draw; what outlines nothing is counted in ``left_out``.

    Args:
        results: of the annotation.
        left_out: by kind of result.
        image_size: height and width of the image, where they are known; results for another one
            are refused before they are unpacked.

    Raises:
        ImageError: a result is not as Label Studio has it.
    """
    try:
        return _drawing(results, left_out, image_size)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise ImageError(
            f"this is not as Label Studio writes an annotation: {error!r:.100}"
        ) from error


def _drawing(
    results: Sequence[Any], left_out: Counter[str], image_size: tuple[int, int] | None
) -> AnnotatedDrawing:
    """A region and its label may be two results with one id."""
    shapes: list[Shape] = []
    size = None
    regions = [each for each in results if each.get("type") not in _NO_SHAPES and "value" in each]
    drawn_on = {each["to_name"] for each in regions if each.get("to_name")}
    if len(drawn_on) > 1 or any(each.get("item_index") for each in regions):
        raise ImageError(
            "this annotation of Label Studio is of several images at once, and does not say which "
            "files they are; make a task of each image"
        )
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
        if image_size not in (None, size):
            raise ImageError(
                f"Label Studio says that the image which was drawn on has {size[1]} x {size[0]} "
                f"pixels, it has {image_size[1]} x {image_size[0]}"
            )
        value = result["value"]
        labels = value.get(kind) or ()
        left_out["second labels of a region"] += max(0, len(labels) - 1)
        shape = _shape(kind, value, size)
        if shape is None:
            is_unnamed = kind.removesuffix("labels") in _KINDS.values() and not labels
            left_out[f"{kind} without a label" if is_unnamed else kind] += 1
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
    if kind == "bitmasklabels":
        raise ImageError("Label Studio's bit masks are not read; draw with BrushLabels or polygons")
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
    painted = decode_brush(value["rle"], _PIXEL * size[0] * size[1])
    return Runs.of(painted.reshape(*size, _PIXEL)[..., 3] > 0)


def decode_brush(rle: Sequence[int], values: int | None = None) -> UInt8[np.ndarray, " n"]:
    """The bytes behind a brush stroke: red, green, blue and opacity of each pixel in turn.

    A stream of bits: 32 for how many values come, 5 for the bits a value less 1, four times 4 for
    the bits of a length less 1; then blocks of one bit (repeated or not), two that choose the bits
    of the length, the length less 1, and one value or as many.

    Args:
        rle: the stream, byte by byte.
        values: that it must hold, where that is known.

    Raises:
        ImageError: the stream ends too early, or holds more than it announces, or than it must.
    """
    stream = _Bits(rle)
    total = stream.number(32)
    if values not in (None, total):
        raise ImageError(
            f"a brush stroke of Label Studio holds {total // _PIXEL} pixels, its image "
            f"{values // _PIXEL}"
        )
    word = stream.number(5) + 1
    lengths = [stream.number(4) + 1 for _ in range(4)]
    if word > 8:
        raise ImageError("a brush stroke of Label Studio has values of more than 8 bits")
    parts, filled = [], 0
    while filled < total:
        is_repeated = stream.number(1)
        count = stream.number(lengths[stream.number(2)]) + 1
        told = [stream.number(word) for _ in range(1 if is_repeated else count)]
        parts.append(np.full(count, told[0], np.uint8) if is_repeated else np.array(told, np.uint8))
        filled += count
    if filled != total:
        raise ImageError("a brush stroke of Label Studio is damaged")
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


def encode_brush(mask: Bool[np.ndarray, "y x"]) -> list[int]:
    """The stream of a stroke that covers a mask: all four values of a pixel are 255 there, else 0.

    Raises:
        ImageError: the mask has more pixels than a stream can announce.
    """
    total = _PIXEL * mask.size
    if total >= 1 << 32:
        raise ImageError(
            f"a brush stroke of Label Studio holds {(1 << 32) // _PIXEL - 1} pixels at most, this "
            f"mask has {mask.size}; take polygons"
        )
    head = f"{total:032b}{_WORD - 1:05b}" + "".join(f"{bits - 1:04b}" for bits in _LENGTHS)
    flat = mask.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], edges])[: mask.size]
    lengths, values = _in_blocks(
        _PIXEL * np.diff(np.append(starts, mask.size)), np.where(flat[starts], 255, 0)
    )
    kind = np.searchsorted(1 << np.array(_LENGTHS), lengths)
    size = np.array(_LENGTHS)[kind]
    code = ((0b100 | kind) << size | (lengths - 1)) << _WORD | values
    used = 3 + size + _WORD
    code <<= _LONGEST_BLOCK - used  # the first bit of all of them at the same place
    bits = (code[:, np.newaxis] >> np.arange(_LONGEST_BLOCK)[::-1]) & 1
    bits = bits[np.arange(_LONGEST_BLOCK) < used[:, np.newaxis]]
    all_bits = np.concatenate([np.array(list(head), np.uint8), bits.astype(np.uint8)])
    packed: list[int] = np.packbits(all_bits).tolist()
    return packed


def _in_blocks(
    lengths: Int[np.ndarray, " runs"], values: Int[np.ndarray, " runs"]
) -> tuple[Int[np.ndarray, " blocks"], Int[np.ndarray, " blocks"]]:
    """Runs, of which the longest lengths of a block are cut off."""
    most = 1 << max(_LENGTHS)
    blocks = -(-lengths // most)
    found = np.full(blocks.sum(), most)
    found[np.cumsum(blocks) - 1] = lengths - (blocks - 1) * most
    return found, np.repeat(values, blocks)


class _Bits:
    """Numbers out of a row of bits."""

    def __init__(self, content: Sequence[int]) -> None:
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
