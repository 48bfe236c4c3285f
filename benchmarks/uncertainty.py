"""What several passes of one network know of its errors: mirrors against random depth.

    python benchmarks/uncertainty.py RUN [--variants PACKAGE] [--folds PACKAGE] [--budget 4]
                                     [--json FILE]

RUN is a run of ``python -m training.fit --elastic``, the packages its variants and what
``fit --folds`` made of the same data. The run's held-back cases are segmented by one pass, by the
mirrored passes, by the networks of each package together (the cost of variants is their time in
the card, that of folds one pass each), and by passes that each lack random blocks of the deep
stages, as many as cost no more than the budget: what lies before those stages is the same for all
passes and counted once. All of them go through the ``Predictor`` that serves. Shown are

- ECE of the mean probabilities, raw and with a temperature that the other cases chose,
- the area under the risk-coverage curve (the share of wrong voxels, averaged over what share of
  the voxels one keeps, the surest first) and the area under the ROC curve of error detection, for
  the entropy of the mean and for the disagreement (mutual information),
- the mean error of a Dice that is predicted from the probabilities, or from how much the passes'
  masks overlap, each mapped to Dice by a line that the other cases chose.

The difference to the mirrors' risk-coverage area is taken case by case, with its bootstrap interval
over the cases; of random depth also at the rate that is best on all other cases.

Sources: Geifman & El-Yaniv, Selective classification for deep neural networks, NeurIPS 2017
(risk and coverage); Roy et al., Bayesian QuickNAT, NeuroImage 195 (2019) (Dice among samples).
"""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

# benchmarks/training.py has the name of a room that is needed here
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.doubts import (
    LEAST,
    Seen,
    area_under_roc,
    calibration,
    case_by_case,
    left_out_error,
    risk_coverage,
    soft_dice,
)
from benchmarks.result import bar, report
from seg.inference import Backend, OnnxBackend, Predictor
from seg.inference.labels.entropy import voxel_entropy
from seg.inference.trust.disagreement import Disagreement, other_networks
from seg.metrics import bootstrap_mean
from seg.model_package import ModelPackage
from seg.networks import ResidualUNet
from seg.networks.costs import flops_of
from training.learning.checkpoint import trained_in
from training.run.folder import RunFolder
from training.run.job import job_in

DEEP = 2
"""Stages from this one on lose blocks: cheap to run again, since their inputs are shared."""
RATES = (0.2, 0.5)
"""At which a block is left out in a pass."""
DRAWS = 3
"""Of blocks that are left out, each shown by itself."""
CHOSEN = "random depth, rate chosen on the other cases"


class Pass:
    """A backend of one network, of which a pass may be mirrored or lack blocks."""

    provider = "cpu"
    batch_size = 1
    callers = 1

    def __init__(self, network: ResidualUNet, patch: Sequence[int], flip: tuple[int, ...] = ()):
        self._network = network
        self._flip = tuple(2 + axis for axis in flip)
        self.patch = tuple(patch)

    def run(self, patches: np.ndarray) -> np.ndarray:
        """Logits, mirrored back."""
        seen = torch.from_numpy(np.ascontiguousarray(np.flip(patches, self._flip)))
        with torch.inference_mode():
            return np.flip(self._network(seen).numpy(), self._flip)


@dataclass(frozen=True)
class Way:
    """Several passes."""

    name: str
    passes: tuple[Backend, ...]
    cost: float
    """In passes of the whole network."""
    package: ModelPackage
    """Says what is done before and after the network."""


def ways_of(network: ResidualUNet, package: ModelPackage, budget: float) -> Iterator[Way]:
    """All of one network."""
    patch = package.card.input.patch
    yield Way("one pass", (Pass(network, patch),), 1.0, package)
    axes = range(len(patch))
    flips = [flip for n in range(len(patch) + 1) for flip in combinations(axes, n)]
    mirrored = tuple(Pass(network, patch, flip) for flip in flips)
    yield Way("mirrors", mirrored, float(len(flips)), package)
    for rate in RATES:
        for seed in range(DRAWS):
            rng = np.random.default_rng(seed)
            passes, cost = random_depth(network, patch, rate, budget, rng)
            yield Way(f"random depth {rate:g}, draw {seed}", passes, cost, package)


def variants_of(package: ModelPackage) -> Way:
    """The package's first variant, and each other network in it."""
    card = package.card
    names = [card.variants[0].name, *other_networks(card)]
    times = [card.variant(name).milliseconds_per_patch or math.nan for name in names]
    title = f"variants ({', '.join(names)})"
    return Way(title, networks_of(package, names), sum(times) / times[0], package)


def folds_of(package: ModelPackage) -> Way:
    """The networks of a cross-validation, each of which has seen other cases."""
    names = package.card.members(None)
    return Way(f"{len(names)} folds", networks_of(package, names), float(len(names)), package)


def networks_of(package: ModelPackage, names: Sequence[str]) -> tuple[Backend, ...]:
    """One backend each."""
    return tuple(OnnxBackend(package.model_file(name), provider="cpu") for name in names)


def random_depth(
    network: ResidualUNet,
    patch: Sequence[int],
    rate: float,
    budget: float,
    rng: np.random.Generator,
) -> tuple[tuple[Pass, ...], float]:
    """The whole network, and as many without random deep blocks as the budget allows; the cost."""
    deep = [
        name
        for name in network.droppable_blocks(reshaping=True)
        if name.startswith("encoder.stages.") and int(name.split(".")[2]) >= DEEP
    ]
    whole, shared = flops_of(network, tuple(patch)), shared_flops(network, patch)
    passes, cost, seen = [Pass(network, patch)], 1.0, {()}
    while len(seen) < 2 ** len(deep):
        dropped = tuple(name for name in deep if rng.random() < rate)
        if dropped in seen:
            continue
        shallower = network.without(dropped)
        more = (flops_of(shallower, tuple(patch)) - shared) / whole
        if cost + more > budget:
            break
        seen.add(dropped)
        passes.append(Pass(shallower, patch))
        cost += more
    return tuple(passes), cost


def shared_flops(network: ResidualUNet, patch: Sequence[int]) -> int:
    """Of what lies before the deep stages."""
    encoder = network.encoder
    before = nn.Sequential(encoder.get_submodule("stem"), *list(encoder.stages)[:DEEP])
    image = torch.zeros(1, network.config.in_channels, *patch)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        before(image)
    return int(counter.get_total_flops())


def seen_by(way: Way, dataset: Any) -> list[Seen]:
    """Every held-back case."""
    found = []
    for case in tqdm(dataset.test, desc=way.name, unit="case", disable=None):
        image, mask = dataset.read(case)
        outputs = [
            Predictor(way.package, backend).predict_probabilities(image) for backend in way.passes
        ]
        found.append(_seen(np.stack(outputs), np.asarray(mask.array), dataset))
    return found


def _seen(outputs: np.ndarray, truth: np.ndarray, dataset: Any) -> Seen:
    classes = range(1, outputs.shape[1])
    known = truth < outputs.shape[1]
    mean = outputs.mean(axis=0)
    heard = Disagreement(dataset.legend.task)
    for each in outputs:
        heard.hear(np.log(np.maximum(each, LEAST))[None])
    labels = mean.argmax(axis=0)
    alone = outputs.argmax(axis=1)
    return Seen(
        mean=mean[:, known],
        disagreement=heard.result()[0][known] if len(outputs) > 1 else None,
        truth=truth[known],
        agreement=np.array([np.mean([_dice(a == c, labels == c) for a in alone]) for c in classes]),
        dice=np.array([_dice((labels == c) & known, truth == c) for c in classes]),
    )


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    total = int(one.sum() + other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def rows_of(way: Way, seen: Sequence[Seen], task: Any) -> Iterator[dict[str, Any]]:
    """A row for each measure of uncertainty."""
    wrong = np.concatenate([each.mean.argmax(axis=0) != each.truth for each in seen])
    raw, tempered = calibration(seen)
    soft = np.array([soft_dice(each.mean) for each in seen])
    dice = np.array([each.dice for each in seen])
    measures = {"entropy": (np.concatenate([voxel_entropy(s.mean, task) for s in seen]), soft)}
    if len(way.passes) > 1:
        agreement = np.array([each.agreement for each in seen])
        measures["disagreement"] = (np.concatenate([s.disagreement for s in seen]), agreement)
    for name, (doubt, told) in measures.items():
        yield {
            "way": way.name,
            "by": name,
            "passes": len(way.passes),
            "cost": way.cost,
            "dice": float(np.nanmean(dice)),
            "ece": raw,
            "ece_tempered": tempered,
            "risk_coverage": risk_coverage(doubt, wrong),
            "risk_coverage_cases": case_by_case(doubt, wrong, [s.truth.size for s in seen]),
            "error_roc": area_under_roc(doubt, wrong),
            "dice_error": left_out_error(told, dice),
        }


def at_the_rate_of_others(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Risk-coverage area of each case at the rate that is best on all other cases.

    The mean over the draws is what counts: a draw is chance.
    """
    rates = np.array([
        np.mean([
            row["risk_coverage_cases"]
            for row in rows
            if row["way"].startswith(f"random depth {rate:g},") and row["by"] == "entropy"
        ], axis=0)
        for rate in RATES
    ])  # fmt: skip
    best = np.argmin(rates.sum(axis=1, keepdims=True) - rates, axis=0)
    return [float(area) for area in rates[best, np.arange(rates.shape[1])]]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--variants", type=Path, metavar="PACKAGE")
    parser.add_argument("--folds", type=Path, metavar="PACKAGE")
    parser.add_argument("--budget", type=float, default=4.0, help="passes of the whole network")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    run = RunFolder(options.run)
    job, _ = job_in(run, "benchmarks/uncertainty.py")
    if job.dataset.legend.task != "exclusive":
        raise SystemExit("this benchmark compares classes that exclude each other")
    network = trained_in(run, job.plan, job.dataset.legend).network
    package = ModelPackage.load(run.package)
    print(
        f"{'way':24} {'by':13} passes  cost   Dice     ECE  tempered  risk-coverage  errors  Dice"
    )
    rows = []
    ways = list(ways_of(network, package, options.budget))
    for folder, made in ((options.variants, variants_of), (options.folds, folds_of)):
        if folder:
            ways.insert(2, made(ModelPackage.load(folder)))
    for way in ways:
        for row in rows_of(way, seen_by(way, job.dataset), job.dataset.legend.task):
            rows.append(row)
            print(
                f"{row['way'][:24]:24} {row['by']:13} {row['passes']:6d} {row['cost']:5.2f} "
                f"{row['dice']:6.4f} {row['ece']:7.4f} {row['ece_tempered']:9.4f} "
                f"{row['risk_coverage']:14.5f} {row['error_roc']:7.4f} {row['dice_error']:6.4f}",
                flush=True,
            )
    mirrors = next(row for row in rows if row["way"] == "mirrors" and row["by"] == "entropy")
    chosen = {
        "way": CHOSEN,
        "by": "entropy",
        "risk_coverage_cases": at_the_rate_of_others(rows),
    }
    for row in (*rows, chosen):
        found = bootstrap_mean(
            np.subtract(row["risk_coverage_cases"], mirrors["risk_coverage_cases"]),
            np.random.default_rng(0),
        )
        row["against_mirrors"] = {"mean": found.mean, "low": found.low, "high": found.high}
        print(f"{row['way'][:24]:24} {row['by']:13} risk-coverage against mirrors, case by case: "
              f"{found.mean:+.5f} ({found.low:+.5f} to {found.high:+.5f})")  # fmt: skip
    rows.append(chosen)
    bars = [bar(f"{CHOSEN}: upper end of what it adds to the risk-coverage area of mirrors",
                chosen["against_mirrors"]["high"], 0.0, at_most=True)]  # fmt: skip
    report("uncertainty", rows, bars, ("torch", "numpy", "scipy"), options.json)


if __name__ == "__main__":
    main()
