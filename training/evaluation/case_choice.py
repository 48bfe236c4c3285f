"""Which cases of a folder are scored: those that the package was not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

from seg.errors import DatasetError
from seg.model_package import ModelCard
from training.dataset import Case, Dataset
from training.dataset.cases import image_digest
from training.dataset.findings.duplicates import DIGITS
from training.dataset.findings.inspection import Looks

UNSEEN = "unseen"


@dataclass(frozen=True)
class Chosen:
    """Cases to score."""

    cases: Sequence[Case]
    split: str
    """For people."""
    left_out: str = ""
    """Which cases are not scored, and why, in a sentence; empty where nobody wonders."""


def choose_cases(
    card: ModelCard, dataset: Dataset, split: str | None, looks: Looks | None = None
) -> Chosen:
    """The cases of a split, or, where none is named, those that the package was not trained on.

    Of the folder that it was trained on these are the test cases, of any other folder all. Where
    the package knows the intensities of its training, cases are read for theirs; ``looks`` keeps
    what was seen.

    Raises:
        DatasetError: there is none.
    """
    if split is not None:
        cases = {"train": dataset.train, "test": dataset.test, "all": dataset.cases}[split]
        return Chosen(cases, split)
    seen = set(card.provenance.trained_on)
    if not seen:
        return _of_an_older_package(card, dataset)
    contents = set(card.provenance.trained_contents)
    unseen = [case for case in dataset.cases if image_digest(case) not in seen]
    if contents:
        found = (looks or Looks(dataset)).of(unseen)
        unseen = [look.case for look in found if (look.content or "")[:DIGITS] not in contents]
    if not unseen:
        raise DatasetError(
            f"the package was trained on all {len(dataset.cases)} cases of {dataset.name}; score "
            "it on others, or on these with --split train"
        )
    if len(unseen) == len(dataset.cases):
        return Chosen(unseen, "all")
    trained = len(dataset.cases) - len(unseen)
    is_test = {case.name for case in unseen} == {case.name for case in dataset.test}
    left_out = f"left out: {trained} cases that the package was trained on"
    return Chosen(unseen, "test" if is_test else UNSEEN, "" if is_test else left_out)


def _of_an_older_package(card: ModelCard, dataset: Dataset) -> Chosen:
    """It does not say what it was trained on."""
    if dataset.sha256() == card.provenance.dataset_sha256 or not dataset.train:
        return Chosen(dataset.test, "test")
    return Chosen(
        dataset.test,
        "test",
        f"left out: {len(dataset.train)} cases that the package, which does not say what it was "
        "trained on, may have been trained on; --split all scores them too",
    )
