"""Whether a package knows how good its masks are, of images unlike those of its training.

    python benchmarks/shift.py --package runs/demo/package --data DATASET --json shift.json

Pieces of the dataset's test images are degraded as the world does it, in other places and with
other strengths than those that the package was taught with at its export, and segmented. What the
package says of each, its predicted Dice, its interval and its warnings, is held against the truth.
Whole test images, as they are, must be called unlike the training's by no warning. Of several
packages of the same classes the later ones are held against the first: how much of what it loses
under each degradation they lose, and what that costs on pieces as they are.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.doubts import area_under_roc
from benchmarks.result import bar, report
from seg.inference import Predictor
from seg.model_package import ModelPackage
from training.dataset import Dataset, load_dataset
from training.evaluation.trust.shifted_cases import (
    CLEAN,
    SEED,
    degraded_pieces,
    dice_of_classes,
)

ERROR, COVERED, RANKED, FALSE_WARNINGS = 0.05, (0.85, 0.97), 0.95, 0.05
LOSS_LEFT, CLEAN_LOST = 0.5, 0.003
SLIGHT = 0.02
"""Dice whose loss is not worth a ratio."""
LITTLE = 0.5
"""Of the usual Dice: less is what a warning should be of."""
Row = dict[str, Any]


def main() -> None:
    """Measure package by package."""
    options = _parser().parse_args()
    dataset = load_dataset(options.data)
    rows: list[Row] = []
    bars: list[Row] = []
    for folder in options.package:
        predictor = Predictor(ModelPackage.load(folder))
        found = _pieces(predictor, dataset, options.seeds)
        warned = [
            bool(predictor.segment(dataset.read(case)[0]).quality.warnings) for case in dataset.test
        ]
        name = folder.parent.name
        bars += _bars(name, found, warned)
        rows += [{"package": name, **row} for row in found]
        for line in _by_way(found):
            print(line, flush=True)
    for each in options.package[1:]:
        bars += _against(options.package[0].parent.name, each.parent.name, rows)
    report("shift", rows, bars, ("onnxruntime", "scipy"), options.json)


def _pieces(predictor: Predictor, dataset: Dataset, seeds: int) -> list[Row]:
    """A row for each class of each piece that is there, in the mask or in truth."""
    rows = []
    quality = predictor.package.card.quality
    known = quality.dice if quality else {}
    for seed in range(SEED + 1, SEED + 1 + seeds):
        for piece in degraded_pieces(predictor, dataset, dataset.test, seed):
            said = predictor.segment(piece.image)
            told = said.quality
            truth = dice_of_classes(said.mask, piece.reference, dataset)
            for name, reached in truth.items():
                if name in known and np.isfinite(reached):
                    rows.append(
                        {
                            "way": piece.way,
                            "class": name,
                            "dice": round(reached, 4),
                            "predicted": told.predicted_dice.get(name),
                            "interval": told.interval.get(name),
                            "warnings": len(told.warnings),
                        }
                    )
    return rows


def _bars(name: str, rows: Sequence[Row], warned: Sequence[bool]) -> list[Row]:
    known = [row for row in rows if row["predicted"] is not None and row["interval"]]
    truth = np.array([row["dice"] for row in known])
    said = np.array([row["predicted"] for row in known])
    covered = float(
        np.mean([row["interval"][0] <= row["dice"] <= row["interval"][1] for row in known])
    )
    usual = {
        kind: float(
            np.median([r["dice"] for r in known if r["class"] == kind and r["way"] == CLEAN])
        )
        for kind in {row["class"] for row in known}
    }
    relative = np.array([1 / usual[row["class"]] for row in known])
    bad = truth * relative < LITTLE
    found = [
        bar(f"{name}: mean error of the predicted Dice", float(np.abs(said - truth).mean()), ERROR,
            at_most=True),
        bar(f"{name}: intervals that hold the truth", covered, COVERED[0], at_most=False),
        bar(f"{name}: intervals that hold the truth", covered, COVERED[1], at_most=True),
        bar(f"{name}: untouched test images with a warning", float(np.mean(warned)),
            FALSE_WARNINGS, at_most=True),
    ]  # fmt: skip
    if bad.any() and not bad.all():
        ranked = area_under_roc(-said * relative, bad)
        found.append(bar(f"{name}: AUROC of a Dice below half", ranked, RANKED, at_most=False))
    return found


def _against(first: str, other: str, rows: Sequence[Row]) -> list[Row]:
    """What is lost under each degradation by two packages, on the same pieces."""
    classes = sorted({row["class"] for row in rows})
    found = []
    for kind in classes:
        dice = {
            (name, way): float(np.mean([
                row["dice"] for row in rows
                if (row["package"], row["way"], row["class"]) == (name, way, kind)
            ] or [np.nan]))
            for name in (first, other) for way in dict.fromkeys(row["way"] for row in rows)
        }  # fmt: skip
        clean = {name: dice[name, CLEAN] for name in (first, other)}
        lost = clean[first] - clean[other]
        found.append(
            bar(f"{other}: Dice of {kind} lost on pieces as they are", lost, CLEAN_LOST,
                at_most=True)
        )  # fmt: skip
        for way in dict.fromkeys(row["way"] for row in rows):
            before, after = (clean[name] - dice[name, way] for name in (first, other))
            if way != CLEAN and before > SLIGHT:
                found.append(
                    bar(f"{other}: share of the {before:.3f} Dice of {kind} that {first} loses, "
                        f"{way}", after / before, LOSS_LEFT, at_most=True)
                )  # fmt: skip
    return found


def _by_way(rows: Sequence[Row]) -> list[str]:
    lines = []
    for kind in sorted({row["class"] for row in rows}):
        for way in dict.fromkeys(row["way"] for row in rows):
            own = [row for row in rows if row["class"] == kind and row["way"] == way]
            known = [row for row in own if row["predicted"] is not None]
            truth = float(np.mean([row["dice"] for row in own])) if own else float("nan")
            error = (
                float(np.mean([abs(row["predicted"] - row["dice"]) for row in known]))
                if known
                else float("nan")
            )
            silent = sum(row["predicted"] is None and not row["warnings"] for row in own)
            lines.append(
                f"{kind:12} {way:16} Dice {truth:.3f}, predicted within {error:.3f}, "
                f"{silent} of {len(own)} without a word"
            )
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    add = parser.add_argument
    add("--package", type=Path, nargs="+", required=True, metavar="FOLDER")
    add("--data", type=Path, required=True, metavar="DATASET", help="whose test images are used")
    add("--seeds", type=int, default=1, help="rounds of other places and strengths (default: 1)")
    add("--json", type=Path, metavar="FILE", help="write the result there")
    return parser


if __name__ == "__main__":
    main()
