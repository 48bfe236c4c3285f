"""Objects of images that stay in their files: labels and table, with bounded memory."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import UInt32

from seg.images import Mask, open_channels, write_objects_parts
from seg.images.grid.orientation import turned_source
from seg.inference.predictor import Observe, Predictor
from seg.inference.tiling.sliding_window import Progress, WindowCounts
from seg.objects import Count, ObjectsMeter
from seg.objects.file_backed import let_go
from seg.objects.measurements import Cell, measure_in_bands

SLAB_VOXELS = 2**22


@dataclass(frozen=True, eq=False)
class ObjectsInFile:
    """What was found in an image that stayed in its file."""

    windows: WindowCounts
    counts: dict[str, Count]
    """By class."""
    rows: list[dict[str, Cell]]
    """As ``measure_objects`` has them."""
    are_told_apart: bool


def predict_objects_file(
    predictor: Predictor,
    sources: Sequence[Path],
    target: Path,
    progress: Progress | None = None,
    *,
    observe: Observe | None = None,
) -> ObjectsInFile:
    """Write the numbers of all objects, whole or not at all, and measure each.

    The very objects of ``Predictor.objects``. Memory holds a patch's depth of the image and a block
    of what is known of its voxels, of which seven bytes a voxel lie in a temporary folder; where
    the package has rules of postprocessing, memory holds the mask as well.

    Args:
        predictor: of a package that fits the image.
        sources: of the image, one file or one a channel.
        target: TIFF, or NIfTI by its ending.
        progress: called with windows done and windows in all.
        observe: as of ``Predictor.predict``.

    Raises:
        ImageError: the image cannot be read, or does not fit the model.
    """
    card, counts = predictor.package.card, WindowCounts()
    with (
        open_channels(sources, dims=card.input.dims) as source,
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".objects-") as folder,
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
        write_objects_parts(target, _slabs(labels), source)
        stored = replace(objects, labels=labels, spacing=source.spacing, affine=source.affine)
        return ObjectsInFile(
            counts,
            dict(objects.counts),
            list(measure_in_bands(stored, source)),
            objects.are_told_apart,
        )


def _slabs(labels: UInt32[np.ndarray, "*spatial"]) -> Iterator[UInt32[np.ndarray, "*slab"]]:
    at_once = max(1, SLAB_VOXELS // max(1, prod(labels.shape[1:])))
    for start in range(0, len(labels), at_once):
        yield np.array(labels[start : start + at_once])
        let_go(labels)
