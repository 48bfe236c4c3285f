"""All files that can be had of a segmentation: the mask, and maps of what the model knows of it.

The command line and the service offer the same names.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from seg.errors import UnsupportedImageError
from seg.images import MASK_FORMATS, PROBABILITY_FORMATS, Image, encode_mask, encode_probabilities
from seg.images.itk.slicer import encode_nrrd_layers
from seg.inference.trust.quality import Segmentation
from seg.names import INSTANCES, LAYERS, MAP_NAMES, MapName
from seg.objects import LABEL_SUFFIX, OBJECT_FORMATS, count_cells, encode_instances
from seg.tables.comma_separated import csv_text, read_csv

USUAL_MAP_FORMAT = {2: "tiff", 3: "nifti"}
"""By dimensions: of a map that is asked for by its bare name."""


@dataclass(frozen=True, slots=True)
class Output:
    """A file that can be had of a segmentation."""

    name: str
    media_type: str
    suffix: str
    format: str
    """Of ``MASK_FORMATS``; of ``PROBABILITY_FORMATS`` where it is a map."""
    map: MapName | None = None
    """What it shows; None for the mask and for objects."""
    of_objects: bool = False
    """Whether it shows objects one by one."""


def _all_maps() -> Iterator[Output]:
    for kind in MAP_NAMES:
        for each in PROBABILITY_FORMATS.values():
            suffix = f".{kind}{each.suffix}"
            yield Output(f"{kind}-{each.name}", each.media_type, suffix, each.name, kind)


_MAPS = {output.name: output for output in _all_maps()}

_LAYERS = Output(LAYERS, "application/x-nrrd", ".layers.seg.nrrd", LAYERS, "probabilities")


def outputs_for(dims: int) -> dict[str, Output]:
    """By name: the outputs that can hold a segmentation of 2 or 3 dimensions."""
    masks = {
        name: Output(name, each.media_type, each.suffix, name)
        for name, each in MASK_FORMATS.items()
        if dims in each.dims
    }
    usual = {kind: _MAPS[f"{kind}-{USUAL_MAP_FORMAT[dims]}"] for kind in MAP_NAMES}
    return masks | _of_objects(dims) | {LAYERS: _LAYERS} | usual | _MAPS


def _of_objects(dims: int) -> dict[str, Output]:
    labels = MASK_FORMATS["tiff" if dims == 2 else "nifti"]
    media_type, suffix = labels.media_type, LABEL_SUFFIX[dims]
    tables = {
        name: Output(name, each.media_type, each.suffix, name, of_objects=True)
        for name, each in OBJECT_FORMATS.items()
        if dims in each.dims
    }
    return {INSTANCES: Output(INSTANCES, media_type, suffix, INSTANCES, of_objects=True)} | tables


def written_together(
    found: Segmentation, formats: Sequence[str], lowest_dice: float | None = None
) -> Segmentation:
    """A segmentation whose DICOM objects may refer to each other.

    Args:
        found: of ``Predictor.segment``.
        formats: in which it is written.
        lowest_dice: of a class that is predicted, in [0, 1], below which objects say that they are
            drafts; so do those of a mask of which none is predicted.
    """
    if found.made_by is None:
        return found
    lowest = min(found.quality.predicted_dice.values(), default=0.0)
    is_draft = lowest_dice is not None and lowest < lowest_dice
    made_by = replace(found.made_by, beside=tuple(formats), is_draft=is_draft)
    return replace(found, made_by=made_by)


def encode_output(found: Segmentation, output: Output, image: Image) -> bytes:
    """A segmentation as a file.

    Args:
        found: of ``Predictor.segment``, with ``output.map`` among its maps where that is one.
        output: of ``outputs_for``.
        image: that was segmented.

    Raises:
        UnsupportedImageError: the map was not kept, or the format cannot hold this mask.
        ImageError: as ``encode_mask`` does.
    """
    if output.of_objects:
        if found.objects is None:
            raise UnsupportedImageError(
                "the segmentation did not tell objects apart; ask Predictor.segment for it"
            )
        return encode_instances(found.objects, output.format, image, found.made_by)
    if output.map is None:
        if output.format == "csv" and found.objects is not None:
            return measurement_table(measurement_rows(found, image))
        return encode_mask(found.mask, output.format, found.classes, image, found.made_by)
    if output.map not in found.maps:
        raise UnsupportedImageError(
            f"the segmentation kept no map of {output.map}; ask Predictor.segment for it"
        )
    if output.format == LAYERS:
        return _layers(found)
    names = found.channels if output.map == "probabilities" else (output.map,)
    return encode_probabilities(found.maps[output.map].array, image, output.format, names)


def measurement_rows(found: Segmentation, image: Image) -> list[dict[str, str]]:
    """A row for each class, as the format ``csv`` has them.

    Where objects are told apart it says how many there are: components are no count of them.

    Raises:
        ImageError: as ``encode_mask`` does.
    """
    table = encode_mask(found.mask, "csv", found.classes, image).decode()
    rows = list(read_csv(io.StringIO(table, newline="")))
    if found.objects is None:
        return rows
    counts = found.objects.counts
    return [row | count_cells(counts.get(row["name"])) for row in rows]


def measurement_table(rows: Sequence[Mapping[str, str]]) -> bytes:
    """Rows of one image or of several as CSV, with all columns that one of them has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return csv_text(columns, rows, end="\r\n").encode()


def _layers(found: Segmentation) -> bytes:
    """Regions, each where its own probability says; classes that exclude each other are a mask."""
    classes = {entry.name: entry.index for entry in found.classes}
    if found.classes and found.classes[0].name in found.channels:
        return encode_mask(found.mask, "nrrd", found.classes)
    shares = found.maps["probabilities"].array
    regions = {
        classes[name]: (share > found.threshold) | (found.mask.array == classes[name])
        for name, share in zip(found.channels, shares, strict=True)
    }
    return encode_nrrd_layers(regions, found.mask, found.classes)
