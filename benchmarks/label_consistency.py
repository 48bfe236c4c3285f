"""How far the labels of scratch-assay agree with themselves, and what that costs a score.

A nucleus lies inside of a cell. Where the labels have a nucleus whose surroundings are background,
a cell was left out, and whoever finds that cell is marked down. The script counts such nuclei and
scores a run's stored predictions with and without the pixels nearest to them.
Usage: python benchmarks/label_consistency.py RUN [--json FILE], RUN as training.fit wrote it.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, report
from seg.images import read_mask
from seg.metrics import dice
from training.dataset import Dataset, load_dataset
from training.evaluation.evaluator import prediction_file
from training.run.plan_yaml import read_plan

CYTOPLASM, NUCLEUS = 1, 2
SMALLEST_NUCLEUS = 40
"""Pixels; smaller ones are debris or cut by the edge."""
RING = (2, 6)
"""Pixels away from a nucleus that count as its surroundings."""
BOUND = 0.78

Labels = UInt8[np.ndarray, "y x"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run on scratch-assay")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    dataset = load_dataset(read_plan(arguments.run / "plan.yaml").data)

    rows = [count_orphans(dataset, split) for split in ("train", "test")]
    print(f"{'half':8} {'nuclei':>8} {'outside of every labelled cell':>32}")
    for row in rows:
        print(f"{row['half']:8} {row['nuclei']:8d} {row['orphans']:26d} ({row['share']:.0%})")
    everywhere, away = cytoplasm_dice(dataset, arguments.run / "predictions")
    bars = [
        bar("cytoplasm Dice, all test pixels", everywhere, BOUND, at_most=False),
        bar(
            "cytoplasm Dice away from nuclei that no labelled cell surrounds",
            away,
            BOUND,
            at_most=False,
        ),
    ]
    report("label_consistency", rows, bars, ("numpy", "scipy"), arguments.json)


def count_orphans(dataset: Dataset, split: str) -> dict[str, str | int | float]:
    """Nuclei of a half, and those outside of every labelled cell."""
    found = [
        orphans(dataset.read(case)[1].array)[1:] for case in dataset.cases if case.split == split
    ]
    nuclei, outside = (sum(counts) for counts in zip(*found, strict=True))
    return {"half": split, "nuclei": nuclei, "orphans": outside, "share": outside / nuclei}


def cytoplasm_dice(dataset: Dataset, predictions: Path) -> tuple[float, float]:
    """Dice over all test pixels, and over those whose nearest nucleus has a cell around it."""
    everywhere, away = [], []
    for case in dataset.test:
        labels = dataset.read(case)[1].array
        predicted = read_mask(prediction_file(predictions, case.name, 2)).array
        pair = np.stack([predicted == CYTOPLASM, labels == CYTOPLASM])
        near, _, _ = orphans(labels)
        everywhere.append(pair.reshape(2, -1))
        away.append(pair[:, ~near])
    all_pixels, kept = (np.concatenate(pairs, axis=1) for pairs in (everywhere, away))
    return dice(*all_pixels), dice(*kept)


def orphans(labels: Labels) -> tuple[Bool[np.ndarray, "y x"], int, int]:
    """Pixels nearest to a nucleus without a cell, the number of nuclei, and of those without."""
    nuclei, _ = ndimage.label(ndimage.binary_opening(labels == NUCLEUS, iterations=2))
    sizes = np.bincount(nuclei.ravel())
    counted = [i for i in range(1, len(sizes)) if sizes[i] >= SMALLEST_NUCLEUS]
    alone = [i for i in counted if not _has_cell(nuclei == i, labels)]
    nearest = ndimage.distance_transform_edt(
        nuclei == 0, return_distances=False, return_indices=True
    )
    return np.isin(nuclei[tuple(nearest)], alone), len(counted), len(alone)


def _has_cell(nucleus: Bool[np.ndarray, "y x"], labels: Labels) -> bool:
    inner, outer = (ndimage.binary_dilation(nucleus, iterations=n) for n in RING)
    ring = outer & ~inner & (labels != NUCLEUS)
    return not ring.any() or bool((labels[ring] > 0).mean() >= 0.5)


if __name__ == "__main__":
    main()
