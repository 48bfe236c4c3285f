"""Objects of images that stay in their files: labels and table, with bounded memory."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import UInt32

from seg.files import replaced_file
from seg.images import ImageSource, Mask, write_objects_parts
from seg.images.grid.orientation import turned_source
from seg.inference.predictor import Observe, Predictor
from seg.inference.resolution import open_at
from seg.inference.tiling.sliding_window import Progress, WindowCounts
from seg.objects import Count, Objects, ObjectsMeter, columns_of, object_parts
from seg.objects.file_backed import let_go
from seg.objects.label_images import write_zarr
from seg.objects.measurements import Cell, measure_in_bands

SLAB_VOXELS = 2**22
ROWS = "rows"


@dataclass(frozen=True, eq=False)
class ObjectsInFile:
    """What was found in an image that stayed in its file."""

    windows: WindowCounts
    counts: dict[str, Count]
    """By class."""
    are_told_apart: bool


def predict_objects_file(
    predictor: Predictor,
    sources: Sequence[Path],
    targets: Mapping[Path, str],
    progress: Progress | None = None,
    *,
    observe: Observe | None = None,
    mpp: float | None = None,
) -> ObjectsInFile:
    """Write objects, each file whole or not at all.

    The very objects of ``Predictor.objects``. Memory holds a patch's depth of the image and a block
    of what is known of its voxels, of which seven bytes a voxel lie in a temporary folder; where
    the package has rules of postprocessing, memory holds the mask as well.

    Args:
        predictor: of a package that fits the image.
        sources: of the image, one file or one a channel.
        targets: of each the format, of ``STREAMED_OBJECT_FORMATS`` or ``ROWS``: a line of JSON
            for each object, as ``measure_objects`` has them.
        progress: called with windows done and windows in all.
        observe: as of ``Predictor.predict``.
        mpp: micrometres a pixel at which a picture is segmented; None is the file's own.

    Raises:
        ImageError: the image cannot be read, or does not fit the model.
    """
    card, counts = predictor.package.card, WindowCounts()
    with (
        open_at(sources, dims=card.input.dims, mpp=mpp) as source,
        tempfile.TemporaryDirectory(dir=next(iter(targets)).parent, prefix=".objects-") as folder,
    ):
        turn = predictor.turn_of(source)
        turned = turned_source(source, turn)
        shape = tuple(turned.spatial_shape)
        meter = ObjectsMeter(card, shape, Path(folder))
        classes = np.memmap(Path(folder) / "classes", np.uint8, "w+", shape=shape)
        for start, rows in predictor.rows_observed(turned, meter, progress, counts, observe):
            classes[start : start + len(rows)] = rows
            let_go(classes)
        if card.postprocessing.has_rules:
            classes[:] = predictor.finished(np.asarray(classes))
        mask = Mask(classes, spacing=turned.spacing, affine=turned.affine)
        objects = predictor.objects_within(meter, mask)
        labels = turn.back(objects.labels)
        stored = replace(
            objects,
            labels=labels,
            spacing=source.spacing,
            affine=source.affine,
            reduction=source.reduction,
            source=sources[0].name,
        )
        lines = Path(folder) / "rows"
        with lines.open("wb") as file:
            for row in measure_in_bands(stored, source):
                file.write(json.dumps(row).encode() + b"\n")
        for target, format in targets.items():
            _write(stored, format, target, source, lines)
        return ObjectsInFile(counts, dict(objects.counts), objects.are_told_apart)


def _write(objects: Objects, format: str, target: Path, source: ImageSource, rows: Path) -> None:
    if format.startswith("instances") and format != "instances-zarr":
        labels, flat = objects.labels, (slice(None),) * (objects.dims - 2)
        write_objects_parts(
            target,
            lambda n: _slabs(labels[(*flat, slice(None, None, n), slice(None, None, n))]),
            source,
        )
        return
    with replaced_file(target) as part:
        if format == "instances-zarr":
            write_zarr(objects, part)
        elif format == ROWS:
            shutil.copyfile(rows, part)
        else:
            with part.open("wb") as file:
                file.writelines(
                    object_parts(objects, format, columns_of(objects, source), rows_in(rows))
                )


def rows_in(path: Path) -> Iterator[dict[str, Cell]]:
    """The rows of a file of ``ROWS``."""
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def _slabs(labels: UInt32[np.ndarray, "*spatial"]) -> Iterator[UInt32[np.ndarray, "*slab"]]:
    at_once = max(1, SLAB_VOXELS // max(1, prod(labels.shape[1:])))
    for start in range(0, len(labels), at_once):
        yield np.array(labels[start : start + at_once])
        let_go(labels)
