"""Look at a dataset before anything is trained: ``python -m training.check PATH``.

Every finding names its file and says what to do. ``training.fit`` begins with the same look.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from seg.commands import exit_status, in_one_sentence
from seg.errors import SegError
from training.dataset import Dataset, Finding, inspect, look_into

MOST_FILES = 5
"""Files that are named where many have the same problem."""

SOUND, UNSOUND = 0, 1


@dataclass(frozen=True)
class Result:
    """What a look at a dataset gives."""

    dataset: Dataset
    findings: list[Finding]

    @property
    def errors(self) -> list[Finding]:
        """What keeps it from being trained on."""
        return [finding for finding in self.findings if finding.severity == "error"]


def check_folder(path: Path, *, progress: bool = True) -> Result:
    """Everything that is wrong with a dataset, whatever keeps it from being trained on.

    Raises:
        DatasetError: it is no dataset, so that no case can be looked at.
    """
    dataset, findings = look_into(path)
    return Result(dataset, findings + inspect(dataset, progress=progress))


def as_text(result: Result) -> str:
    """For a terminal: what the dataset is, and the findings, those of one kind together."""
    dataset = result.dataset
    lines = [
        f"{dataset.name}: {len(dataset.train)} cases to train on, {len(dataset.test)} held out; "
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


def as_json(result: Result) -> dict[str, Any]:
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
    for each in findings:
        groups.setdefault((each.severity, each.problem, each.advice), []).append(each.where)
    return dict(sorted(groups.items(), key=lambda group: group[0][0]))


def _short(file: str, folder: Path) -> str:
    path = Path(file)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) and path != folder else file


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _draw(result: Result, path: Path) -> None:
    # matplotlib is slow to import, and most checks draw nothing
    from training.reports.dataset_sheet import write_overview

    broken = {each.where for each in result.errors}
    sound = [
        case
        for case in result.dataset.cases
        if not broken & {str(path) for path in (*case.images, case.mask)}
    ]
    if sound:
        write_overview(path, result.dataset, sound)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 where all can be trained on, 1 where something cannot, 2 for no dataset."""
    return exit_status(partial(_run, _parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    try:
        result = check_folder(options.path)
        if options.picture:
            _draw(result, options.picture)
    except (SegError, OSError) as error:
        if options.json:
            print(json.dumps({"error": in_one_sentence(error)}))  # noqa: T201
        raise
    print(json.dumps(as_json(result), indent=2) if options.json else as_text(result))  # noqa: T201
    return UNSOUND if result.errors else SOUND


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.check",
        description="Look at every image and mask of a dataset and say what is wrong.",
        epilog="Exit status: 0 fit to be trained on, 1 not, 2 no dataset. Warnings count as fit.",
    )
    add = parser.add_argument
    add("path", type=Path, metavar="PATH", help="dataset folder, or the JSON file that lists it")
    add("--json", action="store_true", help="print findings for programs")
    add("--picture", type=Path, metavar="FILE", help="draw some cases with their masks, as PNG")
    return parser


if __name__ == "__main__":
    sys.exit(main())
