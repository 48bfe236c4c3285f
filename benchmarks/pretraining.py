"""Does a network that first fills in hidden parts of images learn more from few outlines?

``python benchmarks/pretraining.py FOLDER IMAGES TEST -- --patch 96 96`` trains on FOLDER twice for
each seed: all steps with labels, and a share of them before that on the images of IMAGES,
where squares are hidden and the network says what is behind them (He et al. 2022, masked
autoencoders). A step of the one costs what a step of the other does.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.next_images import scored, summary
from benchmarks.result import bar, report
from seg.images import read_image
from seg.networks import SegmentationNetwork
from seg.transforms import prepare
from training import fit
from training.dataset.legend import Legend
from training.learning import trainer
from training.learning.module import SegmentationModule
from training.run.plan import Plan

HIDDEN = 0.6
"""Of the squares of an image."""
SQUARE = 8
"""Pixels of a side."""
RATE = 1e-3
WAYS = ("hidden parts first", "labels alone")


def batches(images: Sequence[np.ndarray], plan: Plan, steps: int) -> Iterator[Tensor]:
    """Patches of images on the network's grid, turned and mirrored: ``(b, c, *patch)``."""
    rng = np.random.default_rng(plan.seed)
    for _ in range(steps):
        patches = []
        for _ in range(plan.batch_size):
            image = images[int(rng.integers(len(images)))]
            starts = [int(rng.integers(size - n + 1))
                      for n, size in zip(plan.patch, image.shape[1:], strict=True)]  # fmt: skip
            cut = tuple(slice(a, a + n) for a, n in zip(starts, plan.patch, strict=True))
            patch = np.flip(
                image[:, *cut], tuple(1 + a for a in range(len(starts)) if rng.random() < 0.5)
            )
            patches.append(torch.from_numpy(patch.copy()))
        yield torch.stack(patches)


def hidden_squares(patches: Tensor) -> Tensor:
    """Where a patch is hidden: ``(b, 1, *patch)``."""
    coarse = [-(-n // SQUARE) for n in patches.shape[2:]]
    squares = (torch.rand(patches.shape[0], 1, *coarse) < HIDDEN).float()
    shape = [n * SQUARE for n in coarse]
    whole = torch.nn.functional.interpolate(squares, shape, mode="nearest")
    return whole[..., *(slice(n) for n in patches.shape[2:])]


def fill_in(
    network: SegmentationNetwork, images: Sequence[np.ndarray], plan: Plan, steps: int
) -> None:
    """Train all but the heads, whose first channel says what is hidden and which are put back."""
    fresh = {
        name: w.clone() for name, w in network.state_dict().items() if name.startswith("heads.")
    }
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1)
    network.train()
    for number, patches in enumerate(batches(images, plan, steps)):
        hidden = hidden_squares(patches)
        finest = network(patches * (1 - hidden))
        finest = finest[0] if isinstance(finest, list) else finest
        loss = ((finest[:, :1] - patches[:, :1]) ** 2 * hidden).sum() / hidden.sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), plan.gradient_clip or 12.0)
        optimiser.step()
        schedule.step()
        if number % 20 == 0 or number == steps - 1:
            print(
                f"hidden parts: step {number + 1} of {steps}, error {loss.item():.3f}", flush=True
            )
    network.load_state_dict({**network.state_dict(), **fresh})


def run_once(folder: Path, unlabelled: Path, out: Path, first: int, chosen: Sequence[str]) -> int:
    """One training in this process, whose first steps are without labels; its exit status."""

    class Begun(SegmentationModule):
        def __init__(self, plan: Plan, legend: Legend, *rest: Any) -> None:
            super().__init__(plan, legend, *rest)
            if first:
                images = [prepare(read_image(path), plan.preprocessing).array
                          for path in sorted(unlabelled.iterdir())]  # fmt: skip
                fill_in(self.network, images, plan, first)

    setattr(trainer, "SegmentationModule", Begun)  # noqa: B010 - of a module, for this run
    return fit.main([str(folder), "--out", str(out), *chosen])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--share", type=float, default=0.2, help="of the steps, without labels")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scratch", type=Path, default=Path("runs/pretraining"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("folder", type=Path, help="dataset of few annotated images")
    parser.add_argument("images", type=Path, help="folder of images alone")
    parser.add_argument("test", type=Path, help="dataset whose test images are asked about")
    parser.add_argument("fit", nargs="*", help="further options of training.fit, behind --")
    options = parser.parse_intermixed_args()
    first = round(options.steps * options.share)
    if options.one:
        seed, without = options.one.split(":")
        chosen = ["--seed", seed, "--steps", str(options.steps - int(without)), *options.fit]
        sys.exit(run_once(options.folder, options.images, options.scratch, int(without), chosen))
    rows = []
    for seed in range(options.seeds):
        for way, without in zip(WAYS, (first, 0), strict=True):
            out = options.scratch / f"seed-{seed}" / way.replace(" ", "-")
            scores = out.with_suffix(".json")
            if not scores.is_file():
                subprocess.run(["rm", "-rf", str(out)], check=True)
                again = [*sys.argv[:1], "--steps", str(options.steps), "--scratch", str(out)]
                again += [
                    "--one",
                    f"{seed}:{without}",
                    str(options.folder),
                    str(options.images),
                ]
                subprocess.run(
                    [sys.executable, *again, str(options.test), "--", *options.fit], check=True
                )
            row = {"seed": seed, "way": way, "steps_without_labels": without}
            rows.append({**row, **scored(options.test, out / "package", scores)})
            print(rows[-1], flush=True)
    bars = []
    for measure in ("dice", "ap_50"):
        if measure in rows[0]:
            mean, within = summary(rows, measure, WAYS)
            rows.append({"measure": measure, "gain": mean, "ci95": [mean - within, mean + within]})
            bars.append(bar(f"{measure} gained, lower end", mean - within, 0.0, at_most=False))
    report("pretraining", rows, bars, ["torch"], options.json)


if __name__ == "__main__":
    main()
