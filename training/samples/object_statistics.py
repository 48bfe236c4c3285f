"""Sizes of objects on the network's grid, by which they are planned."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from scipy import ndimage

from training.dataset import Case, Dataset

MOST_CASES = 8
"""Read for it, spread over all."""
LEAST_HALO = 16


@dataclass(frozen=True)
class ObjectStatistics:
    """Of the objects of some training cases."""

    objects: int
    radius: float
    """5th percentile of the largest depth, in mm, or in voxels where no spacing is known."""
    diameter: float
    """99th percentile of the longest edge of a box, in the same unit."""
    smallest: dict[str, int]
    """By class the 1st percentile of sizes, in voxels of the images."""

    def border_width(self, voxel: float) -> int:
        """2 where objects are large, 1 voxel else: at most a quarter of a small object's radius."""
        return int(np.clip(self.radius / (4 * voxel), 1, 2))

    def halo(self, voxel: float) -> int:
        """Two diameters of a large object, in voxels."""
        return max(LEAST_HALO, round(2 * self.diameter / voxel))


def object_statistics(dataset: Dataset, cases: Sequence[Case]) -> ObjectStatistics:
    """Measure the objects of some of the cases.

    Raises:
        DatasetError: a case cannot be read.
    """
    count = min(MOST_CASES, len(cases))
    radii: list[float] = []
    diameters: list[float] = []
    sizes: dict[str, list[int]] = {info.name: [] for info in dataset.classes[1:]}
    for number in range(count):
        case = cases[number * len(cases) // count]
        image, mask = dataset.read(case)
        objects = dataset.read_objects(case, image, mask)
        spacing = image.spacing or (1.0,) * image.dims
        for index, box in enumerate(ndimage.find_objects(objects), start=1):
            inside = np.pad(objects[box] == index, 1)
            edges = [(s.stop - s.start) * mm for s, mm in zip(box, spacing, strict=True)]
            diameters.append(max(edges))
            radii.append(float(ndimage.distance_transform_edt(inside, sampling=spacing).max()))
            label = int(mask.array[box][objects[box] == index][0])
            sizes[dataset.legend.in_words(label)].append(int(inside.sum()))
    if not radii:
        return ObjectStatistics(0, 1.0, 1.0, dict.fromkeys(sizes, 1))
    return ObjectStatistics(
        objects=len(radii),
        radius=float(np.percentile(radii, 5)),
        diameter=float(np.percentile(diameters, 99)),
        smallest={name: int(np.percentile(each, 1)) if each else 1 for name, each in sizes.items()},
    )


def voxel_edge(spacing: Sequence[float | None] | None) -> float:
    """Finest edge of a grid, in mm; 1 where it is not known."""
    return min((mm for mm in spacing or () if mm is not None), default=1.0)


def voxel_volume(spacing: Sequence[float | None] | None) -> float:
    """In mm; 1 where it is not known."""
    return prod(mm for mm in spacing or () if mm is not None)
