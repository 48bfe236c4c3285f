"""A look at a whole dataset: what it is, and everything that is wrong with it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seg.verbs import called
from training.dataset import Case, Dataset, Finding, inspect, look_into

MOST_FILES = 5
"""Files that are named where many have the same problem."""


@dataclass(frozen=True)
class DatasetLook:
    """What a look at a dataset gives."""

    dataset: Dataset
    findings: list[Finding]

    @property
    def errors(self) -> list[Finding]:
        """What keeps it from being trained on."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def sound_cases(self) -> list[Case]:
        """Those with whose files nothing is wrong."""
        broken = {finding.where for finding in self.errors}
        return [
            case
            for case in self.dataset.cases
            if not broken & {str(path) for path in (*case.images, case.mask)}
        ]


def check_folder(path: Path, *, progress: bool = True) -> DatasetLook:
    """Everything that is wrong with a dataset, whatever keeps it from being trained on.

    Raises:
        DatasetError: it is no dataset, so that no case can be looked at.
    """
    dataset, findings = look_into(path)
    return DatasetLook(dataset, findings + inspect(dataset, progress=progress))


def as_text(result: DatasetLook) -> str:
    """For a terminal: what the dataset is, and the findings, those of one kind together."""
    dataset = result.dataset
    lines = [
        f"{dataset.name}: {len(dataset.train)} cases to train on, {len(dataset.test)} held out; "
        f"{dataset.dims}D, channels {', '.join(c.name for c in dataset.channels)}; classes "
        f"{', '.join(c.name for c in dataset.classes)}"
        + (", overlapping" if dataset.legend.regions else "")
        + (", annotated in parts" if dataset.legend.ignores else "")
    ]
    for kind in kinds_of(result.findings):
        lines.append(f"\n{kind.severity:8} {kind.in_words}")
        for file, counts in kind.files[:MOST_FILES]:
            said = "" if counts is None else f": {counts[0]} of {counts[1]}"
            lines.append(f"         {_short(file, dataset.folder)}{said}")
        if len(kind.files) > MOST_FILES:
            lines.append(f"         and {len(kind.files) - MOST_FILES} more")
        lines.append(f"         -> {kind.advice}")
    errors = len(result.errors)
    warnings = len(result.findings) - errors
    lines.append(f"\n{_count(errors, 'error')}, {_count(warnings, 'warning')}")
    return "\n".join(lines)


def as_json(result: DatasetLook) -> dict[str, Any]:
    """For programs: the same, every finding by itself."""
    dataset = result.dataset
    return {
        "dataset": dataset.name,
        "dims": dataset.dims,
        "train": [case.name for case in dataset.train],
        "test": [case.name for case in dataset.test],
        "channels": [channel.name for channel in dataset.channels],
        "classes": [info.name for info in dataset.classes],
        "task": dataset.legend.task,
        "findings": [
            {name: value for name, value in asdict(finding).items() if value is not None}
            for finding in result.findings
        ],
    }


@dataclass
class KindOfFinding:
    """What is wrong in one way in one or more files."""

    severity: str
    problem: str
    """Without how many of the things in a file have it, where that is told by file."""
    advice: str
    files: list[tuple[str, tuple[int, int] | None]] = field(default_factory=list)
    """Each with how many of how many things have it, where things of a file are counted."""

    @property
    def in_words(self) -> str:
        """The problem with how many things have it in all files together."""
        counts = [each for _, each in self.files if each is not None]
        if not counts:
            return self.problem
        some, of_all = map(sum, zip(*counts, strict=True))
        return f"{some} of {of_all} {self.problem}"


def kinds_of(findings: Iterable[Finding]) -> list[KindOfFinding]:
    """The findings, those of one kind together, errors first."""
    kinds: dict[tuple[str, str, str], KindOfFinding] = {}
    for finding in findings:
        key = (finding.severity, finding.what, finding.advice)
        kinds.setdefault(key, KindOfFinding(*key)).files.append((finding.where, finding.counts))
    return sorted(kinds.values(), key=lambda kind: kind.severity)


def in_few_lines(dataset: Dataset, findings: Iterable[Finding]) -> list[str]:
    """One line a kind, for those who did not ask for a look; the last says how to see them all."""
    kinds = kinds_of(findings)
    lines = []
    for kind in kinds:
        (first, _), *others = kind.files
        more = f" and {len(others)} more" if others else ""
        lines.append(f"{_short(first, dataset.folder)}{more}: {kind.in_words}; {kind.advice}")
    if any(len(kind.files) > 1 for kind in kinds):
        lines.append(f"{called('training.check', dataset.folder)} lists them file by file")
    return lines


def _short(file: str, folder: Path) -> str:
    path = Path(file)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) and path != folder else file


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
