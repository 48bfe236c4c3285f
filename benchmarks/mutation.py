"""Whether tests notice what is changed in the code: mutations by cosmic-ray, a sample of each room.

    python -m venv build/mutation-env && build/mutation-env/bin/pip install cosmic-ray==8.7.0
    python benchmarks/mutation.py --work /tmp/mutation --minutes 10
    python benchmarks/mutation.py --work /tmp/mutation --json benchmarks/results/mutation.json

The tree is copied into ``--work``, so that nothing here is changed, and a second call goes on where
the first one's minutes ended. A room's mutations are drawn by ``--seed`` and judged by the tests of
that room alone, those nearest to the mutated file first, in forks of one process
(``forked_tests``); mutations of ``X | None``, which change nothing, are left out. Survivors are
listed with their place and what was changed: some are equal to what was there, others lack a test.
"""

import argparse
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.result import bar, report

ROOT = Path(__file__).parents[1]
FORKED = Path(__file__).with_name("forked_tests.py")
CAUGHT = 0.85
"""Share of mutations that the tests of a room must notice."""
ROOMS = {
    "seg/transforms": ("tests/seg/transforms",),
    "seg/inference": ("tests/seg/inference",),
    "seg/metrics": ("tests/seg/metrics",),
    "service/middleware": (
        "tests/service/middleware/test_access.py",
        "tests/service/middleware/test_identity_tokens.py",
        "tests/service/observability/test_logs.py",
        "tests/service/observability/test_metrics.py",
        "tests/service/routes/test_errors.py",
    ),
    "training/samples/patch_batches.py": ("tests/training/samples",),
}
"""Code, and the tests that are to notice what changes in it."""
NEAREST_ALONE = ("seg/inference", "service/middleware")
"""Rooms all whose tests take minutes: there a file is judged by the tests nearest to it alone."""
WITHOUT_EFFECT = ("BinaryOperator_BitOr_",)
"""Operators that hit little but ``X | None`` in annotations."""
CONFIG = """
[cosmic-ray]
module-path = "{room}"
timeout = {timeout}
excluded-modules = []
test-command = "{python} -S {forked} ask {socket} {tests}"
[cosmic-ray.distributor]
name = "local"
"""


def main() -> None:
    """Mutate the rooms one after another."""
    options = _parser().parse_args()
    options.until = time.monotonic() + 60 * options.minutes
    options.work.mkdir(parents=True, exist_ok=True)
    if not (options.work / "tree").exists():
        _copy(options.work / "original")
        shutil.copytree(options.work / "original", options.work / "tree")
    rows, bars = [], []
    for room in options.rooms:
        with _tests_of(room, options):
            session = _mutated(room, options)
        outcomes = list(_outcomes(session, room)) if session.exists() else []
        survivors = [row for row in outcomes if row["outcome"] == "survived"]
        caught = 1 - len(survivors) / max(1, len(outcomes))
        rows += outcomes
        what = f"share of {len(outcomes)} mutations of {room} that its tests notice"
        if outcomes:
            bars.append(bar(what, caught, CAUGHT, at_most=False))
        for row in survivors:
            print(f"survived  {row['file']}:{row['line']} {row['operator']}", flush=True)
            print(row["change"], flush=True)
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


def _mutated(room: str, options: argparse.Namespace) -> Path:
    """The session of a sample of a room's mutations, as far as the minutes went."""
    tree = options.work / "tree"
    session = options.work / (room.replace("/", "-") + ".sqlite")
    if options.until < time.monotonic():
        return session
    if not session.exists():
        config = _config(room, ROOMS[room], options)
        if not options.nearest:
            _run(options, "baseline", config)  # tests that fail anyhow would notice everything
        unfinished = session.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        _run(options, "init", config, unfinished)
        _draw(unfinished, options.sample, options.seed)
        unfinished.rename(session)
    for module in _left(session):
        shutil.copy2(options.work / "original" / module, tree / module)  # a cut one is mutated
        part = session.with_suffix(".part")
        shutil.copy2(session, part)
        with sqlite3.connect(part) as database:
            for table in ("work_items", "work_results"):
                database.execute(
                    f"DELETE FROM {table} WHERE job_id NOT IN "
                    "(SELECT job_id FROM mutation_specs WHERE module_path = ?)",
                    (module,),
                )
        nearest = _nearest(tree, module, room)
        is_enough = options.nearest or room in NEAREST_ALONE
        everything = () if nearest and is_enough else ROOMS[room]
        config = _config(room, [*nearest, *everything], options)
        in_time = _run(options, "exec", config, part)
        with sqlite3.connect(session) as database:
            database.execute("ATTACH ? AS part", (str(part),))
            database.execute("INSERT OR REPLACE INTO work_results SELECT * FROM part.work_results")
        if not in_time:
            break
    return session


@contextmanager
def _tests_of(room: str, options: argparse.Namespace) -> Iterator[None]:
    """A process that runs tests of the room in the copy of the tree."""
    address = options.work / "tests.socket"
    address.unlink(missing_ok=True)
    serving = subprocess.Popen(
        [sys.executable, FORKED, "serve", str(address), *ROOMS[room]],
        cwd=options.work / "tree", env=_environment(options), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not address.exists() and serving.poll() is None:
            time.sleep(0.1)
        yield
    finally:
        serving.kill()
        serving.wait()


def _environment(options: argparse.Namespace) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(options.work / "tree"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _config(room: str, tests: Sequence[str], options: argparse.Namespace) -> Path:
    file: Path = options.work / "config.toml"
    file.write_text(
        CONFIG.format(
            room=room,
            tests=" ".join(tests),
            python=sys.executable,
            timeout=options.timeout,
            forked=FORKED,
            socket=options.work / "tests.socket",
        )
    )
    return file


def _run(options: argparse.Namespace, *command: str | Path) -> bool:
    """Run cosmic-ray; whether it came to an end in the minutes that are left."""
    tree = options.work / "tree"
    left = max(1.0, options.until - time.monotonic())
    try:
        subprocess.run(
            [options.cosmic_ray, *command], cwd=tree, check=True, stdout=subprocess.DEVNULL,
            timeout=left if command[0] == "exec" else None,
            env=_environment(options),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return True


def _left(session: Path) -> list[str]:
    """Files with mutations that nobody has tried yet."""
    with sqlite3.connect(session) as database:
        found = database.execute(
            "SELECT DISTINCT module_path FROM mutation_specs WHERE job_id NOT IN "
            "(SELECT job_id FROM work_results) ORDER BY module_path"
        ).fetchall()
    return [module for (module,) in found]


def _nearest(tree: Path, module: str, room: str) -> list[str]:
    """Tests that are called as the file, then those that name it, then those of its folder."""
    path = Path(module)
    dotted = ".".join(path.with_suffix("").parts)
    tests = sorted(
        file.relative_to(tree)
        for place in ROOMS[room]
        for file in ([tree / place] if place.endswith(".py") else (tree / place).rglob("test_*.py"))
    )
    called = [test for test in tests if test.name == f"test_{path.name}"]
    naming = [test for test in tests if dotted in (tree / test).read_text()]
    beside = [test for test in tests if test.parent == Path("tests") / path.parent]
    return list(dict.fromkeys(map(str, [*called, *naming, *beside])))


def _outcomes(session: Path, room: str) -> Iterator[dict[str, Any]]:
    with sqlite3.connect(session) as database:
        found = database.execute(
            "SELECT module_path, start_pos_row, operator_name, test_outcome, output, diff "
            "FROM work_results JOIN mutation_specs USING (job_id) "
            "ORDER BY module_path, start_pos_row, operator_name"
        ).fetchall()
    for file, line, name, outcome, output, diff in found:
        if output == "timeout":  # on a busy machine that says nothing of the tests
            continue
        row = {"room": room, "file": file, "line": line, "operator": name.removeprefix("core/"),
               "outcome": str(outcome).lower()}  # fmt: skip
        if row["outcome"] == "survived":
            changed = [each for each in diff.splitlines() if each[:1] in "+-" and each[:3] not in
                       ("+++", "---")]  # fmt: skip
            row["change"] = "\n".join(changed)
        yield row


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
    add("--nearest", action="store_true", help="ask no others than the tests nearest to a file")
    add("--work", type=_absolute, required=True, metavar="FOLDER", help="for the copy of the tree")
    add("--minutes", type=float, default=600, help="after which it stops (default: 600)")
    add("--timeout", type=float, default=300, help="seconds a mutation (default: 300)")
    add("--cosmic-ray", default="build/mutation-env/bin/cosmic-ray", type=_absolute)
    add("--json", type=Path, metavar="FILE", help="write the result there")
    return parser


def _absolute(text: str) -> Path:
    return Path(text).absolute()


if __name__ == "__main__":
    main()
