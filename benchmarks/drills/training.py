"""Trainings that are killed and resumed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.drills.drill import Drill
from data.phantom import draw

SMALL = ("--patch", "32", "32", "--batch-size", "2", "--precision", "float32",
         "--network", "resunet-xs", "--checkpoint-seconds", "0")  # fmt: skip
STEPS = 60
COMMAND = [sys.executable, "-m", "training.fit"]


def phantom(folder: Path) -> Path:
    """A drawn dataset that is trained in seconds."""
    target = folder / "phantom"
    return target if target.exists() else draw(target, cases=4, size=(64, 80))


def fit(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m training.fit``."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)


def killed_training(drill: Drill) -> None:
    """A training is killed at random moments and resumed each time."""
    data, rng = phantom(drill.folder), random.Random(drill.seed)
    whole = drill.folder / "whole"
    began = time.perf_counter()
    assert fit(str(data), "--out", str(whole), "--steps", str(STEPS), *SMALL).returncode == 0
    longest = time.perf_counter() - began
    kills, runs, wrong, anew = 0, [drill.folder / "run-0"], 0, 0
    while kills < drill.kills:
        run = runs[-1]
        begun = (run / "plan.yaml").exists()
        if not begun and run.exists():  # killed before it had a plan: there is nothing to resume
            shutil.rmtree(run)
            anew += 1
        start = [str(data), "--out", str(run), "--steps", str(STEPS), *SMALL]
        moment = rng.uniform(0, longest)
        status = _killed_after(moment, ["--resume", str(run)] if begun else start)
        if status is None:
            kills += 1
            print(f"kill {kills} of {drill.kills}, after {moment:.1f} s, of {run.name}", flush=True)
            continue
        wrong += status != 0
        runs.append(drill.folder / f"run-{len(runs)}")
    last = runs[-1]
    if (last / "plan.yaml").exists():
        wrong += fit("--resume", str(last)).returncode != 0
    ended = [run for run in runs if (run / "report.html").exists()]
    same = sum(_same_weights(run / "package", whole / "package") for run in ended)
    drill.saw(
        seed=drill.seed,
        kills=kills,
        runs=len(ended),
        same_weights=same,
        failed=wrong,
        begun_anew=anew,
    )
    drill.at_most("runs that did not go on", wrong, 0)
    drill.at_least("runs that ended", len(ended), 1)
    drill.at_least("of them, with the weights of a run never killed", same / len(ended), 1)


def _killed_after(seconds: float, arguments: list[str]) -> int | None:
    """Exit status, or None where it was killed."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


def _same_weights(package: Path, other: Path) -> bool:
    ours, theirs = (_weights(next(folder.glob("*.onnx"))) for folder in (package, other))
    return ours.keys() == theirs.keys() and all(
        np.array_equal(ours[name], theirs[name]) for name in ours
    )


def _weights(file: Path) -> dict[str, np.ndarray]:
    return {each.name: numpy_helper.to_array(each) for each in onnx.load(file).graph.initializer}
