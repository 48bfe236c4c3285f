"""Files to files, without an image in memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from seg.images import ImageSource, open_channels, write_mask_parts
from seg.inference.predictor import Observe, Predictor
from seg.inference.tiling.ahead import ahead
from seg.inference.tiling.sliding_window import Progress, WindowCounts

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
        format: ``tiff`` (tiles, BigTIFF where needed) or ``nifti`` (gzipped unless the target ends
            with ``.nii``).
        progress: called with windows done and windows in all.
        observe: as of ``Predictor.predict``.

    Returns:
        What became of the windows.

    Raises:
        ImageError: the image cannot be read, or does not fit the model.
        UnsupportedImageError: the format can only be written as a whole.
    """
    counts = WindowCounts()
    paths = [sources] if isinstance(sources, Path) else sources
    with open_channels(paths, dims=predictor.package.card.input.dims) as source:
        parts = ahead(_parts(predictor, source, progress, counts, observe), PARTS_AHEAD)
        write_mask_parts(target, parts, source, format)
    return counts


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
