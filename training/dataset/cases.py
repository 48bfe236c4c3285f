"""``Dataset``: what a folder of images and masks holds, whatever its layout."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int32, Integer, UInt8
from nibabel.orientations import aff2axcodes

from seg.errors import DatasetError, ImageError
from seg.files import sha256_of
from seg.images import Affine, ClassInfo, Image, Mask, Spacing, read_channels, read_mask
from seg.images.grid.orientation import turn_onto, turned_mask
from seg.images.nifti.header import places_of
from seg.images.outlines.drawing import Drawn
from seg.model_package import Channel
from training.dataset.legend import IGNORE, Legend
from training.dataset.masks import MaskFiles, hinted

Split = Literal["train", "test"]
"""What a case is for."""

_PLACE_TOLERANCE = 0.05
"""Of a voxel: headers hold rounded numbers."""
_REPLACE = "resample the mask onto the image's grid or correct its header"


ObjectNumbers = Int32[np.ndarray, "*spatial"]
"""The number of the object in each voxel; 0 where none is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One image, in one file or one file a channel, and its mask."""

    name: str
    images: tuple[Path, ...]
    mask: Path
    split: Split
    objects: Path | None = None
    """File that numbers the objects, or in which they are drawn one by one; None where only classes
    are annotated."""
    subject: str | None = None
    """Cases of one subject never lie on both sides of a split; None where nobody told."""
    drawing: Drawn | None = None
    """What somebody drew on the image, where ``mask`` is a file of a tool of annotation."""

    @property
    def group(self) -> str:
        """What a split keeps together: the subject, or the case alone."""
        return self.name if self.subject is None else self.subject

    def files(self) -> list[Path]:
        """All files of the case, those of a DICOM series one by one."""
        numbered = (self.objects,) if self.objects not in (None, self.mask) else ()
        paths = [path for path in (*self.images, self.mask, *numbered) if path]
        return [each for path in paths for each in _files_of(path)]


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
    left_right: Literal["x", "y", "z"] | None = None
    """Axis of the images between left and right, where somebody said it."""

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Background first."""
        return self.legend.classes

    @property
    def left_right_axis(self) -> int | None:
        """The spatial axis of arrays that ``left_right`` names.

        Raises:
            DatasetError: flat images have no such axis.
        """
        axes = "zyx"[-self.dims :]
        if self.left_right is not None and self.left_right not in axes:
            raise DatasetError(f"left_right is x or y in 2D, got {self.left_right}")
        return None if self.left_right is None else axes.index(self.left_right)

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
            mask = turned_onto(image, self.read_mask(case, image))
        except ImageError as error:
            raise DatasetError(f"case {case.name}: {hinted(error, self.masks.kind)}") from error
        for problem, advice in self.wrong_channels(image) + misfits(image, mask):
            raise DatasetError(f"case {case.name}: {problem}; {advice}")
        return image, Mask.on_grid_of(image, mask.array)

    def read_mask(self, case: Case, image: Image | None) -> Mask:
        """The labels of a case; what was drawn needs the image that it was drawn on.

        Raises:
            ImageError: the file cannot be read, or holds what no class has.
        """
        if case.drawing is None:
            return self.masks.read(case.mask, self.dims, self.legend, image)
        if image is None:
            raise ImageError("it was drawn on an image that cannot be read")
        return Mask.on_grid_of(image, case.drawing.painted(image, self.masks.label_of_name))

    @property
    def has_objects(self) -> bool:
        """Whether every object is annotated as one."""
        return bool(self.cases) and all(case.objects is not None for case in self.cases)

    def read_objects(self, case: Case, image: Image, mask: Mask) -> ObjectNumbers:
        """The objects of a case, numbered from 1, on the grid of its image.

        What nobody annotated, and background, belongs to none; an object that lies in two classes
        is one of each, of those that overlap in that which hides the other.

        Args:
            case: of this dataset.
            image: as ``read`` gives it.
            mask: likewise.

        Raises:
            DatasetError: the file cannot be read, or is of another size.
        """
        try:
            numbers = self.stored_numbers(case, image)
        except ImageError as error:
            raise DatasetError(f"case {case.name}: {error}") from error
        return numbered_objects(numbers, self.legend.painted(mask.array))

    def stored_numbers(self, case: Case, image: Image) -> Integer[np.ndarray, "*spatial"]:
        """Numbers of objects as the file has them, in the voxel order of the image.

        Raises:
            ImageError: there is none, it cannot be read, or is of another size.
        """
        if case.objects is None:
            raise ImageError("nobody annotated its objects one by one")
        if case.drawing is not None:
            return case.drawing.numbered(image)
        numbers = turned_onto(image, read_mask(case.objects, dims=self.dims, image=image))
        if numbers.spatial_shape != image.spatial_shape:
            raise ImageError(
                f"{case.objects}: image and objects must have the same size, got "
                f"{image.spatial_shape} and {numbers.spatial_shape}"
            )
        return numbers.array

    def wrong_channels(self, image: Image) -> list[tuple[str, str]]:
        """What is wrong with the number of channels, and what to do about it."""
        if image.channels == len(self.channels):
            return []
        problem = f"the dataset has {len(self.channels)} channels, the image {image.channels}"
        return [(problem, "save it with the channels of the others")]

    def sha256(self) -> str:
        """Hex digest over case names, splits and the contents of all files."""
        digest = hashlib.sha256()
        for case in sorted(self.cases, key=lambda each: each.name):
            files = (sha256_of(path) for path in case.files())
            digest.update("\n".join((case.name, case.split, *files, "")).encode())
        return digest.hexdigest()


def numbered_objects(
    numbers: Integer[np.ndarray, "*spatial"], labels: UInt8[np.ndarray, "*spatial"]
) -> ObjectNumbers:
    """Numbers without gaps, a pair of number and label each; none where the label has no class."""
    inside = (numbers > 0) & (labels > 0) & (labels != IGNORE)
    pairs = numbers[inside].astype(np.int64) * (IGNORE + 1) + labels[inside]
    objects = np.zeros(labels.shape, np.int32)
    objects[inside] = np.unique(pairs, return_inverse=True)[1].reshape(-1) + 1
    return objects


@lru_cache(maxsize=100_000)
def _sha256_of(path: Path, size: int, changed_ns: int) -> str:
    return sha256_of(path)


def digest_of_files(paths: Sequence[Path]) -> str:
    """Hex digest of the contents of files in their order; what did not change is read once."""
    digest = hashlib.sha256()
    for path in paths:
        about = path.stat()
        digest.update(_sha256_of(path, about.st_size, about.st_mtime_ns).encode())
    return digest.hexdigest()


def image_digest(case: Case) -> str:
    """What tells whether a package was trained on an image: 64 bits of its files' contents."""
    return digest_of_files([each for path in case.images for each in _files_of(path)])[:16]


def mask_digest(case: Case) -> str:
    """Of the files of the mask, in full."""
    return digest_of_files(_files_of(case.mask))


def objects_digest(case: Case) -> str | None:
    """Of the file that numbers the objects, in full; None where the mask does, or none."""
    return None if case.objects in (None, case.mask) else digest_of_files(_files_of(case.objects))


def misfits(image: Image, mask: Mask) -> list[tuple[str, str]]:
    """What keeps an image and its mask from lying on each other, and what to do about it."""
    problems: list[tuple[str, str]] = []
    if image.spatial_shape != mask.spatial_shape:
        sizes = f"{image.spatial_shape} and {mask.spatial_shape}"
        problems.append((f"image and mask must have the same size, got {sizes}", _REPLACE))
    # A mask without a place of its own, such as a PNG file, lies where the image lies.
    if not problems and lies_at_another_form(image, mask):
        return problems
    if (
        image.spacing
        and mask.spacing
        and not np.allclose(image.spacing, mask.spacing, rtol=1e-3, atol=0)
    ):
        sizes = f"{_mm(image.spacing)} and {_mm(mask.spacing)} mm"
        problems.append((f"image and mask must have the same spacing, got {sizes}", _REPLACE))
    elif image.affine is not None and mask.affine is not None:
        problems += _misplaced(image.affine, mask.affine)
    return problems


def turned_onto(image: Image, mask: Mask) -> Mask:
    """The mask in the voxel order of its image: a drawing program may store it in another."""
    if lies_at_another_form(image, mask):
        return mask
    return turned_mask(mask, turn_onto(mask, image))


def lies_at_another_form(image: Image, mask: Mask) -> bool:
    """A NIfTI header may hold two places, and the mask lies at the one that is not read here.

    ITK often takes the qform and writes it into both forms of the masks that are drawn in it.
    """
    if image.nifti is None or mask.affine is None or image.spatial_shape != mask.spatial_shape:
        return False
    _, *forms = places_of(image.nifti)
    return any(not _misplaced(form, mask.affine) for form in forms)


def _misplaced(image: Affine, mask: Affine) -> list[tuple[str, str]]:
    tolerance = _PLACE_TOLERANCE * float(np.abs(image[:3, :3]).max())
    if np.abs(image[:3] - mask[:3]).max() <= tolerance:
        return []
    ours, theirs = ("".join(aff2axcodes(each)) for each in (image, mask))
    if ours != theirs:
        return [(f"image and mask are turned differently: axes {ours} and {theirs}", _REPLACE)]
    return [("image and mask lie at different places (their affines differ)", _REPLACE)]


def _mm(spacing: Spacing) -> str:
    return " x ".join(f"{mm:g}" for mm in spacing)


def _files_of(path: Path) -> list[Path]:
    """The path itself, or the files of the folder that it is."""
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
