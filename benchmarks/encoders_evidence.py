"""Whether weights that were learnt on photographs help, with few images and few minutes.

Three arms after equal time of one core, with the same patch, batch and precision: an encoder with
ImageNet's weights, the same encoder from random weights, and the preset `resunet-s`. What counts is
the time that the core computed for the training, so that other programs change nothing. Each seed
draws its own training images (where there are more than it takes), the weights and the patches.
Scored are whole test images: their mean Dice. A difference has a Student's interval over the seeds.
Trainings of several lengths may lie in one folder; each has rows of its own.

Usage: python benchmarks/encoders_evidence.py --work DIR --json FILE [--data DIR]
    [--minutes M] [--seconds S] [DATASET=IMAGES ...]
Every finished training is a file in DIR and not done again, so that a benchmark that was stopped,
or told to stop after S seconds, goes on.
"""

import argparse
import json
import math
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, report
from data.fetch import fetch
from seg.networks import SegmentationNetwork
from training.dataset import Dataset, load_dataset
from training.dataset.fingerprint import fingerprint_of
from training.learning.foreign_encoder import begin_with_weights
from training.learning.trial import try_out
from training.planning.foreign_networks import check_network, foreign_fields
from training.planning.rules import make_plan, planned_augmentation
from training.run.clock import Clock
from training.run.device import find_device
from training.run.plan import Plan

SETTINGS = ("stained-tissue=2", "hela=2", "scratch-assay=2", "hela=5")
SEEDS = 3
MINUTES = 0.4
SAME: Mapping[str, Any] = {
    "patch": (128, 128),
    "batch_size": 4,
    "precision": "bfloat16",
    "threads": 1,
}
"""In all arms; what planning would choose differs with the machine's other work."""
FEW_STEPS = 200
"""For which augmentation is planned."""
ENCODER = "tu-tf_efficientnet_lite0"
CARD = "efficientnet-lite0"
PRETRAINED = {
    "network": f"smp:unet/{ENCODER}",
    "weights": "encoder.safetensors",
    "encoder_rate": 0.1,
    "frozen_statistics": True,
}
ARMS: Mapping[str, Mapping[str, Any]] = {
    "pretrained": PRETRAINED,
    "random": {"network": f"smp:unet/{ENCODER}"},
    "resunet-s": {"network": "resunet-s"},
}
GROUP_NORM, GROUPS = "group norm", 8
CORE_MINUTES = "core_minutes"
SETTING = ("dataset", "images", CORE_MINUTES, "given_steps")
"""What the trainings of a row have in common."""
WAYS: Mapping[str, Mapping[str, Any]] = {
    "batch statistics": PRETRAINED | {"frozen_statistics": False},
    GROUP_NORM: PRETRAINED | {"frozen_statistics": False},
    "rate 1": PRETRAINED | {"encoder_rate": 1.0},
    f"rate 1, {GROUP_NORM}": PRETRAINED | {"encoder_rate": 1.0, "frozen_statistics": False},
    "rate 0.3": PRETRAINED | {"encoder_rate": 0.3},
    "frozen for 0.2": PRETRAINED | {"frozen_share": 0.2},
}
"""Other ways to train it than at a tenth of the rate, with the statistics that it came with."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("settings", nargs="*", metavar="DATASET=IMAGES", help=f"default: {SETTINGS}")
    add("--work", type=Path, required=True, help="folder for what is finished")
    add("--data", type=Path, default=Path("datasets"), help="folder of data.fetch")
    add("--minutes", type=float, default=MINUTES, help="of one core for a training")
    add("--arms", nargs="+", choices=[*ARMS, *WAYS], default=[*ARMS], metavar="ARM",
        help=f"of {', '.join([*ARMS, *WAYS])} (default: the first three)")  # fmt: skip
    add("--steps", type=int, help="in place of minutes, for ways of which a step costs the same")
    add("--seeds", type=int, default=SEEDS)
    add("--seconds", type=float, default=float("inf"), help="after which none is begun")
    add("--json", type=Path)
    add("--figure", type=Path, help="Dice against the number of images, as a picture")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    for seed, setting in product(range(options.seeds), options.settings or SETTINGS):
        name, _, images = setting.partition("=")
        for arm in options.arms:
            if time.monotonic() - begun > options.seconds:
                print("out of time; call again to go on", flush=True)
                return
            train_one(options, name, int(images), arm, seed)
    runs = [json.loads(file.read_text("utf-8")) for file in sorted(options.work.glob("*.json"))]
    rows = [row for row in summary(runs) if row["seeds"] > 1]
    for row in rows:
        print(json.dumps(row), flush=True)
    if options.figure:
        draw(runs, options.figure)
    ahead = _best_lower_end(rows, "random")
    behind = _best_lower_end(rows, "resunet-s")
    bars = [
        bar("pretrained less random weights, best lower end of an interval", ahead, 0,
            at_most=False),
        bar("pretrained less resunet-s, best lower end of an interval", behind, 0, at_most=False),
    ]  # fmt: skip
    libraries = ("seg", "torch", "timm", "segmentation-models-pytorch")
    report("encoders_evidence", [*rows, *runs], bars, libraries, options.json)


@dataclass
class CoreClock(Clock):
    """Counts the time that this process computed, on all cores together."""

    _begun: float = field(default_factory=time.process_time)

    def elapsed_s(self) -> float:
        """Seconds of one core."""
        return self.spent_s + time.process_time() - self._begun


def train_one(options: argparse.Namespace, name: str, images: int, arm: str, seed: int) -> None:
    """One training and its scores, as a file."""
    length = f"{options.steps}steps" if options.steps else f"{options.minutes:g}min"
    target = options.work / f"{name}-{images}-{length}-{arm}-{seed}.json"
    if target.exists():
        return
    data = load_dataset(fetch(name, options.data))
    chosen = dict((ARMS | WAYS)[arm])
    if "weights" in chosen:
        chosen["weights"] = str((fetch(CARD, options.data) / chosen["weights"]).resolve())
    chosen |= SAME | {"dataset": name, "data": str(data.folder), "seed": seed}
    few = with_few(data, images, seed)
    device = find_device()
    check_network(chosen, few)
    fingerprint = fingerprint_of(few)
    augmentation = planned_augmentation(FEW_STEPS, few.channels, few.dims)
    chosen = foreign_fields(chosen, few, fingerprint) | {"augmentation": augmentation} | chosen
    chosen |= {"minutes": options.minutes, "steps": options.steps}
    plan = make_plan(fingerprint, few.channels, device.kind, voxels=None, **chosen)
    clock = CoreClock(options.minutes, options.steps)
    folder = options.work / target.stem
    shutil.rmtree(folder, ignore_errors=True)
    with with_group_norms() if GROUP_NORM in arm else nullcontext():
        trial = try_out(plan, few, few.train, few.test, device, folder, clock)
    shutil.rmtree(folder)
    row = {
        "dataset": name,
        "images": len(few.train),
        "arm": arm,
        "seed": seed,
        "core_minutes": None if options.steps else options.minutes,
        "cases": [case.name for case in few.train],
        "steps": trial.steps,
        "patch": plan.patch,
        "batch_size": plan.batch_size,
        "dice": trial.mean,
        "each": trial.dice,
    }
    target.write_text(json.dumps(row), encoding="utf-8")
    print(f"{target.stem}: {trial.steps} steps, Dice {trial.mean:.3f}", flush=True)


@contextmanager
def with_group_norms() -> Iterator[None]:
    """Every batch norm of an encoder becomes a group norm with its scales and shifts."""

    def begin(network: SegmentationNetwork, plan: Plan) -> None:
        begin_with_weights(network, plan)
        encoder = network.encoder_module
        assert encoder is not None
        for name, norm in list(encoder.named_modules()):
            if isinstance(norm, nn.BatchNorm2d):
                group = nn.GroupNorm(math.gcd(norm.num_features, GROUPS), norm.num_features)
                group.load_state_dict({"weight": norm.weight, "bias": norm.bias})
                act = getattr(norm, "act", nn.Identity())  # timm's norms hold an activation
                encoder.set_submodule(name, nn.Sequential(group, act))

    with mock.patch("training.learning.trainer.begin_with_weights", begin):
        yield


def with_few(dataset: Dataset, images: int, seed: int) -> Dataset:
    """The dataset with so many training images, which the seed draws."""
    train = dataset.train
    picked = np.random.default_rng(seed).permutation(len(train))[:images]
    kept = [train[index] for index in sorted(picked)]
    return replace(dataset, cases=(*kept, *dataset.test))


def summary(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each dataset, number of images and length of training.

    An arm's mean is over its own seeds, a difference over those that both arms have: what is not
    trained yet, or was left out, takes nothing from the others.
    """
    rows = []
    for setting in dict.fromkeys(_setting(run) for run in runs):
        own = [run for run in runs if _setting(run) == setting]
        named = [arm for arm in (*ARMS, *WAYS) if any(run["arm"] == arm for run in own)]
        by_arm = {arm: {r["seed"]: r for r in own if r["arm"] == arm} for arm in named}
        row: dict[str, Any] = {
            name: value
            for name, value in zip(SETTING, setting, strict=True)
            if value is not None or name == CORE_MINUTES
        }
        row["seeds"] = max(map(len, by_arm.values()))
        for arm, trained in by_arm.items():
            row[arm] = float(np.mean([run["dice"] for run in trained.values()]))
            row[f"{arm}, steps"] = float(np.mean([run["steps"] for run in trained.values()]))
            row[f"{arm}, seeds"] = len(trained)
        base = by_arm.get("pretrained", {})
        for other, trained in by_arm.items():
            both = sorted(base.keys() & trained.keys())
            if other != "pretrained" and both:
                leads = [base[seed]["dice"] - trained[seed]["dice"] for seed in both]
                row[f"pretrained - {other}"] = _paired(np.array(leads))
        rows.append(row)
    return rows


def _setting(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """Values of ``SETTING``; steps are a length where no minutes were given."""
    minutes = run[CORE_MINUTES]
    return run["dataset"], run["images"], minutes, run["steps"] if minutes is None else None


def _best_lower_end(rows: Sequence[Mapping[str, Any]], other: str) -> float:
    """Of the intervals of the pretrained encoder's lead."""
    leads = [row[name] for row in rows if (name := f"pretrained - {other}") in row]
    return max((lead["ci95"][0] for lead in leads if lead["ci95"]), default=float("-inf"))


def draw(runs: Sequence[Mapping[str, Any]], target: Path) -> None:
    """Every training as a dot, and their means, against the number of images."""
    names = list(dict.fromkeys(run["dataset"] for run in runs))
    figure, panels = plt.subplots(
        1, len(names), figsize=(3 * len(names), 3.4), squeeze=False, layout="constrained"
    )
    for panel, name in zip(panels[0], names, strict=True):
        for place, arm in enumerate(ARMS):
            own = [run for run in runs if (run["dataset"], run["arm"]) == (name, arm)]
            lengths = sorted({run["core_minutes"] for run in own if run["core_minutes"]})
            for length, style in zip(lengths, ("o-", "s--", "^:"), strict=False):
                same = [run for run in own if run["core_minutes"] == length]
                counts = sorted({run["images"] for run in same})
                means = [np.mean([r["dice"] for r in same if r["images"] == n]) for n in counts]
                label = f"{arm}, {60 * length:g} s"
                panel.plot(counts, means, style, color=f"C{place}", label=label)
                dots = [run["images"] for run in same], [run["dice"] for run in same]
                panel.plot(*dots, ".", color=f"C{place}", alpha=0.5)
        images = sorted({run["images"] for run in runs if run["dataset"] == name})
        panel.set(title=name, xlabel="training images", xticks=images)
    panels[0][0].set_ylabel("Dice of test images")
    labelled = {
        label: line
        for panel in panels[0]
        for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    place = "outside lower center"
    figure.legend([*labelled.values()], [*labelled], fontsize="small", ncols=len(ARMS), loc=place)
    figure.savefig(target, dpi=120)


def _paired(differences: np.ndarray) -> dict[str, Any]:
    if len(differences) < 2:
        return {"mean": None, "ci95": None}
    half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    mean = float(differences.mean())
    return {"mean": mean, "ci95": [mean - float(half), mean + float(half)]}


if __name__ == "__main__":
    main()
