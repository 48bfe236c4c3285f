"""What is wrong with a dataset, collected so that all of it can be told at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

from seg.errors import DatasetError
from seg.verbs import called

Severity = Literal["error", "warning"]

_MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or looks wrong."""

    severity: Severity
    where: str
    """File or case."""
    problem: str
    advice: str
    """What to do."""
    counts: tuple[int, int] | None = None
    """How many things of the file have the problem, and how many there are; it begins with them."""

    @classmethod
    def counted(cls, where: str, some: int, of_all: int, what: str, advice: str) -> "Finding":
        """A warning of some things among all of a file, such as ``objects are in pieces``."""
        return cls("warning", where, f"{some} of {of_all} {what}", advice, (some, of_all))

    @property
    def what(self) -> str:
        """The problem without its counts, the same for all files that have it."""
        if self.counts is None:
            return self.problem
        some, of_all = self.counts
        return self.problem.removeprefix(f"{some} of {of_all} ")

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}; {self.advice}"


def raise_errors(findings: Sequence[Finding]) -> None:
    """Nothing where all findings are warnings.

    Raises:
        DatasetError: some are errors; all of them in one message.
    """
    errors = _errors(findings)
    if errors:
        raise DatasetError(_in_words(errors))


def raise_with_errors(last: DatasetError, findings: Sequence[Finding]) -> NoReturn:
    """Say what was wrong before ``last``, which may follow from it.

    Raises:
        DatasetError: ``last`` and the errors among the findings.
    """
    said = [each for each in _errors(findings) if each not in str(last)]
    raise DatasetError(_in_words([*said, str(last)])) from last


def _errors(findings: Sequence[Finding]) -> list[str]:
    return [str(finding) for finding in findings if finding.severity == "error"]


def _in_words(errors: Sequence[str]) -> str:
    if len(errors) == 1:
        return errors[0]
    listed = "".join(f"\n  {error}" for error in errors[:_MOST_LISTED])
    more = len(errors) - _MOST_LISTED
    rest = f"\n  and {more} more, which {called('training.check')} lists" if more > 0 else ""
    return f"the dataset cannot be used, {len(errors)} things are wrong:{listed}{rest}"
