"""What the files of a dataset hold, and what is wrong with them, before it is a dataset.

Layouts ask it for dimensions, values and channels. A file is opened once: the last mask and the
last image stay at hand, since the first ones are asked for all three.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from seg.errors import DatasetError, ImageError
from seg.images import Image, Mask, read_channels, read_image, read_mask
from seg.images.endings import is_dicom_file
from training.dataset.cases import Case
from training.dataset.dataset_yaml import MaskKind
from training.dataset.findings.finding import Finding
from training.dataset.masks import hinted

_Read = TypeVar("_Read")


class Survey:
    """A look at the files of a dataset, made once."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        """What is wrong or doubtful, in the order in which it was seen."""
        self._last_mask: tuple[Path, Mask] | None = None
        self._last_image: tuple[tuple[Path, ...], Image] | None = None

    def error(self, where: str, problem: str, advice: str) -> None:
        """Note what keeps the dataset from being trained on."""
        self.findings.append(Finding("error", where, problem, advice))

    def warning(self, where: str, problem: str, advice: str) -> None:
        """Note what looks wrong."""
        self.findings.append(Finding("warning", where, problem, advice))

    def mask(self, case: Case, dims: int | None = None) -> Mask:
        """The values in the file of a mask.

        Raises:
            ImageError: it cannot be read, or has other dimensions.
        """
        path, last = case.mask, self._last_mask
        if last is None or last[0] != path or dims not in (None, last[1].dims):
            self._last_mask = last = (path, read_mask(path, dims=dims))
        return last[1]

    def image(self, case: Case, dims: int | None = None) -> Image:
        """The image of a case.

        Raises:
            ImageError: it cannot be read, or has other dimensions.
        """
        paths, last = case.images, self._last_image
        if last is None or last[0] != paths or dims not in (None, last[1].dims):
            self._last_image = last = (paths, read_channels(paths, dims=dims))
        return last[1]

    def dims_of(self, cases: Sequence[Case], kind: MaskKind = "values") -> Literal[2, 3]:
        """Whether a dataset's masks are images or volumes, by the first that can be read.

        Raises:
            DatasetError: none can be read.
        """
        return next(each_that_reads(cases, partial(self._dims, kind=kind)))

    def channels_of(self, cases: Sequence[Case], dims: int) -> int:
        """How many channels the first image has that can be read.

        Raises:
            DatasetError: none can be read.
        """
        return next(each_that_reads(cases, partial(self._channels, dims=dims)))

    def _dims(self, case: Case, kind: MaskKind) -> Literal[2, 3]:
        try:
            dims = read_image(case.mask).dims if kind == "colors" else self.mask(case).dims
            if dims == 2 and is_dicom_file(case.mask):  # it may leave all but one slice out
                dims = self.image(case).dims
        except ImageError as error:
            raise DatasetError(f"case {case.name}: {hinted(error, kind)}") from error
        if dims == 3:
            self._check_volume(case)
        return 2 if dims == 2 else 3

    def _check_volume(self, case: Case) -> None:
        """Pass where the image of a mask with three axes has three, or cannot be read at all."""
        try:
            self.image(case, 3)
        except ImageError:
            with suppress(ImageError):
                flat = self.image(case, 2)
                shape = " x ".join(map(str, self.mask(case).spatial_shape))
                raise DatasetError(
                    f"case {case.name}: the mask has three axes, {shape}, its image is flat, "
                    f"{flat.spatial_shape[0]} x {flat.spatial_shape[1]}; a mask has one class "
                    "number a pixel (argmax of channels that are one class each)"
                ) from None

    def _channels(self, case: Case, dims: int) -> int:
        try:
            return self.image(case, dims).channels
        except ImageError as error:
            raise DatasetError(f"case {case.name}: {error}") from error


def each_that_reads(cases: Sequence[Case], read: Callable[[Case], _Read]) -> Iterator[_Read]:
    """What ``read`` gives for each case, cases that it fails on left out: a check names them.

    Raises:
        DatasetError: it fails on all of them; the first reason.
    """
    first: DatasetError | None = None
    any_read = False
    for case in cases:
        try:
            result = read(case)
        except DatasetError as error:
            first = first or error
            continue
        any_read = True
        yield result
    if first and not any_read:
        raise first
