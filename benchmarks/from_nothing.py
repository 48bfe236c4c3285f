"""Twenty outlines to a model: ``python benchmarks/from_nothing.py datasets/hela --json FILE``.

Outlines are drawn from the reference object by object in small areas of a few training images;
all else is ignored. ``training.fit`` has some minutes; the package is evaluated on test images.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.people import drawn_folder
from benchmarks.result import bar, report
from training.dataset import load_dataset
from training.run.plan_yaml import read_plan

BOUND = 0.80


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="nnU-Net folder with instancesTr")
    parser.add_argument("--outlines", type=int, default=20)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, default=Path("runs/from-nothing"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("fit", nargs="*", help="further options of training.fit, behind --")
    options = parser.parse_intermixed_args()
    scratch, run = options.scratch, options.scratch / "run"
    studio = drawn_folder(
        options.data, scratch / "drawn", options.outlines, options.frames, options.seed
    )
    dataset = load_dataset(studio.folder)
    outlines = sum(
        int(dataset.read_objects(case, *dataset.read(case)).max()) for case in dataset.cases
    )
    subprocess.run(["rm", "-rf", str(run)], check=True)
    begun = time.perf_counter()
    command = [sys.executable, "-m", "training.fit", str(studio.folder), "--out", str(run)]
    command += ["--minutes", f"{options.minutes:g}", "--seed", str(options.seed), *options.fit]
    subprocess.run(command, check=True)
    minutes = (time.perf_counter() - begun) / 60
    scores = scratch / "scores.json"
    evaluate = ["training.evaluate", str(run / "package"), str(options.data), "--split", "test"]
    subprocess.run([sys.executable, "-m", *evaluate, "--out", str(scores)], check=True)
    found = json.loads(scores.read_text())["objects"]
    ap = next(iter(found.values()))["measures"]["ap_50"]["value"]
    plan = read_plan(run / "plan.yaml")
    row = {
        "outlines": outlines,
        "images": len(dataset.cases),
        "held_back": len(dataset.test),
        "minutes": round(minutes, 1),
        "seed": options.seed,
        "planned_steps": plan.expected_steps,
        "ap_50": ap,
    }
    print(row)
    bars = [bar(f"AP .5 on test frames from {outlines} outlines", ap, BOUND, at_most=False)]
    report("from_nothing", [row], bars, ["torch", "onnxruntime"], options.json)


if __name__ == "__main__":
    main()
