"""``Dataset``: what a folder of images and masks holds, whatever its layout."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from nibabel.orientations import aff2axcodes

from seg.errors import DatasetError, ImageError
from seg.files import sha256_of
from seg.images import ClassInfo, Image, Mask, Spacing, read_channels, read_image, read_mask
from seg.model_package import Channel
from training.dataset.card import MaskKind
from training.dataset.legend import Legend
from training.dataset.masks import MaskFiles, hinted

Split = Literal["train", "test"]

_PLACE_TOLERANCE = 0.05
"""Of a voxel: headers hold rounded numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One image, in one file or one file a channel, and its mask."""

    name: str
    images: tuple[Path, ...]
    mask: Path
    split: Split
    subject: str | None = None
    """Cases of one subject never lie on both sides of a split; None where nobody told."""

    @property
    def group(self) -> str:
        """What a split keeps together: the subject, or the case alone."""
        return self.name if self.subject is None else self.subject


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """The cases of a folder; their files are read one at a time, when asked for."""

    name: str
    folder: Path
    dims: Literal[2, 3]
    legend: Legend
    channels: tuple[Channel, ...]
    cases: tuple[Case, ...]
    masks: MaskFiles = field(default_factory=MaskFiles)
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
            mask = self.masks.read(case.mask, self.dims, self.legend)
        except ImageError as error:
            raise DatasetError(f"case {case.name}: {hinted(error, self.masks.kind)}") from error
        for problem, advice in self.misfits(image, mask):
            raise DatasetError(f"case {case.name}: {problem}; {advice}")
        return image, Mask.on_grid_of(image, mask.array)

    def misfits(self, image: Image, mask: Mask) -> list[tuple[str, str]]:
        """What keeps an image and its mask from going together, and what to do about it."""
        found = []
        if image.channels != len(self.channels):
            found.append(
                (
                    f"the dataset has {len(self.channels)} channels, the image {image.channels}",
                    "save it with the channels of the others",
                )
            )
        if image.spatial_shape != mask.spatial_shape:
            found.append(
                (
                    "image and mask must have the same size, got "
                    f"{image.spatial_shape} and {mask.spatial_shape}",
                    "resample the mask onto the image's grid",
                )
            )
        return found + _misplaced(image, mask)

    def sha256(self) -> str:
        """Hex digest over case names, splits and the contents of all files."""
        digest = hashlib.sha256()
        for case in sorted(self.cases, key=lambda each: each.name):
            paths = (each for path in (*case.images, case.mask) for each in _files_of(path))
            files = (sha256_of(path) for path in paths)
            digest.update("\n".join((case.name, case.split, *files, "")).encode())
        return digest.hexdigest()


def _misplaced(image: Image, mask: Mask) -> list[tuple[str, str]]:
    # A mask without a place of its own, such as a PNG file, lies where the image lies.
    if image.spacing and mask.spacing and not np.allclose(image.spacing, mask.spacing, rtol=1e-3):
        problem = (
            f"image and mask must have the same spacing, got {_mm(image.spacing)} and "
            f"{_mm(mask.spacing)} mm"
        )
        return [(problem, "resample the mask onto the image's grid or correct its header")]
    if image.affine is None or mask.affine is None:
        return []
    tolerance = _PLACE_TOLERANCE * float(np.abs(image.affine[:3, :3]).max())
    if np.abs(image.affine[:3] - mask.affine[:3]).max() <= tolerance:
        return []
    ours, theirs = ("".join(aff2axcodes(each.affine)) for each in (image, mask))
    if ours != theirs:
        return [
            (
                f"image and mask are turned differently, the axes of one run {ours}, of the other "
                f"{theirs}",
                "resample the mask onto the image's grid or correct its header",
            )
        ]
    return [
        (
            "image and mask have the same size but lie at different places (their affines differ)",
            "resample the mask onto the image's grid or correct its header",
        )
    ]


def _mm(spacing: Spacing) -> str:
    return " x ".join(f"{mm:g}" for mm in spacing)


def _files_of(path: Path) -> list[Path]:
    """The path itself, or the files of the folder that it is."""
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def dims_of(mask: Path, kind: MaskKind = "values") -> Literal[2, 3]:
    """Whether a dataset's masks are images or volumes, by one of them.

    Raises:
        DatasetError: the mask cannot be read.
    """
    try:
        found = read_image(mask) if kind == "colors" else read_mask(mask)
    except ImageError as error:
        raise DatasetError(hinted(error, kind)) from error
    return 2 if found.dims == 2 else 3
