"""Cases on the network's grid, prepared once and kept on disk."""

import collections
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int32, Integer, UInt8
from scipy import ndimage
from tqdm import tqdm

from seg.files import written_whole
from seg.images import Image, Mask
from seg.images.grid.orientation import turn_to, turned_image
from seg.transforms import prepare, resample_labels, surround
from training.dataset import Case, Dataset
from training.dataset.cases import ObjectNumbers, image_digest, mask_digest, objects_digest
from training.dataset.in_processes import spread
from training.dataset.legend import IGNORE
from training.dataset.tuning import tuning_split
from training.run.data_record import meaning_of_masks
from training.run.plan import Plan
from training.samples.object_targets import (
    depths,
    learns_borders,
    learns_depths,
    widths,
    with_borders,
)

LOCATIONS_A_CLASS = 10_000
"""Voxels of each class that are remembered as centres for patches."""
OPEN_FILES = 32
"""Of all cases in each process: a map keeps its file open, and a process may open 1024 or so."""
IMAGE, LABELS, DEPTHS = "image.npy", "labels.npy", "depths.npy"
PLACES, SHOWN = "places.npy", "shown.npy"
ORIGIN = "origin"
"""File that tells what a case was prepared of, the last of its files."""
DECIDE = frozenset(
    {
        *("spacing", "normalisation", "margin", "orientation", "patch"),
        *("instances", "border_width", "seed"),
    }
)
"""Fields of a plan on which a prepared case depends."""


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A training case on the network's grid; its files are mapped while patches are cut from them.

    Only the ``OPEN_FILES`` that were used last stay open, so that any number of cases can be
    trained on.
    """

    folder: Path
    shown: dict[int, slice]
    """For each label that occurs, but background: where its voxels stand in the file of places."""

    @property
    def image(self) -> Float32[np.ndarray, "c *grid"]:
        """Intensities."""
        return _mapped(self, IMAGE)

    @property
    def labels(self) -> UInt8[np.ndarray, "*grid"]:
        """Where the network learns borders of objects, these have labels of their own."""
        return _mapped(self, LABELS)

    @property
    def depths(self) -> UInt8[np.ndarray, "*grid"] | None:
        """How deep each voxel lies in its object, in 255ths; None where nobody learns it."""
        return _mapped(self, DEPTHS) if (self.folder / DEPTHS).is_file() else None

    @property
    def foreground(self) -> list[int]:
        """The labels that occur, but background and what nobody annotated."""
        return [label for label in self.shown if label != IGNORE]

    def places_of(self, label: int) -> Int32[np.ndarray, "n dims"]:
        """Some voxels of a label that occurs."""
        return np.asarray(_mapped(self, PLACES)[self.shown[label]])

    @property
    def annotated(self) -> Int32[np.ndarray, "n dims"] | None:
        """Some annotated voxels; None where all voxels are annotated."""
        return self.places_of(IGNORE) if IGNORE in self.shown else None


@lru_cache(OPEN_FILES)
def _mapped(case: PreparedCase, name: str) -> np.ndarray:
    mapped: np.ndarray = np.load(case.folder / name, mmap_mode="r")
    return mapped


def prepare_case(
    image: Image,
    mask: Mask,
    plan: Plan,
    folder: Path,
    objects: ObjectNumbers | None = None,
    classes: int = 2,
) -> None:
    """Preprocess a case into a folder of its own.

    Args:
        image: of the case.
        mask: its labels.
        plan: says how.
        folder: to write.
        objects: their numbers, where the plan tells objects apart.
        classes: of the labels, background included.
    """
    turn = turn_to(image, plan.orientation)
    array = prepare(turned_image(image, turn), plan.preprocessing).array
    labels = _labels_on_grid(turn.there(mask.array), array.shape[1:], plan)
    folder.mkdir(parents=True)
    if objects is not None and plan.instances != "none":
        inner = resample_labels(turn.there(objects), array.shape[1:])[None]
        numbers = surround(inner, plan.margin, plan.patch)[0]
        if learns_depths(plan):
            np.save(folder / DEPTHS, depths(numbers, plan.spacing or (1.0,) * plan.dims))
        if learns_borders(plan):
            labels = with_borders(labels, numbers, classes, widths(plan))
    np.save(folder / IMAGE, surround(array, plan.margin, plan.patch))
    np.save(folder / LABELS, labels)
    _save_places(labels, folder, np.random.default_rng(plan.seed))


def _save_places(
    labels: UInt8[np.ndarray, "*grid"], folder: Path, rng: np.random.Generator
) -> None:
    """Places of all labels in one file, since classes times cases are many files."""
    places: list[np.ndarray] = [np.empty((0, labels.ndim), np.int32)]
    shown: list[tuple[int, int, int]] = []
    boxes: Sequence[tuple[slice, ...] | None] = ndimage.find_objects(labels)
    for label, box in enumerate(boxes, start=1):
        if box is None:
            continue
        if label == IGNORE:
            found = _some(labels != IGNORE, rng)
        else:  # a class fills a small part of a body, and is looked for there alone
            found = _some(labels[box] == label, rng)
            found += np.array([side.start for side in box], np.int32)
        first = shown[-1][2] if shown else 0
        shown.append((label, first, first + len(found)))
        places.append(found)
    np.save(folder / PLACES, np.concatenate(places))
    np.save(folder / SHOWN, np.array(shown, np.int64).reshape(-1, 3))


def on_the_network_s_grid(
    image: Image, mask: Mask, plan: Plan
) -> tuple[Float32[np.ndarray, "c *grid"], UInt8[np.ndarray, "*grid"]]:
    """Image and labels as patches are cut from them.

    Turned to the plan's orientation, resampled, normalised, with their margin.
    """
    turn = turn_to(image, plan.orientation)
    array = prepare(turned_image(image, turn), plan.preprocessing).array
    labels = _labels_on_grid(turn.there(mask.array), array.shape[1:], plan)
    return surround(array, plan.margin, plan.patch), labels


def _labels_on_grid(
    stored: Integer[np.ndarray, "*spatial"], shape: tuple[int, ...], plan: Plan
) -> UInt8[np.ndarray, "*grid"]:
    labels = resample_labels(stored.astype(np.uint8), shape)
    # around an image that is annotated in parts nothing is annotated: 0 ^ 255
    flip = IGNORE if (labels == IGNORE).any() else 0
    return np.asarray(surround(labels[None] ^ flip, plan.margin, plan.patch)[0] ^ flip)


def open_case(folder: Path) -> PreparedCase:
    """A preprocessed case, of which only the labels that occur are read yet."""
    shown = np.load(folder / SHOWN).tolist()
    return PreparedCase(folder, {label: slice(first, stop) for label, first, stop in shown})


def _some(
    where: Bool[np.ndarray, "*grid"], rng: np.random.Generator
) -> Int32[np.ndarray, "n dims"]:
    places = np.flatnonzero(where)
    if len(places) > LOCATIONS_A_CLASS:
        places = np.sort(rng.choice(places, LOCATIONS_A_CLASS, replace=False))
    return np.stack(np.unravel_index(places, where.shape), axis=1).astype(np.int32)


def prepare_cases(dataset: Dataset, plan: Plan, folder: Path) -> list[PreparedCase]:
    """Preprocess all training cases into ``folder``, or open them where that is done.

    What was prepared of other files, or by another plan, is prepared anew. Cases that objects are
    tuned on are prepared too, and not among those that are opened.
    """
    origins = _origins(dataset, plan)
    if any(_told_in(folder / name) != origin for name, origin in origins.items()):
        with written_whole(folder) as beside:
            done = spread(partial(_prepare, dataset, plan, beside), dataset.train)
            bar = tqdm(done, total=len(dataset.train), desc="preparing", unit="case", disable=None)
            collections.deque(bar, maxlen=0)
            for name, origin in origins.items():
                _note(beside / name, origin)
    return open_cases(dataset, plan, folder)


def open_cases(dataset: Dataset, plan: Plan, folder: Path) -> list[PreparedCase]:
    """The cases to learn from, which ``prepare_cases`` has prepared, by whatever process."""
    learnt = dataset.train if plan.instances == "none" else tuning_split(dataset.train)[0]
    return [open_case(folder / case.name) for case in learnt]


def _origins(dataset: Dataset, plan: Plan) -> dict[str, str]:
    """For each case a digest of all that it depends on when it is prepared."""
    meaning = meaning_of_masks(dataset), len(dataset.classes)
    planned = plan.model_dump_json(include=set(DECIDE))
    origins = {}
    for case in dataset.train:
        files = image_digest(case), mask_digest(case), objects_digest(case)
        told = (*files, *meaning, planned)
        origins[case.name] = hashlib.sha256(repr(told).encode()).hexdigest()
    return origins


def _note(folder: Path, origin: str) -> None:
    files = sorted(folder.glob("*.npy"))
    lines = [origin, *(f"{file.name} {file.stat().st_size}" for file in files)]
    (folder / ORIGIN).write_text("\n".join(lines), encoding="ascii")


def _told_in(folder: Path) -> str | None:
    """What a prepared case was made of; None where there is none whose files are whole."""
    try:
        origin, *lines = (folder / ORIGIN).read_text("ascii").splitlines()
        sizes = {name: int(size) for name, size in map(str.split, lines)}
        is_whole = all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return None
    return origin if is_whole else None


def _prepare(dataset: Dataset, plan: Plan, folder: Path, case: Case) -> None:
    image, mask = dataset.read(case)
    objects = dataset.read_objects(case, image, mask) if plan.instances != "none" else None
    prepare_case(image, mask, plan, folder / case.name, objects, len(dataset.classes))
