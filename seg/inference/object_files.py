"""Objects of images that stay in their files: labels and table, with bounded memory."""

import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt32

from seg.files import replaced_file
from seg.images import ImageSource, Mask, write_objects_parts
from seg.images.grid.orientation import turned_source
from seg.images.storage.file_backed import let_go
from seg.inference.backends.features import Heard
from seg.inference.predictor import Predictor
from seg.inference.resolution import open_at
from seg.inference.tiling.sliding_window import Progress, WindowCounts
from seg.inference.trust.quality import QualityMeter
from seg.inference.unfinished import Unfinished
from seg.objects import Count, Objects, ObjectsMeter, columns_of, object_parts
from seg.objects.blocks import DecodedBlocks, Journal
from seg.objects.label_images import write_zarr
from seg.objects.measurements import Cell, measure_in_bands
from seg.objects.outlines import boxes_in, write_rois
from seg.objects.writing import write_parquet

SLAB_VOXELS = 2**22
ROWS = "rows"


@dataclass(frozen=True, eq=False)
class ObjectsInFile:
    """What was found in an image that stayed in its file."""

    windows: WindowCounts
    counts: dict[str, Count]
    """By class."""
    are_told_apart: bool
    warnings: tuple[str, ...]
    """As ``Predictor.warnings``."""


def predict_objects_file(  # noqa: PLR0913 - what may be chosen of one image
    predictor: Predictor,
    sources: Sequence[Path],
    targets: Mapping[Path, str],
    progress: Progress | None = None,
    *,
    observe: QualityMeter | None = None,
    mpp: float | None = None,
    unfinished: Unfinished | None = None,
) -> ObjectsInFile:
    """Write objects, each file whole or not at all.

    The very objects of ``Predictor.objects``. Memory holds a patch's depth of the image and a block
    of what is known of its voxels, of which seven bytes a voxel lie in a folder meanwhile; where
    the package has rules of postprocessing, memory holds the mask as well, and the folder a byte
    more.

    Args:
        predictor: of a package that fits the image.
        sources: of the image, one file or one a channel.
        targets: of each the format, of ``STREAMED_OBJECT_FORMATS`` or ``ROWS``: a line of JSON
            for each object, as ``measure_objects`` has them.
        progress: called with windows done and windows in all.
        observe: sees the parts of the image.
        mpp: micrometres a pixel at which a picture is segmented; None is the file's own.
        unfinished: what a run that was stopped has left, from where this one goes on, at the row
            of windows or at the block where it stood; None begins anew in a temporary folder.

    Raises:
        ImageError: the image cannot be read, or does not fit the model.
    """
    with (
        open_at(sources, dims=predictor.package.card.input.dims, mpp=mpp) as source,
        ExitStack() as stack,
    ):
        if unfinished is None:
            folder = tempfile.mkdtemp(dir=next(iter(targets)).parent, prefix=".objects-")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            unfinished = stack.enter_context(Unfinished(Path(folder)))
        found, counts = _objects_of(predictor, source, unfinished, progress, observe)
        stored = replace(
            found,
            spacing=source.spacing,
            affine=source.affine,
            reduction=source.reduction,
            region=predictor.selection.region_on(source),
            source=sources[0].name,
        )
        lines = unfinished.path("rows")
        _write_rows(lines, stored, source)
        for target, format in targets.items():
            _write(stored, format, target, source, lines)
        warnings = (*source.notes, *predictor.warnings(source), *stored.notes)
        return ObjectsInFile(counts, dict(stored.counts), stored.are_told_apart, warnings)


def _objects_of(
    predictor: Predictor,
    source: ImageSource,
    unfinished: Unfinished,
    progress: Progress | None,
    observe: QualityMeter | None,
) -> tuple[Objects, WindowCounts]:
    card = predictor.package.card
    turn = predictor.turn_of(source)
    turned = turned_source(source, turn)
    shape = tuple(turned.spatial_shape)
    notes = _Notes(unfinished, observe or QualityMeter(card))
    meter = ObjectsMeter(card, shape, unfinished.array, notes)
    classes = unfinished.array("classes", np.uint8, shape)
    if notes.rows < shape[0]:
        parts = predictor.rows_observed(
            turned, meter, progress, notes.counts, notes.meter, notes.rows
        )
        for start, rows in parts:
            classes[start : start + len(rows)] = rows
            let_go(classes)
            notes.took_rows(start + len(rows), is_last=start + len(rows) == shape[0])
    if card.postprocessing.has_rules:
        # apart from the classes, as a run that goes on starts from those: rules may take more of
        # what they have left
        finished = unfinished.array("finished", np.uint8, shape)
        finished[:] = predictor.finished(np.asarray(classes))
        classes = finished
    mask = Mask(classes, spacing=turned.spacing, affine=turned.affine)
    objects = predictor.objects_within(meter, mask)
    return replace(objects, labels=turn.back(objects.labels)), notes.counts


class _Notes(Journal):
    """How far an image is, kept beside its arrays."""

    def __init__(self, unfinished: Unfinished, meter: QualityMeter) -> None:
        self._unfinished, self.meter = unfinished, meter
        self.counts = WindowCounts()
        known = unfinished.known
        self.rows = int(known.get("rows", 0))
        """Of the image, through the network."""
        if not self.rows:
            return
        counts = self.counts
        numbers = map(int, known["numbers"])
        counts.total, counts.unfounded, counts.founded, counts.unfounded_to = numbers
        counts.skipped_at = known["skipped_at"].tolist()
        counts.skipped = len(counts.skipped_at)
        for number in range(int(known["told"])):
            heard = Heard(str(known[f"network-{number}"]), known[f"features-{number}"])
            counts.told.append((tuple(known[f"at-{number}"].tolist()), heard))
        meter.state = (known["sums"], known["seen"])

    def took_rows(self, rows: int, *, is_last: bool) -> None:
        """So many rows are in the arrays."""
        if not is_last and not self._unfinished.is_time:
            return
        counts = self.counts
        told = list(counts.told)
        facts: dict[str, Any] = {
            "rows": rows,
            "numbers": (
                counts.total,
                counts.unfounded,
                counts.founded,
                counts.unfounded_to,
            ),
            "skipped_at": np.array(counts.skipped_at, np.int64),
            "told": len(told),
        }
        facts["sums"], facts["seen"] = self.meter.state
        for number, (at, heard) in enumerate(told):
            facts[f"at-{number}"] = np.array(at, np.int64)
            facts[f"network-{number}"], facts[f"features-{number}"] = heard
        self._unfinished.note(facts)

    def resumed(self) -> DecodedBlocks | None:
        """Where the blocks of an earlier run ended."""
        known = self._unfinished.known
        if not int(known.get("blocks", 0)):
            return None
        return DecodedBlocks(
            known["classes"], known["first"], int(known["again"]), int(known["blocks"])
        )

    def took(self, blocks: int, classes: Sequence[int], first: Collection[int], again: int) -> None:
        """So many blocks are in the array of labels."""
        if self._unfinished.is_time:
            facts = {"blocks": blocks, "again": again}
            arrays = {"classes": np.array(classes, np.uint8), "first": np.array(list(first))}
            self._unfinished.note(facts | arrays)

    def ends(self) -> None:
        """Labels are renumbered and split in place now: a run that stops here decodes again."""
        self._unfinished.note({"blocks": 0})


def _write(objects: Objects, format: str, target: Path, source: ImageSource, rows: Path) -> None:
    if format.startswith("instances") and format != "instances-zarr":
        labels, flat = objects.labels, (slice(None),) * (objects.dims - 2)
        write_objects_parts(
            target,
            lambda n: _slabs(labels[(*flat, slice(None, None, n), slice(None, None, n))], n),
            source,
        )
        return
    with replaced_file(target) as part:
        if format == "instances-zarr":
            write_zarr(objects, part)
        elif format == ROWS:
            shutil.copyfile(rows, part)
        elif format == "objects-parquet":
            write_parquet(objects, columns_of(objects, source), rows_in(rows), part)
        elif format == "objects-rois":
            write_rois(objects, boxes_in(rows_in(rows), objects.dims), part)
        else:
            with part.open("wb") as file:
                file.writelines(
                    object_parts(objects, format, columns_of(objects, source), rows_in(rows))
                )


def _write_rows(path: Path, objects: Objects, source: ImageSource) -> None:
    """A line of JSON for each object, object 1 first."""
    measured = path.with_name("measured")
    starts = np.zeros(len(objects), np.int64)
    with measured.open("wb") as file:
        for row in measure_in_bands(objects, source):
            starts[int(row["label"] or 0) - 1] = file.tell()
            file.write(json.dumps(row).encode() + b"\n")
    if (np.diff(starts) > 0).all():
        measured.replace(path)
        return
    with measured.open("rb") as lines, path.open("wb") as file:
        for start in starts.tolist():
            lines.seek(start)
            file.write(lines.readline())
    measured.unlink()


def rows_in(path: Path) -> Iterator[dict[str, Cell]]:
    """The rows of a file of ``ROWS``."""
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def _slabs(
    labels: UInt32[np.ndarray, "*spatial"], step: int
) -> Iterator[UInt32[np.ndarray, "*slab"]]:
    """Of every so many voxels along the last axes; the file is read in slabs of one size."""
    at_once = max(1, SLAB_VOXELS // (step**2 * max(1, prod(labels.shape[1:]))))
    for start in range(0, len(labels), at_once):
        yield np.array(labels[start : start + at_once])
        let_go(labels)
