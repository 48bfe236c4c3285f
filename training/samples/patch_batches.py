"""Batches of training patches, out of preprocessed cases that stay on disk.

Letters: ``b`` batch, ``c`` channels. A patch depends on the seed, its batch's number and its place
there alone, so a run that is resumed, or that has another number of workers or of processes that
share the work, sees the same batches.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch.utils.data import IterableDataset, get_worker_info

from training.run.plan import Plan
from training.samples.augmentation import Augmentation, Begun
from training.samples.prepared_cases import PreparedCase

_Region = tuple[
    Float32[np.ndarray, "c *region"], UInt8[np.ndarray, "planes *region"], np.random.Generator
]
Batch = Any
"""Images ``(b, c, *patch)`` and labels, or ``Begun`` a sample, whose shapes differ."""


class PatchBatches(IterableDataset[Batch]):
    """An endless row of batches ``(b, c, *patch)`` with labels ``(b, 1, *patch)``.

    Where depths within objects are learnt they are a second plane of the labels, in 255ths. Where
    the plan augments on the device, a batch is what ``training.samples.on_device`` finishes.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        plan: Plan,
        augmentation: Augmentation,
        first_batch: int = 0,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        """Batches from ``first_batch`` on; ``part`` is which of how many equal parts of each."""
        self.cases = cases
        self.shown_by = {
            label: [case for case in cases if label in case.shown]
            for label in sorted(set().union(*(case.foreground for case in cases)))
        }
        """The cases that show each foreground label, however few."""
        self.plan = plan
        self.augmentation = augmentation
        self.first_batch = first_batch
        index, count = part
        size = plan.batch_size
        self.places = range(index * size // count, (index + 1) * size // count)
        """Of this part's samples in the whole batch."""
        self._unfinished = plan.augment_on == "device"

    @property
    def bytes(self) -> int:
        """Of a batch: float32 images, labels of one byte."""
        shapes = self.augmentation.largest if self._unfinished else self.plan.patch
        voxels = len(self.places) * math.prod(shapes)
        return voxels * (4 * len(self.plan.normalisation) + 1)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        offset, step = (worker.id, worker.num_workers) if worker else (0, 1)
        number = self.first_batch + offset
        while True:
            yield self.batch(number)
            number += step

    def batch(self, number: int) -> Batch:
        """Batch ``number`` of the run, or this part of it."""
        plain = self.plan.batch_size - round(self.plan.batch_size * self.plan.foreground_share)
        samples = [
            self._sample(np.random.default_rng([self.plan.seed, number, i]), show_class=i >= plain)
            for i in self.places
        ]
        if self._unfinished:
            return [in_torch(self.augmentation.begin(*sample)) for sample in samples]
        images, labels = zip(*(self.augmentation(*sample) for sample in samples), strict=True)
        return (
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(np.stack(labels)),  # one byte a voxel on its way to a card
        )

    def _sample(self, rng: np.random.Generator, show_class: bool) -> _Region:
        if show_class and self.shown_by:  # each label as often as any other, however rare it is
            label = int(rng.choice(list(self.shown_by)))
            case = self.shown_by[label][int(rng.integers(len(self.shown_by[label])))]
            places: np.ndarray | None = case.places_of(label)
        else:
            case = self.cases[int(rng.integers(len(self.cases)))]
            places = case.annotated
        region = self.augmentation.region(rng)
        shape = case.labels.shape
        region = tuple(min(n, size) for n, size in zip(region, shape, strict=True))
        if places is not None and len(places):
            centre = places[rng.integers(len(places))]
            start = [
                int(np.clip(c - n // 2, 0, size - n))
                for c, n, size in zip(centre, region, shape, strict=True)
            ]
        else:
            start = [int(rng.integers(s - n + 1)) for n, s in zip(region, shape, strict=True)]
        at = tuple(slice(s, s + n) for s, n in zip(start, region, strict=True))
        planes = [case.labels] if case.depths is None else [case.labels, case.depths]
        labels = np.stack([plane[at] for plane in planes])
        return np.array(case.image[:, *at]), labels, rng


def in_torch(begun: Begun) -> Begun:
    """With tensors, which travel to a device."""
    image, planes = (torch.from_numpy(np.ascontiguousarray(each)) for each in begun[:2])
    return begun._replace(image=image, planes=planes)
