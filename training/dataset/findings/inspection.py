"""Looks at every case of a dataset, and says all that is wrong.

One image is in memory at a time in each process.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from tqdm import tqdm

from training.dataset.cases import Case, Dataset
from training.dataset.findings.all_cases import findings_over
from training.dataset.findings.duplicates import DIGITS
from training.dataset.findings.finding import Finding, raise_errors
from training.dataset.findings.one_case import InspectedCase, inspect_case
from training.dataset.findings.scales import other_scales
from training.dataset.findings.wrong_masks import wrong_masks
from training.dataset.fingerprint import (
    Fingerprint,
    fingerprint_of,
    is_remembered,
    remember_together,
    voxels_a_case,
)
from training.dataset.in_processes import spread


def check_dataset(dataset: Dataset) -> list[Finding]:
    """Read every case once and give back what looks wrong but can be trained on.

    Raises:
        DatasetError: something cannot be trained on; all of it in one message.
    """
    findings = inspect(dataset)
    raise_errors(findings)
    return findings


def check_and_measure(dataset: Dataset) -> tuple[list[Finding], Fingerprint]:
    """The same, and the fingerprint out of the same look: no file is read for it again.

    Raises:
        DatasetError: something cannot be trained on; all of it in one message.
    """
    voxels = 0 if is_remembered(dataset) else voxels_a_case(dataset)
    cases = _inspected(dataset, voxels)
    findings = _sorted(dataset, cases)
    raise_errors(findings)
    numbers = [case.numbers for case in cases if case.numbers]
    found = remember_together(dataset, numbers) if voxels else fingerprint_of(dataset)
    contents = {each.case.name: each.content[:DIGITS] for each in cases if each.content}
    return findings, found.model_copy(update={"contents": contents})


def inspect(dataset: Dataset, *, progress: bool = True) -> list[Finding]:
    """All that is wrong, errors first."""
    return _sorted(dataset, _inspected(dataset, 0, progress=progress))


class Looks:
    """What was seen of the cases of a dataset, each of which is read once."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._seen: dict[Case, InspectedCase] = {}

    def of(self, cases: Sequence[Case]) -> list[InspectedCase]:
        """These cases, in their order."""
        new = tuple(case for case in cases if case not in self._seen)
        for look in _inspected(replace(self._dataset, cases=new), 0) if new else ():
            self._seen[look.case] = look
        return [self._seen[case] for case in cases]

    def doubts(self, cases: Sequence[Case]) -> list[Finding]:
        """Masks that lie wrong and images on another scale: what would make their scores wrong."""
        looks = self.of(cases)
        return [*wrong_masks(self._dataset, looks), *other_scales(looks)]


def _inspected(dataset: Dataset, voxels: int, *, progress: bool = True) -> list[InspectedCase]:
    return list(
        tqdm(
            spread(partial(inspect_case, dataset, voxels), dataset.cases),
            total=len(dataset.cases),
            desc="checking",
            unit="case",
            disable=None if progress else True,
        )
    )


def _sorted(dataset: Dataset, cases: Sequence[InspectedCase]) -> list[Finding]:
    findings = [finding for case in cases for finding in case.findings]
    findings += findings_over(dataset, cases)
    return sorted(findings, key=lambda finding: finding.severity)
