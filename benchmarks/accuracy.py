"""Test Dice of ours and of nnU-Net's residual encoder network after the same minutes, side by side.

Both train at the same time, each on a core of its own with one thread, for the same minutes from
the start of its command: reading, planning and preprocessing count. Everything after training
(export, prediction) does not. Test images are segmented whole; the difference of their Dice has a
paired bootstrap interval over images. Networks are trained once: the interval does not hold what
another seed would change.

Usage: python benchmarks/accuracy.py --peer PYTHON --work DIR [--json FILE] [--plain smp segresnet]
    [DATASET=MINUTES ...]
PYTHON is that of benchmarks/peers/nnunet/environment.py. What is finished in DIR is not done again.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, report
from data.fetch import fetch
from seg.images import read_mask
from seg.metrics import confusion_matrix, dice_per_class, paired_test
from training.dataset import Dataset, load_dataset
from training.evaluation.evaluator import prediction_file
from training.evaluation.score_files import read_metrics

PEERS = Path(__file__).parent / "peers"
TRAIN = PEERS / "nnunet" / "train.py"
PLAIN = {
    "smp": "Unet resnet34 of segmentation-models-pytorch",
    "segresnet": "SegResNet of MONAI",
}
"""Networks of other libraries in a plain loop (peers/plain/train.py), after the pair."""
MINUTES = {"hela": 12.0, "cho": 10.0, "scratch-assay": 8.0}
ABOVE_ZERO = ("hela",)
"""Datasets on which the whole interval must lie above 0; on the others none of it below."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Pair:
    """What both make of one dataset."""

    data: Path
    minutes: float
    folder: Path
    peer: Path
    seed: int

    @property
    def ours(self) -> Path:
        """The folder of our run."""
        return self.folder / "ours"

    @property
    def theirs(self) -> Path:
        """nnU-Net's results folder."""
        return next((self.folder / "nnunet" / "results").glob("*/*"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("datasets", nargs="*", metavar="DATASET=MINUTES", help=f"default: {MINUTES}")
    add("--peer", type=Path, required=True, help="Python of an environment with nnU-Net")
    add("--work", type=Path, required=True, help="folder for runs")
    add("--data", type=Path, default=Path("datasets"), help="folder of data.fetch")
    add("--seed", type=int, default=0)
    add(
        "--mirrored",
        action="store_true",
        help="nnU-Net's masks also in mirrors: 4 or 8 times longer",
    )
    add("--only-train", action="store_true", help="leave predicting and scoring to a later call")
    add("--plain", nargs="+", choices=PLAIN, default=[], help=f"also these: {PLAIN}")
    add("--json", type=Path)
    options = parser.parse_args()
    chosen = dict(_parsed(text) for text in options.datasets) or MINUTES
    rows: list[dict[str, Any]] = []
    for name, minutes in chosen.items():
        pair = Pair(
            fetch(name, options.data).absolute(),
            minutes,
            options.work.absolute() / f"{name}-{options.seed}",
            options.peer.absolute(),
            options.seed,
        )
        train(pair)
        if not options.only_train:
            rows += score(pair, mirrored=options.mirrored, plain=options.plain)
    if rows:
        print_table(rows)
        bars = [
            bar(
                f"{row['dataset']} {row['class']}: 95% interval of the difference, lower end"
                if row["dataset"] in ABOVE_ZERO
                else f"{row['dataset']} {row['class']}: 95% interval of the difference, upper end",
                row["difference_ci95"][0 if row["dataset"] in ABOVE_ZERO else 1],
                0.0,
                at_most=False,
            )
            for row in rows
        ]
        report("accuracy", rows, bars, ("seg", "torch", "lightning", "monai"), options.json)


def _parsed(text: str) -> tuple[str, float]:
    name, _, minutes = text.partition("=")
    return name, float(minutes or MINUTES[name])


def train(pair: Pair) -> None:
    """Both at once, each on its own core."""
    if (pair.folder / "trained").exists():
        return
    pair.folder.mkdir(parents=True, exist_ok=True)
    shared = ["--minutes", str(pair.minutes), "--seed", str(pair.seed)]
    commands = {
        "ours": [sys.executable, "-m", "training.fit", pair.data, "--out", pair.ours, *shared],
        "nnunet": [pair.peer, TRAIN.absolute(), pair.data, pair.folder / "nnunet", *shared],
    }
    cores = sorted(os.sched_getaffinity(0))
    running = []
    for core, (name, command) in zip(cores, commands.items(), strict=False):
        log = (pair.folder / f"{name}.log").open("w", encoding="utf-8")
        pinned = ["taskset", "--cpu-list", str(core), *map(str, command)]
        environment = (
            os.environ | ONE_THREAD | ({"PYTHONPATH": str(Path.cwd())} if name == "ours" else {})
        )
        running.append((name, subprocess.Popen(pinned, stdout=log, stderr=log, env=environment)))
    if len(running) < len(commands):
        raise SystemExit("this benchmark needs two cores")
    for name, process in running:
        if process.wait() != 0:
            raise SystemExit(f"{name} failed, see {pair.folder / f'{name}.log'}")
    (pair.folder / "trained").touch()


def predict(pair: Pair, *, mirror: bool) -> Path:
    """nnU-Net's own masks of the test images."""
    target = pair.folder / ("masks-mirrored" if mirror else "masks")
    if (target / "done").exists():
        return target
    command = [
        pair.peer.parent / "nnUNetv2_predict_from_modelfolder",
        *("-i", pair.data / "imagesTs", "-o", target, "-m", pair.theirs, "-f", "all"),
        *("-device", "cpu", "-npp", "1", "-nps", "1", "--continue_prediction"),
        *(() if mirror else ("--disable_tta",)),
    ]
    with (pair.folder / "predict.log").open("a", encoding="utf-8") as log:
        subprocess.run([str(part) for part in command], check=True, stdout=log, stderr=log)
    (target / "done").touch()
    return target


def plain_masks(pair: Pair, name: str) -> Path:
    """Those of a plain loop, trained for the same minutes on one core."""
    target = pair.folder / name
    if not (target / "done").exists():
        core = min(os.sched_getaffinity(0))
        command = [
            *("taskset", "--cpu-list", core, sys.executable, PEERS / "plain" / "train.py", name),
            *(pair.data, target, "--minutes", pair.minutes, "--seed", pair.seed),
        ]
        with (pair.folder / f"{name}.log").open("w", encoding="utf-8") as log:
            subprocess.run(
                [str(part) for part in command], check=True, stdout=log, stderr=log,
                env=os.environ | ONE_THREAD,
            )  # fmt: skip
        (target / "done").touch()
    return target


def score(pair: Pair, *, mirrored: bool, plain: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each class."""
    dataset = load_dataset(pair.data)
    ending = json.loads((pair.data / "dataset.json").read_text(encoding="utf-8"))["file_ending"]
    dims = dataset.read(dataset.test[0])[0].dims
    ours = dice_of(
        dataset, [prediction_file(pair.ours / "predictions", c.name, dims) for c in dataset.test]
    )

    def theirs(*, mirror: bool) -> np.ndarray:
        folder = predict(pair, mirror=mirror)
        return dice_of(dataset, [folder / f"{case.name}{ending}" for case in dataset.test])

    def others(name: str) -> np.ndarray:
        folder = plain_masks(pair, name)
        return dice_of(dataset, [prediction_file(folder, c.name, dims) for c in dataset.test])

    peers = {name: others(name) for name in plain}
    single = theirs(mirror=False)
    in_mirrors = theirs(mirror=True) if mirrored else None
    floors = read_metrics(pair.ours / "metrics.json").summary
    about = json.loads((pair.theirs / "about.json").read_text(encoding="utf-8"))
    rows = []
    for index, info in enumerate(dataset.classes[1:]):
        test = paired_test(single[:, index], ours[:, index], np.random.default_rng(0))
        rows.append(
            {
                "dataset": dataset.name,
                "class": info.name,
                "minutes": pair.minutes,
                "images": len(dataset.test),
                "ours": float(ours[:, index].mean()),
                "nnunet": float(single[:, index].mean()),
                "nnunet_mirrored": None
                if in_mirrors is None
                else float(in_mirrors[:, index].mean()),
                "difference": test.difference.mean,
                "difference_ci95": [test.difference.low, test.difference.high],
                "p": None if np.isnan(test.p_value) else test.p_value,
                "thresholding": floors[info.name].floor,
                "each_ours": ours[:, index].tolist(),
                "each_nnunet": single[:, index].tolist(),
                "plain": {
                    name: _beside(ours[:, index], each[:, index]) for name, each in peers.items()
                },
                "nnunet_steps": about["steps"],
                "nnunet_plan": about["plan"],
                "nnunet_seconds_of_planning": about["seconds_of_planning"],
                "nnunet_version": _version(pair.peer),
                "seed": pair.seed,
            }
        )
    return rows


def _beside(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    test = paired_test(theirs, ours, np.random.default_rng(0))
    return {
        "dice": float(theirs.mean()),
        "difference": test.difference.mean,
        "difference_ci95": [test.difference.low, test.difference.high],
        "each": theirs.tolist(),
    }


def dice_of(dataset: Dataset, masks: Sequence[Path]) -> np.ndarray:
    """Cases by foreground classes."""
    found = []
    for case, file in zip(dataset.test, masks, strict=True):
        image, reference = dataset.read(case)
        mask = read_mask(file, dims=image.dims)
        counts = confusion_matrix(mask.array, reference.array, len(dataset.classes))
        found.append(dice_per_class(counts)[1:])
    return np.array(found)


def _version(peer: Path) -> str:
    code = "from importlib.metadata import version; print(version('nnunetv2'))"
    return subprocess.run(
        [peer, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    print("| dataset | class | minutes | ours | nnU-Net | ours - nnU-Net (95%) | thresholding |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        low, high = row["difference_ci95"]
        print(
            f"| `{row['dataset']}` | {row['class']} | {row['minutes']:g} | {row['ours']:.3f} "
            f"| {row['nnunet']:.3f} "
            f"| {row['difference']:+.3f} ({low:+.3f} to {high:+.3f}) | {row['thresholding']:.3f} |"
        )
    for row in rows:
        for name, peer in row["plain"].items():
            low, high = peer["difference_ci95"]
            print(
                f"{row['dataset']} {row['class']}, {PLAIN[name]}: {peer['dice']:.3f}, "
                f"ours - it {peer['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
            )


if __name__ == "__main__":
    main()
