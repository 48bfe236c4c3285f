"""A look at a whole dataset: what it is, and everything that is wrong with it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
        f"{dataset.name}: {len(dataset.train)} cases to train on, {len(dataset.test)} held back; "
        f"{dataset.dims}D, channels {', '.join(c.name for c in dataset.channels)}; classes "
        f"{', '.join(c.name for c in dataset.classes)}"
        + (", overlapping" if dataset.legend.regions else "")
        + (", annotated in parts" if dataset.legend.ignores else "")
    ]
    for (severity, problem, advice), files in _grouped(result.findings).items():
        lines.append(f"\n{severity:8} {problem}")
        lines += [f"         {_short(file, dataset.folder)}" for file in files[:MOST_FILES]]
        if len(files) > MOST_FILES:
            lines.append(f"         and {len(files) - MOST_FILES} more")
        lines.append(f"         -> {advice}")
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
        "findings": [asdict(finding) for finding in result.findings],
    }


def _grouped(findings: Iterable[Finding]) -> dict[tuple[str, str, str], list[str]]:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for finding in findings:
        kind = (finding.severity, finding.problem, finding.advice)
        groups.setdefault(kind, []).append(finding.where)
    return dict(sorted(groups.items(), key=lambda group: group[0][0]))


def _short(file: str, folder: Path) -> str:
    path = Path(file)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) and path != folder else file


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
