"""What the data look like, in numbers: the ground on which a plan stands.

Source: the fingerprint of Isensee et al., nnU-Net, Nature Methods 18 (2021).
"""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from tqdm import tqdm

from seg.errors import DatasetError
from seg.files import replace_file
from seg.images import Image, Mask
from seg.images.grid.orientation import turn_between
from seg.machine import cache_folder
from seg.version import VERSION
from training.dataset.case_numbers import CaseNumbers, ImageStatistics, numbers_of, take_numbers
from training.dataset.cases import Case, Dataset
from training.dataset.findings.emptiness import Ends, EndsMeter
from training.dataset.in_processes import spread
from training.dataset.legend import IGNORE, Legend

VOXELS_A_CASE, VOXELS_IN_ALL = 100_000, 10_000_000
"""Foreground voxels drawn from each case, and at most from all, for the intensity statistics."""
PERCENTILES = (0.5, 99.5)


class ChannelStatistics(BaseModel):
    """Intensities of one channel in the foreground of the training cases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    std: float
    percentile_00_5: float
    percentile_99_5: float
    range: tuple[float, float]
    """The same percentiles over whole images: what an ordinary image holds."""
    images: tuple[ImageStatistics, ...] = ()
    """One entry a case; none in runs that were begun before it was measured."""


class Fingerprint(BaseModel):
    """Sizes, spacings, intensities and classes of a dataset's training cases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: int
    shapes: tuple[tuple[int, ...], ...]
    """Sizes in voxels, one entry a case."""
    spacings: tuple[tuple[float, ...], ...] | None
    """In mm, one entry a case; None where the files do not say."""
    channels: tuple[ChannelStatistics, ...]
    class_shares: tuple[float, ...]
    """Share of all annotated voxels that each class has."""
    ends: Ends | None = None
    """None in runs that were begun before it was measured."""
    orientation: str | None = None
    """Axis codes (x, y, z) of most cases, to which the others are turned; None where no file says
    how its voxels lie."""
    turned_cases: int = 0
    """Cases that are stored in another voxel order."""
    contents: dict[str, str] = {}
    """Digests of the intensities of all cases, by name; none where they were not looked at, and in
    runs that were begun before."""

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.shapes[0])

    def turned(self, orientation: str | None) -> "Fingerprint":
        """The same of images that are turned to another orientation."""
        if self.orientation is None or orientation is None:
            return self
        turn = turn_between(self.orientation, orientation)
        if turn is None or turn.is_nothing:
            return self
        spacings = self.spacings
        return self.model_copy(
            update={
                "shapes": tuple(turn.numbers(shape) for shape in self.shapes),
                "spacings": spacings and tuple(turn.numbers(spacing) for spacing in spacings),
                "orientation": orientation,
            }
        )

    @property
    def median_shape(self) -> tuple[int, ...]:
        """Median size in voxels."""
        return tuple(int(n) for n in np.median(self.shapes, axis=0))

    @property
    def median_spacing(self) -> tuple[float, ...] | None:
        """Median spacing in mm."""
        if self.spacings is None:
            return None
        return tuple(float(mm) for mm in np.median(self.spacings, axis=0))


def fingerprint_of(dataset: Dataset) -> Fingerprint:
    """The fingerprint of the training cases, remembered as long as their files do not change.

    Raises:
        DatasetError: there is no case, a file cannot be read, or cases differ in kind.
    """
    if (remembered := _remembered(dataset)) is not None:
        return remembered
    numbers = spread(partial(_read_numbers, dataset, voxels_a_case(dataset)), dataset.train)
    bar = tqdm(
        numbers,
        total=len(dataset.train),
        desc="fingerprint",
        unit="case",
        disable=None,
        leave=False,
    )
    return remember_together(dataset, list(bar))


def voxels_a_case(dataset: Dataset) -> int:
    """How many are drawn of each training case."""
    return min(VOXELS_A_CASE, VOXELS_IN_ALL // max(1, len(dataset.train)))


def remember_together(dataset: Dataset, numbers: Sequence[CaseNumbers]) -> Fingerprint:
    """The fingerprint by the numbers of all training cases, kept for the next time.

    Raises:
        DatasetError: there is no case, or cases differ in kind.
    """
    fingerprint = _together(numbers, dataset.legend)
    with contextlib.suppress(OSError):  # it is a convenience
        replace_file(_file(dataset), fingerprint.model_dump_json().encode())
    return fingerprint


def is_remembered(dataset: Dataset) -> bool:
    """Whether the fingerprint is known without reading a case."""
    return _remembered(dataset) is not None


def _remembered(dataset: Dataset) -> Fingerprint | None:
    with contextlib.suppress(OSError, ValidationError):
        return Fingerprint.model_validate_json(_file(dataset).read_bytes())
    return None


def _file(dataset: Dataset) -> Path:
    return cache_folder() / "fingerprints" / f"{_key(dataset)}.json"


def _key(dataset: Dataset) -> str:
    files = [
        (str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns)
        for case in dataset.train
        for path in case.files()
    ]
    fields = (*ImageStatistics.model_fields, *Fingerprint.model_fields)
    facts = (VERSION, fields, dataset.legend, dataset.channels, dataset.masks, files)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _read_numbers(dataset: Dataset, voxels: int, case: Case) -> CaseNumbers:
    return numbers_of(case, *dataset.read(case), voxels)


def take_fingerprint(
    cases: Iterable[tuple[Image, Mask]], legend: Legend, rng: np.random.Generator
) -> Fingerprint:
    """The fingerprint of cases that are at hand.

    Raises:
        DatasetError: there is no case, or cases differ in dimensions or channels.
    """
    return _together([take_numbers(*case, VOXELS_A_CASE, rng) for case in cases], legend)


def _together(cases: Sequence[CaseNumbers], legend: Legend) -> Fingerprint:
    _same_kind(cases)
    ends = EndsMeter()
    for case in cases:
        ends.add(case.ends)
    orientation = _most_common([case.orientation for case in cases])
    turns = [
        turn_between(case.orientation, orientation) if case.orientation and orientation else None
        for case in cases
    ]
    placed = list(zip(cases, turns, strict=True))
    stated = [
        turn.numbers(case.spacing) if turn else case.spacing
        for case, turn in placed
        if case.spacing is not None
    ]
    return Fingerprint(
        cases=len(cases),
        shapes=tuple(turn.numbers(case.shape) if turn else case.shape for case, turn in placed),
        orientation=orientation,
        turned_cases=sum(turn is not None and not turn.is_nothing for turn in turns),
        spacings=tuple(stated) if len(stated) == len(cases) else None,
        channels=tuple(
            _statistics(inside, whole, images)
            for inside, whole, images in zip(
                np.concatenate([case.foreground for case in cases], axis=1),
                np.concatenate([case.everything for case in cases], axis=1),
                zip(*(case.images for case in cases), strict=True),
                strict=True,
            )
        ),
        class_shares=_shares(np.sum([case.counts for case in cases], axis=0), legend),
        ends=ends.result(),
    )


def _most_common(orientations: Sequence[str | None]) -> str | None:
    """The orientation of most cases; of equally many the first by name."""
    counts = Counter(sorted(each for each in orientations if each is not None))
    return counts.most_common(1)[0][0] if counts else None


def _shares(counts: np.ndarray, legend: Legend) -> tuple[float, ...]:
    annotated = max(1, int(counts[:IGNORE].sum()))
    foreground = counts @ legend.members()
    return (float(counts[0] / annotated), *(float(n / annotated) for n in foreground))


def _same_kind(cases: Sequence[CaseNumbers]) -> None:
    if not cases:
        raise DatasetError("the dataset has no training case; it needs images with masks")
    dims = {len(case.shape) for case in cases}
    channels = {len(case.everything) for case in cases}
    if len(dims) > 1 or len(channels) > 1:
        raise DatasetError(
            "all images of a dataset need the same dimensions and channels, got "
            f"{sorted(dims)} dimensions and {sorted(channels)} channels"
        )


def _statistics(
    inside: np.ndarray, whole: np.ndarray, images: tuple[ImageStatistics, ...]
) -> ChannelStatistics:
    low, high = np.percentile(inside, PERCENTILES)
    lowest, highest = np.percentile(whole, PERCENTILES)
    return ChannelStatistics(
        mean=float(inside.mean(dtype=np.float64)),
        std=float(inside.std(dtype=np.float64)),
        percentile_00_5=float(low),
        percentile_99_5=float(high),
        range=(float(lowest), float(highest)),
        images=images,
    )
