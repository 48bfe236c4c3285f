"""Each defence of docs/security.md taken out of a copy of the code: does its test fail?

A test that passes without what it is named for shows nothing. Usage: python benchmarks/defences.py
[--only WORD ...] [--json FILE]; a defence takes as long as its test.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.result import bar, show, write  # noqa: E402

COPIED = ("seg", "service", "training", "data", "tests", "benchmarks", "deploy", "docs")
TESTS_FAILED = 1
"""pytest's status where tests failed; others mean that it could not run them."""


@dataclass(frozen=True)
class Defence:
    """What is taken out, and which test must notice."""

    against: str
    file: str
    code: str
    without: str
    test: str


DEFENCES = tuple(
    Defence(**row) for row in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[""], help="words of what it is against")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    chosen = [each for each in DEFENCES if any(word in each.against for word in arguments.only)]
    rows, bars = [], []
    with tempfile.TemporaryDirectory(prefix="defences-") as folder:
        copy = Path(folder)
        for name in COPIED:
            ignored = shutil.ignore_patterns("__pycache__", "results")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        for file in ROOT.iterdir():
            if file.is_file():
                shutil.copy(file, copy)
        for each in chosen:
            said = without(each, copy)
            rows.append({"against": each.against, "test": each.test, "without it": said})
            print(f"{each.against}: {said}", flush=True)
            bars.append(bar(f"{each.against}: its test fails", said == "fails", 1, at_most=False))
    show(bars)
    if arguments.json:
        write("defences", rows, bars, ("pytest",), arguments.json)
    sys.exit(not all(each["holds"] for each in bars))


def without(defence: Defence, copy: Path) -> str:
    """What the test does in a copy of the code without the defence."""
    file = copy / defence.file
    code = file.read_text(encoding="utf-8")
    if defence.code not in code:
        return "is not there"
    file.write_text(code.replace(defence.code, defence.without, 1), encoding="utf-8")
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--timeout", "300", defence.test]
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    finally:
        file.write_text(code, encoding="utf-8")
    if done.returncode == TESTS_FAILED:
        return "fails"
    last = (done.stdout.strip().splitlines() or [""])[-1]
    return "passes" if not done.returncode else f"did not run: {last}"


if __name__ == "__main__":
    main()
