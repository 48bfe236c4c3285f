"""``Dataset``: what a folder of images and masks holds, whatever its layout."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Integer, UInt8

from seg.errors import DatasetError, ImageError
from seg.files import sha256_of
from seg.images import ClassInfo, Image, Mask, read_channels, read_mask
from seg.model_package import Channel
from training.dataset.legend import IGNORE, Legend

Split = Literal["train", "test"]

TEST_SHARE = 0.2
"""Share of the cases held out where the folder names no test cases."""

_PLACE_TOLERANCE = 0.05
"""Of a voxel: headers hold rounded numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One image, in one file or one file a channel, and its mask."""

    name: str
    images: tuple[Path, ...]
    mask: Path
    split: Split


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """The cases of a folder; their files are read one at a time, when asked for."""

    name: str
    folder: Path
    dims: Literal[2, 3]
    legend: Legend
    channels: tuple[Channel, ...]
    cases: tuple[Case, ...]
    label_values: Mapping[int, int] = field(default_factory=dict)
    """Value in the mask files to label; empty where both are the same."""
    licence: str = "not stated"

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Background first."""
        return self.legend.classes

    @property
    def train(self) -> tuple[Case, ...]:
        """The cases to train and to validate on."""
        return tuple(case for case in self.cases if case.split == "train")

    @property
    def test(self) -> tuple[Case, ...]:
        """The cases that no training sees."""
        return tuple(case for case in self.cases if case.split == "test")

    def read(self, case: Case) -> tuple[Image, Mask]:
        """The image and its mask, labels as the legend has them.

        Raises:
            DatasetError: a file cannot be read, or both do not fit together or the dataset.
        """
        try:
            image = read_channels(case.images, dims=self.dims)
            mask = read_mask(case.mask, dims=self.dims)
        except ImageError as error:
            raise DatasetError(f"case {case.name}: {error}") from error
        if image.channels != len(self.channels):
            raise DatasetError(
                f"case {case.name}: the dataset has {len(self.channels)} channels, the image "
                f"{image.channels}"
            )
        if image.spatial_shape != mask.spatial_shape:
            raise DatasetError(
                f"case {case.name}: image and mask must have the same size, got "
                f"{image.spatial_shape} and {mask.spatial_shape}"
            )
        _check_place(case, image, mask)
        return image, Mask.on_grid_of(image, self._labels(case.name, mask.array))

    def sha256(self) -> str:
        """Hex digest over case names, splits and the contents of all files."""
        digest = hashlib.sha256()
        for case in sorted(self.cases, key=lambda each: each.name):
            files = (sha256_of(path) for path in (*case.images, case.mask))
            digest.update("\n".join((case.name, case.split, *files, "")).encode())
        return digest.hexdigest()

    def _labels(
        self, case: str, labels: Integer[np.ndarray, "*spatial"]
    ) -> UInt8[np.ndarray, "*spatial"]:
        label_of = self._label_of_value()
        values = np.array(sorted(label_of))
        position = np.searchsorted(values, labels).clip(max=len(values) - 1)
        known = values[position] == labels
        if not known.all():
            unknown = np.unique(labels[~known])
            raise DatasetError(
                f"case {case}: the mask holds the values {_listed(unknown)}, which no class has; "
                f"the classes are {self._values_in_words()}"
            )
        indices = np.array([label_of[int(value)] for value in values], dtype=np.uint8)
        return indices.take(position)

    def _label_of_value(self) -> Mapping[int, int]:
        return self.label_values or {label: label for label in range(self.legend.num_labels)}

    def _values_in_words(self) -> str:
        rows = sorted(self._label_of_value().items())
        return ", ".join(f"{value} = {self._words(label)}" for value, label in rows)

    def _words(self, label: int) -> str:
        if label == IGNORE:
            return "ignore"
        names = [
            each.name for each in self.classes[1:] if label in self.legend.labels_of(each.index)
        ]
        return " and ".join(names) or self.classes[0].name


def _check_place(case: Case, image: Image, mask: Mask) -> None:
    # A mask without a place of its own, such as a PNG file, lies where the image lies.
    if image.spacing and mask.spacing and not np.allclose(image.spacing, mask.spacing, rtol=1e-3):
        raise DatasetError(
            f"case {case.name}: image and mask must have the same spacing, got {image.spacing} and "
            f"{mask.spacing} mm; resample the mask onto the image's grid"
        )
    if image.affine is None or mask.affine is None:
        return
    tolerance = _PLACE_TOLERANCE * float(np.abs(image.affine[:3, :3]).max())
    if np.abs(image.affine[:3] - mask.affine[:3]).max() > tolerance:
        raise DatasetError(
            f"case {case.name}: image and mask have the same size but lie at different places "
            "(their affines differ); resample the mask onto the image or correct its header"
        )


def _listed(values: Integer[np.ndarray, " n"], most: int = 5) -> str:
    text = ", ".join(str(value) for value in values[:most])
    return f"{text} and {len(values) - most} more" if len(values) > most else text


def with_held_out(cases: Sequence[Case]) -> tuple[Case, ...]:
    """The cases with a fifth of them, at least one, as the test split.

    Those with the smallest hashes of their names: neither the order of the files nor a random seed
    matters, and one more case moves at most one other.

    Raises:
        DatasetError: there are fewer than two cases.
    """
    if len(cases) < 2:
        raise DatasetError(
            f"a dataset needs at least 2 cases, one to train and one to test on, got {len(cases)}; "
            "add cases or cut the image into two regions"
        )
    names = sorted((c.name for c in cases), key=lambda n: hashlib.sha256(n.encode()).digest())
    test = set(names[: max(1, round(TEST_SHARE * len(names)))])
    return tuple(replace(c, split="test" if c.name in test else "train") for c in cases)


def dims_of(mask: Path) -> Literal[2, 3]:
    """Whether a dataset's masks are images or volumes, by one of them.

    Raises:
        DatasetError: the mask cannot be read.
    """
    try:
        return 2 if read_mask(mask).dims == 2 else 3
    except ImageError as error:
        raise DatasetError(f"{mask}: {error}") from error
