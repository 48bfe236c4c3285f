"""Numbers of objects as an OME-Zarr label image, in a ZIP file: chunk by chunk, as a pyramid.

Source: ngff.openmicroscopy.org, version 0.4, "image-label"; zarr.readthedocs.io, specification of
version 2, which is what napari, QuPath and Fiji read.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import UInt32

from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Spacing
from seg.images.storage.file_backed import let_go

CHUNK = {2: 512, 3: 64}
"""Edge, by dimensions."""
SMALLEST_LEVEL = 512
"""A level whose longest edge is not above it is the last."""
LEVEL = 1
"""Of compression."""

Numbers = UInt32[np.ndarray, "*spatial"]


def write_label_zarr(
    target: Path | io.BytesIO,
    numbers: Numbers,
    segments: Sequence[ClassInfo],
    properties: Iterable[Mapping[str, object]],
    spacing: Spacing | None = None,
) -> None:
    """Write all levels; memory holds a chunk.

    Args:
        target: Receives the ZIP file.
        numbers: Of the objects, from 1; may lie in a file.
        segments: Name and colour of each, object 1 first; may be made when they are looked at.
        properties: Further facts of each.
        spacing: In mm.
    """
    steps = list(_steps(numbers.shape))
    with zipfile.ZipFile(target, "w", allowZip64=True) as archive:
        _put(archive, ".zgroup", {"zarr_format": 2})
        # object by object: of a slide they are hundreds of thousands
        with archive.open(_entry(".zattrs"), "w") as file:
            multiscales = [_multiscale(steps, numbers.ndim, spacing)]
            file.write(f'{{"multiscales": {json.dumps(multiscales)}, '.encode())
            file.writelines(_image_label(segments, properties))
            file.write(b"}")
        for level, step in enumerate(steps):
            # every second voxel: a mean of numbers would be another object's
            _write_level(archive, str(level), numbers[tuple(slice(None, None, n) for n in step)])


def _steps(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    step = 1
    while True:
        sizes = [-(-size // step) for size in shape]
        # slices of a volume are few
        yield (*((1,) * (len(shape) - 2)), step, step)
        if max(sizes[-2:]) <= SMALLEST_LEVEL:
            return
        step *= 2


def _multiscale(
    steps: Sequence[Sequence[int]], dims: int, spacing: Spacing | None
) -> dict[str, object]:
    unit = {} if spacing is None else {"unit": "millimeter"}
    edges = spacing or (1.0,) * dims
    return {
        "version": "0.4",
        "name": "objects",
        "axes": [{"name": name, "type": "space", **unit} for name in "zyx"[-dims:]],
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": [
                    {
                        "type": "scale",
                        "scale": [edge * n for edge, n in zip(edges, step, strict=True)],
                    }
                ],
            }
            for level, step in enumerate(steps)
        ],
    }


def _image_label(
    segments: Sequence[ClassInfo], properties: Iterable[Mapping[str, object]]
) -> Iterator[bytes]:
    colors = (
        {"label-value": number, "rgba": [*entry.color, 255]}
        for number, entry in enumerate(segments, start=1)
    )
    facts = (
        {"label-value": number, "name": entry.name, **further}
        for number, (entry, further) in enumerate(zip(segments, properties, strict=True), start=1)
    )
    yield b'"image-label": {"version": "0.4", "colors": ['
    yield from _listed(colors)
    yield b'], "properties": ['
    yield from _listed(facts)
    yield b"]}"


def _listed(entries: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
    for number, entry in enumerate(entries):
        yield (b", " if number else b"") + json.dumps(entry).encode()


def _write_level(archive: zipfile.ZipFile, name: str, numbers: Numbers) -> None:
    chunk = tuple(min(CHUNK[numbers.ndim], size) for size in numbers.shape)
    facts = {
        "zarr_format": 2,
        "shape": list(numbers.shape),
        "chunks": list(chunk),
        "dtype": "<u4",
        "compressor": {"id": "zlib", "level": LEVEL},
        "fill_value": 0,
        "order": "C",
        "filters": None,
        "dimension_separator": "/",
    }
    _put(archive, f"{name}/.zarray", facts)
    counts = [-(-size // edge) for size, edge in zip(numbers.shape, chunk, strict=True)]
    for place in product(*map(range, counts)):
        box = tuple(slice(n * edge, (n + 1) * edge) for n, edge in zip(place, chunk, strict=True))
        inner = np.array(numbers[box])
        let_go(numbers)
        if not inner.any():  # what is missing is 0
            continue
        part = np.zeros(chunk, "<u4")
        part[tuple(map(slice, inner.shape))] = inner
        content = zlib.compress(part.tobytes(), LEVEL)
        archive.writestr(_entry(f"{name}/{'/'.join(map(str, place))}"), content)


def _put(archive: zipfile.ZipFile, name: str, facts: Mapping[str, object]) -> None:
    archive.writestr(_entry(name), json.dumps(facts))


def _entry(name: str) -> zipfile.ZipInfo:
    """With a fixed date: equal objects, equal files."""
    return zipfile.ZipInfo(name)
