"""Whether tests notice what is changed in the code: mutations by cosmic-ray, a sample of each room.

    python -m venv build/mutation-env && build/mutation-env/bin/pip install cosmic-ray==8.7.0
    python benchmarks/mutation.py --sample 60 --json benchmarks/results/mutation.json

The tree is copied first, so that nothing here is changed. A room's mutations are drawn by
``--seed`` and judged by the tests of that room alone; those of ``X | None``, which change nothing,
are left out. Survivors are listed with their place: some are equal to what was there, others lack
a test.
"""

import argparse
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.result import bar, report

ROOT = Path(__file__).parents[1]
CAUGHT = 0.85
"""Share of mutations that the tests of a room must notice."""
ROOMS = {
    "seg/transforms": "tests/seg/transforms",
    "seg/inference": "tests/seg/inference",
    "seg/metrics": "tests/seg/metrics",
    "service/middleware": "tests/service/middleware",
    "training/samples/patch_batches.py": "tests/training/samples/test_patch_batches.py",
}
WITHOUT_EFFECT = ("BinaryOperator_BitOr_",)
"""Operators that hit little but ``X | None`` in annotations."""
CONFIG = """
[cosmic-ray]
module-path = "{room}"
timeout = {timeout}
excluded-modules = []
test-command = "{python} -m pytest -q -x -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
"""


def main() -> None:
    """Mutate the rooms one after another."""
    options = _parser().parse_args()
    rows, bars = [], []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        _copy(tree)
        for room in options.rooms:
            outcomes = _mutated(tree, Path(folder), room, options)
            survivors = [row for row in outcomes if row["outcome"] == "survived"]
            caught = 1 - len(survivors) / max(1, len(outcomes))
            rows += [{"room": room, **row} for row in outcomes]
            what = f"share of {len(outcomes)} mutations of {room} that its tests notice"
            bars.append(bar(what, caught, CAUGHT, at_most=False))
            for row in survivors:
                print(f"survived  {row['file']}:{row['line']} {row['operator']}", flush=True)
    report("mutation", rows, bars, ("pytest", "hypothesis"), options.json)


def _copy(tree: Path) -> None:
    """What git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def _mutated(
    tree: Path, folder: Path, room: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Outcomes of a sample of a room's mutations."""
    config, session = folder / "config.toml", folder / "session.sqlite"
    session.unlink(missing_ok=True)
    config.write_text(
        CONFIG.format(room=room, tests=ROOMS[room], python=sys.executable, timeout=options.timeout)
    )
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*command: str | Path) -> None:
        subprocess.run(
            [options.cosmic_ray, *command], cwd=tree, env=environment, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    run("baseline", config)  # tests that fail by themselves would notice everything
    run("init", config, session)
    _draw(session, options.sample, options.seed)
    run("exec", config, session)
    with sqlite3.connect(session) as database:
        found = database.execute(
            "SELECT module_path, start_pos_row, operator_name, test_outcome FROM work_results "
            "JOIN mutation_specs USING (job_id)"
        ).fetchall()
    return [
        {"file": file, "line": line, "operator": name.removeprefix("core/"),
         "outcome": str(outcome).lower()}
        for file, line, name, outcome in found
    ]  # fmt: skip


def _draw(session: Path, sample: int, seed: int) -> None:
    """Leave a sample of the session's mutations."""
    with sqlite3.connect(session) as database:
        jobs = sorted(
            job
            for job, name in database.execute("SELECT job_id, operator_name FROM mutation_specs")
            if not any(word in name for word in WITHOUT_EFFECT)
        )
        kept = set(random.Random(seed).sample(jobs, min(sample, len(jobs))))
        for table in ("mutation_specs", "work_items"):
            every = database.execute(f"SELECT job_id FROM {table}").fetchall()
            left_out = [each for each in every if each[0] not in kept]
            database.executemany(f"DELETE FROM {table} WHERE job_id = ?", left_out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    add = parser.add_argument
    add("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS), metavar="ROOM")
    add("--sample", type=int, default=60, help="mutations a room (default: 60)")
    add("--seed", type=int, default=0, help="of the sample (default: 0)")
    add("--timeout", type=float, default=300, help="seconds a mutation (default: 300)")
    add("--cosmic-ray", default="build/mutation-env/bin/cosmic-ray", type=_absolute)
    add("--json", type=Path, metavar="FILE", help="write the result there")
    return parser


def _absolute(text: str) -> str:
    return str(Path(text).absolute())


if __name__ == "__main__":
    main()
