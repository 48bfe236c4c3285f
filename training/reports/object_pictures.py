"""Pictures of objects told apart: what was matched, missed, merged, split and invented."""

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import Bool, Integer, UInt8
from scipy import ndimage

from seg.images import ClassInfo, read_mask
from seg.images.pictures.overlay import as_rgb
from seg.metrics import Fate, fates_of, overlaps
from training.dataset import IGNORE, Dataset
from training.evaluation.evaluator import objects_file, prediction_file
from training.evaluation.object_scores import judged
from training.evaluation.scores import Evaluation
from training.reports.pages import uri

COLORS: Mapping[Fate, tuple[int, int, int]] = {
    "merged": (204, 121, 167),
    "split": (230, 159, 0),
    "missed": (213, 94, 0),
    "invented": (240, 228, 66),
    "matched": (0, 158, 115),
}
"""Told apart by people of all kinds of sight (Okabe & Ito), the worst first."""
MOST_CASES = 3
MOST_CROPS = 12
CROP_PIXELS = 160
"""Height and width of a crop on the page."""
MARGIN = 0.6
"""Of an object's size, around it in its crop."""
LONGEST_EDGE = 1200
CROPPED: tuple[Fate, ...] = ("merged", "split", "missed")
"""Fates that get a crop, in the order of the page."""

Picture = UInt8[np.ndarray, "y x 3"]
Labels = Integer[np.ndarray, "y x"]


@dataclass(frozen=True)
class Crop:
    """One reference object that went wrong, with its surroundings."""

    fate: Fate
    uri: str


@dataclass(frozen=True)
class ShownObjects:
    """The objects of one class in a case."""

    case: str
    name: str
    place: str
    counts: Mapping[Fate, int]
    """Of the reference, and those that were invented."""
    panels: Mapping[str, str]
    """Reference and prediction as data URIs."""
    crops: tuple[Crop, ...]


def objects_shown(
    predictions: Path, dataset: Dataset, evaluation: Evaluation
) -> list[ShownObjects]:
    """The cases with most objects that were merged, split, missed or invented.

    Args:
        predictions: folder of the evaluation, with the numbers of the predicted objects.
        dataset: whose files are read.
        evaluation: its scores.
    """
    if not dataset.has_objects:
        return []
    wrong = {
        (case.case, name): score.merged
        + score.split
        + score.predicted
        + score.reference
        - 2 * score.hits[0]
        for case in evaluation.cases
        for name, score in case.objects.items()
    }
    ranked = sorted((pair for pair in wrong if wrong[pair]), key=lambda pair: -wrong[pair])
    classes = {info.name: info for info in dataset.classes}
    shown = [
        _shown(predictions, dataset, case, classes[name]) for case, name in ranked[:MOST_CASES]
    ]
    return [each for each in shown if each is not None]


def _shown(predictions: Path, dataset: Dataset, name: str, info: ClassInfo) -> ShownObjects | None:
    case = next(each for each in dataset.cases if each.name == name)
    image, mask = dataset.read(case)
    kept = objects_file(predictions, name, image.dims)
    if not kept.is_file():  # of an evaluation of before
        return None
    numbers = dataset.read_objects(case, image, mask)
    classes = dataset.legend.painted(mask.array)
    reference = np.where(classes == info.index, numbers, 0)
    stored = read_mask(kept, dims=image.dims).array
    said = read_mask(prediction_file(predictions, name, image.dims), dims=image.dims).array
    own = np.where(said == info.index, stored, 0)
    prediction = judged(own, reference, classes != IGNORE)
    ours, theirs = fates_of(overlaps(prediction, reference))
    picture, place = image.array, ""
    if image.dims == 3:
        z = _fullest(prediction, ours, reference, theirs)
        picture, prediction, reference = picture[:, z], prediction[z], reference[z]
        place = f"slice {z + 1} of {image.spatial_shape[0]}"
    grey = as_rgb(picture)
    counts = Counter(theirs.values())
    counts["invented"] = sum(fate == "invented" for fate in ours.values())
    return ShownObjects(
        case=name,
        name=info.name,
        place=place,
        counts={fate: counts[fate] for fate in COLORS},
        panels={
            "reference": _uri(_thinned(outlined(grey, reference, theirs))),
            "prediction": _uri(_thinned(outlined(grey, prediction, ours))),
        },
        crops=tuple(_crops(grey, reference, prediction, theirs)),
    )


def _fullest(
    prediction: Integer[np.ndarray, "z y x"],
    ours: Mapping[int, Fate],
    reference: Integer[np.ndarray, "z y x"],
    theirs: Mapping[int, Fate],
) -> int:
    """The slice with most voxels of objects that went wrong."""
    bad = [number for number, fate in theirs.items() if fate != "matched"]
    worse = [number for number, fate in ours.items() if fate != "matched"]
    voxels = np.isin(reference, bad) | np.isin(prediction, worse)
    return int(voxels.sum(axis=(1, 2)).argmax())


def outlined(picture: Picture, labels: Labels, fates: Mapping[int, Fate]) -> Picture:
    """The picture with the inner border of each object in the colour of what became of it."""
    drawn = picture.copy()
    table = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    for number, fate in fates.items():
        if number < len(table):
            table[number] = COLORS[fate]
    border = _border(labels)
    drawn[border] = table[labels[border]]
    return drawn


def _border(labels: Labels) -> Bool[np.ndarray, "y x"]:
    """Pixels of objects beside one that is not of the same."""
    near = ndimage.generate_binary_structure(2, 1)
    highest = ndimage.grey_dilation(labels, footprint=near)
    lowest = ndimage.grey_erosion(labels, footprint=near)
    return np.asarray((labels > 0) & (highest != lowest))


def _crops(
    picture: Picture, reference: Labels, prediction: Labels, fates: Mapping[int, Fate]
) -> list[Crop]:
    """Reference in the colour of its fate, prediction in white, merged and split objects first."""
    drawn = picture.copy()
    drawn[_border(prediction)] = 255
    drawn = outlined(drawn, reference, fates)
    boxes = ndimage.find_objects(reference.astype(np.int32))
    found: list[Crop] = []
    for fate in CROPPED:
        for number in (number for number, each in fates.items() if each == fate):
            box = boxes[number - 1] if number <= len(boxes) else None
            if box is None or len(found) == MOST_CROPS:
                continue
            found.append(Crop(fate, _uri(_cropped(drawn, box))))
    return found


def _cropped(drawn: Picture, box: tuple[slice, ...]) -> Picture:
    edge = max(side.stop - side.start for side in box) * (1 + 2 * MARGIN)
    middle = [(side.start + side.stop) / 2 for side in box]
    around = tuple(slice(max(0, int(at - edge / 2)), int(at + edge / 2) + 1) for at in middle)
    part = PIL.Image.fromarray(drawn[around])
    factor = max(1, CROP_PIXELS // max(part.size))
    return np.asarray(
        part.resize([side * factor for side in part.size], PIL.Image.Resampling.NEAREST)
    )


def _thinned(picture: Picture) -> Picture:
    step = -(-max(picture.shape[:2]) // LONGEST_EDGE)
    return picture[::step, ::step]


def _uri(picture: Picture) -> str:
    content = io.BytesIO()
    PIL.Image.fromarray(picture).save(content, "WEBP", lossless=True)
    return uri("image/webp", content.getvalue())
