"""Files to files, without an image in memory."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from seg.images import ImageSource, write_mask_parts
from seg.images.writing_parts import Known
from seg.inference.predictor import Predictor
from seg.inference.resolution import open_at
from seg.inference.slab_labels import Observe
from seg.inference.tiling.ahead import ahead
from seg.inference.tiling.sliding_window import Progress, WindowCounts

SLAB_VOXELS = 2**24
"""Labels that are read at once of a temporary file."""

PARTS_AHEAD = 2
"""Parts of the mask that wait to be written."""


def predict_file(
    predictor: Predictor,
    sources: Path | Sequence[Path],
    target: Path,
    format: str,
    progress: Progress | None = None,
    *,
    observe: Observe | None = None,
) -> WindowCounts:
    """Write the mask of an image that stays in its file, whole or not at all.

    Memory holds one patch's depth of the image and of its logits; where the package has rules of
    postprocessing, the mask as well.

    Args:
        predictor: of a package that fits the image.
        sources: the image: TIFF or NIfTI of any size, other formats within the limits of
            ``read_image``; one file, or one a channel.
        target: of the mask.
        format: one of ``STREAMED_FORMATS``: ``tiff`` (tiles, BigTIFF where needed), ``nifti``
            (gzipped unless the target ends with ``.nii``), outlines or a table.
        progress: called with windows done and windows in all.
        observe: as of ``Predictor.predict``.

    Returns:
        What became of the windows.

    Raises:
        ImageError: the image cannot be read, or does not fit the model.
        UnsupportedImageError: the format can only be written as a whole.
    """
    return predict_files(predictor, sources, {target: format}, progress, observe=observe)


def predict_files(
    predictor: Predictor,
    sources: Path | Sequence[Path],
    targets: Mapping[Path, str],
    progress: Progress | None = None,
    *,
    observe: Observe | None = None,
    mpp: float | None = None,
) -> WindowCounts:
    """The same in several formats, by target: the labels then wait in a temporary file.

    A picture is segmented with pixels of ``mpp`` micrometres, or the file's own.

    Raises:
        ImageError: as ``predict_file``.
        UnsupportedImageError: a format can only be written as a whole.
    """
    counts = WindowCounts()
    paths = [sources] if isinstance(sources, Path) else sources
    card = predictor.package.card
    classes = predictor.selection.classes_of(card)
    with ExitStack() as stack:
        source = stack.enter_context(open_at(paths, dims=card.input.dims, mpp=mpp))
        parts = ahead(_parts(predictor, source, progress, counts, observe), PARTS_AHEAD)
        image: ImageSource | None = source
        if len(targets) == 1:
            measured = "csv" in targets.values()  # while the other one is read
            again = open_at(paths, dims=card.input.dims, mpp=mpp) if measured else nullcontext(None)
            image = stack.enter_context(again)
        else:
            file = stack.enter_context(tempfile.TemporaryFile())
            labels = np.memmap(file, np.uint8, "w+", shape=tuple(source.spatial_shape))
            _fill(labels, parts)
        known = Known(classes=classes, image=image, name=paths[0].name)
        for target, format in targets.items():
            written = parts if len(targets) == 1 else _slabs(labels)
            write_mask_parts(target, written, source, format, known)
    return counts


def _fill(
    labels: UInt8[np.ndarray, "*spatial"], parts: Iterator[UInt8[np.ndarray, "*slab"]]
) -> None:
    start = 0
    for part in parts:
        labels[start : start + len(part)] = part
        start += len(part)


def _slabs(labels: UInt8[np.ndarray, "*spatial"]) -> Iterator[UInt8[np.ndarray, "*slab"]]:
    at_once = max(1, SLAB_VOXELS // max(1, prod(labels.shape[1:])))
    for start in range(0, len(labels), at_once):
        yield np.array(labels[start : start + at_once])


def _parts(
    predictor: Predictor,
    source: ImageSource,
    progress: Progress | None,
    counts: WindowCounts,
    observe: Observe | None,
) -> Iterator[UInt8[np.ndarray, "*slab"]]:
    card = predictor.package.card
    parts = predictor.label_rows(source, progress, counts, observe)
    if not card.postprocessing.has_rules:
        yield from (predictor.selection.applied(rows, card.classes) for _, rows in parts)
        return
    labels = np.empty(source.spatial_shape, np.uint8)
    for start, rows in parts:
        labels[start : start + len(rows)] = rows
    yield predictor.finished(labels, predictor.turn_of(source))
