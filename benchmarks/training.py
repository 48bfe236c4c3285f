"""Steps a second of training beside those of the bare network on data in memory.

Usage: python benchmarks/training.py DATASET [--augmentation light] [--rounds 3] [--json FILE]

Both loops take the same steps: forward, loss, backward, clipping, optimiser. One takes its batches
from a list in memory, the other from the pipeline that training uses: memory-mapped cases, patches
cut and changed in a process of their own. Rounds alternate, so that whatever else the machine does
hits both. Then: how much memory the open cases take, as their number grows.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

# this file has the name of the room that it measures
sys.path[0] = str(Path(__file__).parents[1])

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from benchmarks.result import bar, report  # noqa: E402
from seg.networks import make_network  # noqa: E402
from training.dataset import load_dataset  # noqa: E402
from training.dataset.fingerprint import fingerprint_of  # noqa: E402
from training.learning.losses import make_loss  # noqa: E402
from training.learning.optimisers import OPTIMISERS  # noqa: E402
from training.learning.trainer import BATCHES_AHEAD  # noqa: E402
from training.planning.rules import make_plan  # noqa: E402
from training.run.device import find_device, lower_precision  # noqa: E402
from training.run.memory import held_bytes  # noqa: E402
from training.samples.augmentation import PRESETS, Augmentation  # noqa: E402
from training.samples.patch_batches import PatchBatches  # noqa: E402
from training.samples.prepared_cases import open_case, prepare_cases  # noqa: E402

SHARE = 0.95
"""Of the bare network's steps a second that training must reach."""
BYTES_A_CASE = 100_000
BATCHES_IN_MEMORY = 6
COPIES = 50
"""Times that every case is opened, to see what more cases cost."""


class Loop:
    """A network that takes training steps on batches."""

    def __init__(self, plan, legend, device, batches: Iterator) -> None:
        self.plan, self.kind, self.batches = plan, device.kind, batches
        self.network = make_network(plan.network_config(legend.outputs)).to(device.kind)
        self.loss = make_loss(legend, plan.loss)
        self.optimiser = OPTIMISERS[plan.optimiser](
            [{"params": self.network.parameters()}], lr=plan.learning_rate
        )

    def take(self, steps: int) -> float:
        """Steps a second."""
        for images, labels in islice(self.batches, BATCHES_AHEAD + 2):  # what lay ready
            self._step(images, labels)
        start = time.perf_counter()
        for images, labels in islice(self.batches, steps):
            self._step(images, labels)
        if self.kind == "cuda":
            torch.cuda.synchronize()
        return steps / (time.perf_counter() - start)

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        images, labels = images.to(self.kind), labels.to(self.kind)
        self.optimiser.zero_grad()
        with torch.autocast(self.kind, torch.bfloat16, enabled=self.plan.precision == "bfloat16"):
            logits = self.network(images)
        self.loss(logits, labels.float()).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.gradient_clip)
        self.optimiser.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="folder, such as datasets/hela")
    parser.add_argument("--augmentation", choices=PRESETS, default="light")
    parser.add_argument("--network", default="resunet-s")
    parser.add_argument("--steps", type=int, default=20, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    dataset, device = load_dataset(options.dataset), find_device()
    plan = make_plan(
        fingerprint_of(dataset), dataset.channels, device.kind,
        dataset=dataset.name, data=str(options.dataset), minutes=1, network=options.network,
        augmentation=options.augmentation,
        precision=lower_precision(device) or "float32",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        cases = prepare_cases(dataset, plan, Path(scratch) / "cases")
        axes = plan.mirrored_axes([info.name for info in dataset.classes[1:]])
        augmentation = Augmentation(
            plan.augmentation, plan.patch, plan.empty_share, mirror_axes=axes
        )
        source = PatchBatches(cases, plan, augmentation)
        loader = DataLoader(
            source, batch_size=None, num_workers=1, prefetch_factor=BATCHES_AHEAD,
            pin_memory=device.kind == "cuda",
        )  # fmt: skip
        made = time.perf_counter()
        in_memory = list(islice(iter(source), BATCHES_IN_MEMORY))
        made = (time.perf_counter() - made) / BATCHES_IN_MEMORY
        bare = Loop(plan, dataset.legend, device, cycle(in_memory))
        piped = Loop(plan, dataset.legend, device, iter(loader))
        rows = []
        print(f"{plan.network}, {plan.batch_size} x {plan.patch}, {plan.precision}, "
              f"{plan.augmentation}: a batch is made in {1000 * made:.0f} ms")  # fmt: skip
        for number in range(options.rounds):
            rates = {"in_memory": bare.take(options.steps), "pipeline": piped.take(options.steps)}
            rows.append({"round": number, **rates, "ratio": rates["pipeline"] / rates["in_memory"]})
            print("  ".join(f"{name} {value:.3g}" for name, value in rows[-1].items()), flush=True)
        before = held_bytes()
        folders = [Path(scratch) / "cases" / case.name for case in dataset.train]
        more = [open_case(folder) for folder in folders * COPIES]
        a_case = (held_bytes() - before) / len(more)
        print(f"{len(more)} cases opened: {a_case / 1000:.1f} kB each")
        rows.append({"open_cases": len(more), "bytes_a_case": a_case})
    ratio = float(np.median([row["ratio"] for row in rows if "ratio" in row]))
    bars = [
        bar("pipeline / bare network, steps a second", ratio, SHARE, at_most=False),
        bar("bytes in memory an open case", a_case, BYTES_A_CASE, at_most=True),
    ]
    report("training", rows, bars, ("torch", "monai", "albumentations"), options.json)


if __name__ == "__main__":
    main()
