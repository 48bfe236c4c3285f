"""Cases on the network's grid, prepared once and kept on disk."""

import collections
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int32, Integer, UInt8
from tqdm import tqdm

from seg.files import written_whole
from seg.images import Image, Mask
from seg.images.grid.orientation import turn_to, turned_image
from seg.transforms import prepare, resample_labels, surround
from training.dataset import Case, Dataset
from training.dataset.cases import ObjectNumbers
from training.dataset.in_processes import spread
from training.dataset.legend import IGNORE
from training.dataset.tuning import tuning_split
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


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A training case on the network's grid, memory-mapped."""

    image: Float32[np.ndarray, "c *grid"]
    labels: UInt8[np.ndarray, "*grid"]
    """Where the network learns borders of objects, these have labels of their own."""
    depths: UInt8[np.ndarray, "*grid"] | None
    """How deep each voxel lies in its object, in 255ths; None where nobody learns it."""
    locations: dict[int, np.ndarray]
    """For each foreground label that occurs: some of its voxels, ``(n, dims)``, memory-mapped."""
    annotated: np.ndarray | None
    """Some annotated voxels, ``(n, dims)``; None where all voxels are annotated."""


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
            np.save(folder / "depths.npy", depths(numbers, plan.spacing or (1.0,) * plan.dims))
        if learns_borders(plan):
            labels = with_borders(labels, numbers, classes, widths(plan))
    np.save(folder / "image.npy", surround(array, plan.margin, plan.patch))
    np.save(folder / "labels.npy", labels)
    rng = np.random.default_rng(plan.seed)
    places = folder / "places"
    places.mkdir()
    for label in np.unique(labels):
        if label not in (0, IGNORE):
            np.save(places / f"{label}.npy", _some(labels == label, rng))
        if label == IGNORE:
            np.save(folder / "annotated.npy", _some(labels != IGNORE, rng))


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
    """A preprocessed case, of which nothing is read yet."""
    annotated = folder / "annotated.npy"
    depths_file = folder / "depths.npy"
    return PreparedCase(
        image=np.load(folder / "image.npy", mmap_mode="r"),
        labels=np.load(folder / "labels.npy", mmap_mode="r"),
        depths=np.load(depths_file, mmap_mode="r") if depths_file.is_file() else None,
        locations={
            int(file.stem): np.load(file, mmap_mode="r")
            for file in sorted((folder / "places").iterdir(), key=lambda file: int(file.stem))
        },
        annotated=np.load(annotated, mmap_mode="r") if annotated.is_file() else None,
    )


def _some(
    where: Bool[np.ndarray, "*grid"], rng: np.random.Generator
) -> Int32[np.ndarray, "n dims"]:
    places = np.flatnonzero(where)
    if len(places) > LOCATIONS_A_CLASS:
        places = np.sort(rng.choice(places, LOCATIONS_A_CLASS, replace=False))
    return np.stack(np.unravel_index(places, where.shape), axis=1).astype(np.int32)


def prepare_cases(dataset: Dataset, plan: Plan, folder: Path) -> list[PreparedCase]:
    """Preprocess all training cases into ``folder``, or open them where that is done.

    Those that objects are tuned on are prepared too, and not among them.
    """
    if not folder.exists():
        with written_whole(folder) as beside:
            done = spread(partial(_prepare, dataset, plan, beside), dataset.train)
            bar = tqdm(done, total=len(dataset.train), desc="preparing", unit="case", disable=None)
            collections.deque(bar, maxlen=0)
    learnt = dataset.train if plan.instances == "none" else tuning_split(dataset.train)[0]
    return [open_case(folder / case.name) for case in learnt]


def _prepare(dataset: Dataset, plan: Plan, folder: Path, case: Case) -> None:
    image, mask = dataset.read(case)
    objects = dataset.read_objects(case, image, mask) if plan.instances != "none" else None
    prepare_case(image, mask, plan, folder / case.name, objects, len(dataset.classes))
