"""3D Slicer: segmentations as ``.seg.nrrd``, whose header names the segments.

Source: Slicer's documentation, "Segmentations", file format of segmentation nodes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int32, UInt8

from seg.errors import ImageError
from seg.images import Image, read_image
from training.dataset.annotations.annotated import Annotated

ENDING = ".seg.nrrd"
_LINE = re.compile(r"Segment(\d+)_(Name|LabelValue|Layer):=(.*)")
_LONGEST_HEADER = 1 << 20
_OF_A_VOXEL = 0.05
"""How far the grids may be apart: headers hold rounded numbers."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One of the segments of a file."""

    name: str
    value: int | None
    layer: int | None
    """Both None in files of Slicer before 4.11, in which each segment has a layer of its own."""


@dataclass(frozen=True, slots=True)
class SegmentedVolume:
    """A file whose voxels are read when they are asked for; later segments lie on earlier ones."""

    path: Path
    segments: tuple[Segment, ...]

    @property
    def are_numbered(self) -> bool:
        """Segments are classes."""
        return False

    def labels(self) -> set[str]:
        """The names that occur."""
        return {segment.name for segment in self.segments}

    def painted(self, image: Image, label_of: Mapping[str, int]) -> UInt8[np.ndarray, "*spatial"]:
        """Labels on the image's grid; Slicer saves the part of it alone that holds segments.

        Raises:
            ImageError: the file cannot be read, or does not lie on the image's grid.
        """
        layers = read_image(self.path, dims=image.dims)
        ours, theirs = _overlap(image, layers)
        labels = np.zeros(image.spatial_shape, np.uint8)
        part = labels[ours]
        of_layers: dict[int, set[int]] = {layer: {0} for layer in range(layers.channels)}
        for number, segment in enumerate(self.segments):
            layer = self._layer(number, layers.channels)
            value = 1 if segment.value is None else segment.value
            part[layers.array[layer][theirs] == value] = label_of[segment.name]
            of_layers[layer].add(value)
        for layer, values in of_layers.items():
            unnamed = set(np.unique(layers.array[layer]).tolist()) - values
            if unnamed:
                raise ImageError(
                    f"the segmentation holds the value {min(unnamed)}, which no segment in its "
                    "header has; save it anew from Slicer"
                )
        return labels

    def _layer(self, number: int, layers: int) -> int:
        """Where a segment lies.

        Raises:
            ImageError: the file does not say it, or has no such layer.
        """
        segment = self.segments[number]
        if segment.layer is None and len(self.segments) != layers:
            are_told_apart = layers == 1 and len({each.value for each in self.segments}) == len(
                self.segments
            )
            if not are_told_apart:
                raise ImageError(
                    f"{len(self.segments)} segments lie in {layers} layers, and the header does "
                    "not say which in which; save the segmentation anew with today's Slicer"
                )
        layer = segment.layer
        if layer is None:
            layer = 0 if layers == 1 else number
        if not 0 <= layer < layers:
            raise ImageError(f"segment {segment.name} lies in a layer that is not there")
        return layer

    def numbered(self, image: Image) -> Int32[np.ndarray, "*spatial"]:
        """Nothing: segments are classes.

        Raises:
            ImageError: always.
        """
        raise ImageError(
            "segments of 3D Slicer are classes, not objects; number the objects in a mask"
        )


def is_slicer(path: Path) -> bool:
    """The file is called as Slicer's segmentations are."""
    return path.name.lower().endswith(ENDING)


def read_slicer(path: Path) -> Annotated:
    """The segments of the one image that the file lies beside.

    Raises:
        ImageError: its header names no segment.
    """
    with path.open("rb") as file:
        header = file.read(_LONGEST_HEADER).split(b"\n\n")[0].split(b"\r\n\r\n")[0]
    fields: dict[int, dict[str, str]] = {}
    for line in header.decode("utf-8", "replace").splitlines():
        if match := _LINE.match(line):
            fields.setdefault(int(match[1]), {})[match[2]] = match[3].strip()
    if not fields:
        raise ImageError(f"{path} names no segments; save it from Slicer as a segmentation")
    segments = tuple(
        Segment(
            each.get("Name", f"segment_{number}"),
            _number(each, "LabelValue"),
            _number(each, "Layer"),
        )
        for number, each in sorted(fields.items())
    )
    names = tuple(dict.fromkeys(segment.name for segment in segments))
    return Annotated("3D Slicer", {"": SegmentedVolume(path, segments)}, names)


def _number(fields: Mapping[str, str], key: str) -> int | None:
    if key not in fields:
        return None
    try:
        return int(fields[key])
    except ValueError as error:
        raise ImageError(f"a segment's {key} is a whole number, got {fields[key]:.20}") from error


def _overlap(image: Image, layers: Image) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where both grids overlap, in each of them."""
    if image.affine is None or layers.affine is None:
        if image.spatial_shape != layers.spatial_shape:
            raise ImageError(
                f"image and segmentation must have the same size, got {image.spatial_shape} and "
                f"{layers.spatial_shape}"
            )
        return (slice(None),) * image.dims, (slice(None),) * image.dims
    step: Float[np.ndarray, "4 4"] = np.linalg.inv(image.affine) @ layers.affine
    offset = step[:3, 3]
    if not np.allclose(step[:3, :3], np.eye(3), atol=_OF_A_VOXEL / max(layers.spatial_shape)) or (
        np.abs(offset - offset.round()).max() > _OF_A_VOXEL
    ):
        raise ImageError(
            "the segmentation does not lie on the image's grid; save it in Slicer with the image "
            "as its source geometry"
        )
    first = offset.round().astype(int)[: image.dims][::-1]
    ours, theirs = [], []
    for start, size, length in zip(first, layers.spatial_shape, image.spatial_shape, strict=True):
        low, high = max(int(start), 0), min(int(start) + size, length)
        ours.append(slice(low, max(high, low)))
        theirs.append(slice(low - int(start), max(high, low) - int(start)))
    return tuple(ours), tuple(theirs)
