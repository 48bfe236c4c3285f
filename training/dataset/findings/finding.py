"""What is wrong with a dataset, collected so that all of it can be told at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from seg.errors import DatasetError

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

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}; {self.advice}"


def raise_errors(findings: Sequence[Finding]) -> None:
    """Nothing where all findings are warnings.

    Raises:
        DatasetError: some are errors; all of them in one message.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    if len(errors) == 1:
        raise DatasetError(str(errors[0]))
    listed = "".join(f"\n  {finding}" for finding in errors[:_MOST_LISTED])
    more = len(errors) - _MOST_LISTED
    rest = f"\n  and {more} more, which python -m training.check lists" if more > 0 else ""
    raise DatasetError(f"the dataset cannot be used, {len(errors)} things are wrong:{listed}{rest}")
