"""What a training costs beside its network's steps: the loop around them, and what goes before.

``loops``: CPU seconds a step of ``fit``'s own loop, of a plain Lightning loop as one writes it, of
the same in the plan's precision, and of a bare loop whose batches lie in memory. All train the same
network with the same loss, optimiser, patches and threads; a long run less a short one, so that
what happens once does not count. ``start``: CPU seconds of ``python -m training.fit`` to the end of
its first step, by stage, and the share of the minutes that planning takes.
Usage: python benchmarks/fit_cost.py DATASET [--only loops] [--rounds 3] [--minutes 5] [--json FILE]
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])

from benchmarks.result import bar, report  # noqa: E402

FASTER_THAN_PLAIN, OF_BARE = 1.25, 1.0
"""Steps a second, by CPU time, over a plain Lightning loop's and over the bare one's."""
START_S, PLANNING = 25.0, 0.05
"""CPU seconds to the first step, and the share of the minutes that planning may take."""
SHORT, LONG = 24, 72
"""Steps, with as many looks at held-back patches in both."""
WORKERS = 1
BATCHES_IN_MEMORY = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="folder, such as datasets/hela")
    parser.add_argument("--only", choices=["loops", "start"])
    parser.add_argument("--network", default="resunet-xs")
    parser.add_argument("--patch", type=int, nargs="+", default=(128, 128), metavar="N")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        first_step(options)
        return
    rows, bars = [], []
    if options.only != "start":
        rows += loops(options)
        ours, plain, precise, bare = (row["cpu_s_a_step"] for row in rows)
        bars += [
            bar("steps over plain Lightning's", plain / ours, FASTER_THAN_PLAIN, at_most=False),
            bar("steps over it in the same precision", precise / ours, 1.0, at_most=False),
            bar("steps over the bare loop's", bare / ours, OF_BARE, at_most=False),
        ]
    if options.only != "loops":
        rows.append(started(options))
        bars += [
            bar("CPU seconds to the first step", rows[-1]["cpu_s"], START_S, at_most=True),
            bar("planning's share of the minutes", rows[-1]["planning"], PLANNING, at_most=True),
        ]
    report("fit_cost", rows, bars, ("torch", "lightning", "monai"), options.json)


def cpu_seconds() -> float:
    """Of this process and of those that it has started and that have ended."""
    ours = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in ours)


def loops(options: argparse.Namespace) -> list[dict]:
    import torch

    from training.dataset import load_dataset
    from training.dataset.fingerprint import fingerprint_of
    from training.planning.rules import make_plan
    from training.run.device import find_device, lower_precision
    from training.samples.prepared_cases import prepare_cases

    torch.set_num_threads(options.threads)
    dataset, device = load_dataset(options.dataset), find_device()
    plan = make_plan(
        fingerprint_of(dataset), dataset.channels, device.kind,
        dataset=dataset.name, data=str(options.dataset), minutes=60, network=options.network,
        precision=lower_precision(device) or "float32", threads=options.threads,
        augmentation="light", patch=tuple(options.patch),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        cases = prepare_cases(dataset, plan, Path(scratch) / "cases")
        ways = ways_to_train(plan, dataset, device, cases, Path(scratch))
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):  # turn by turn, so that other load falls on all
            for name, run in ways.items():
                costs = []
                for steps in (SHORT, LONG):
                    before = cpu_seconds()
                    run(steps)
                    costs.append(cpu_seconds() - before)
                found[name].append((costs[1] - costs[0]) / (LONG - SHORT))
                print(f"{name}: {found[name][-1]:.3f} CPU s a step", flush=True)
    about = {"network": plan.network, "patch": list(plan.patch), "batch_size": plan.batch_size}
    about |= {"threads": options.threads}
    precision = {"plain Lightning": "float32"}
    return [
        {
            "loop": name,
            **about,
            "precision": precision.get(name, plan.precision),
            "cpu_s_a_step": statistics.median(costs),
            "rounds": costs,
        }
        for name, costs in found.items()
    ]


def ways_to_train(plan, dataset, device, cases, scratch: Path) -> dict[str, Callable[[int], None]]:
    """Name to what takes so many steps."""
    import lightning.pytorch as pl
    import torch
    from torch.utils.data import DataLoader

    from seg.networks import make_network
    from training.learning.losses import make_loss
    from training.learning.optimisers import OPTIMISERS
    from training.learning.trainer import BATCHES_AHEAD, PRECISIONS, train
    from training.run.clock import Clock
    from training.run.device import memory_format
    from training.run.plan import changed_plan
    from training.samples.augmentation import Augmentation
    from training.samples.patch_batches import PatchBatches

    axes = plan.mirrored_axes([info.name for info in dataset.classes[1:]])
    source = PatchBatches(
        cases, plan, Augmentation(plan.augmentation, plan.patch, plan.empty_share, mirror_axes=axes)
    )

    def parts():
        network = make_network(plan.network_config(dataset.legend.outputs))
        weights = network.parameters()
        optimiser = OPTIMISERS[plan.optimiser]([{"params": weights}], lr=plan.learning_rate)
        return network, make_loss(dataset.legend, plan.loss), optimiser

    class Plain(pl.LightningModule):
        """What one writes in an hour."""

        def __init__(self) -> None:
            super().__init__()
            self.network, self.cost, self.optimiser = parts()

        def training_step(self, batch, batch_idx):
            """The loss."""
            images, labels = batch
            cost = self.cost(self.network(images), labels.float())
            self.log("loss", cost)
            return cost

        def configure_optimizers(self):
            """That of the plan."""
            return self.optimiser

    def plain(precision: str) -> Callable[[int], None]:
        def run(steps: int) -> None:
            trainer = pl.Trainer(
                accelerator=device.kind, max_steps=steps, max_epochs=1, precision=precision,
                gradient_clip_val=plan.gradient_clip, default_root_dir=scratch, logger=False,
                enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            )  # fmt: skip
            loader = DataLoader(
                source, batch_size=None, num_workers=WORKERS, prefetch_factor=BATCHES_AHEAD
            )
            trainer.fit(Plain(), loader)

        return run

    in_memory = list(islice(iter(source), BATCHES_IN_MEMORY))

    def bare(steps: int) -> None:
        network, cost, optimiser = parts()
        layout = memory_format(plan)
        network = network.to(memory_format=layout)
        for images, labels in islice(cycle(in_memory), steps):
            optimiser.zero_grad()
            half = plan.precision == "bfloat16"
            with torch.autocast(device.kind, torch.bfloat16, enabled=half):
                logits = network(images.contiguous(memory_format=layout))
                loss = cost(logits, labels.float())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), plan.gradient_clip)
            optimiser.step()

    def ours(steps: int) -> None:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            own = changed_plan(plan, {"steps": steps})
            train(own, cases, dataset, device, Path(folder), Clock(own.minutes, steps))

    return {
        "fit": ours,
        "plain Lightning": plain("32-true"),
        "plain Lightning, same precision": plain(PRECISIONS[plan.precision]),
        "bare": bare,
    }


def started(options: argparse.Namespace) -> dict:
    """Stages of a run that ends after its first step, in a process of its own."""
    command = [sys.executable, __file__, str(options.dataset), "--child"]
    command += ["--minutes", str(options.minutes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(found, flush=True)
    return found


def first_step(options: argparse.Namespace) -> None:
    """``training.fit``, looked at from within."""
    stages: dict[str, float] = {}
    clock: dict[str, float] = {}

    def timed(module, name: str, stage: str) -> None:
        whole = getattr(module, name)

        def run(*given, **named):
            before, at = cpu_seconds(), time.perf_counter()
            try:
                return whole(*given, **named)
            finally:
                stages[stage] = cpu_seconds() - before
                clock[stage] = time.perf_counter() - at

        setattr(module, name, run)

    from training import fit
    from training.pipeline import fitting

    stages["imports"] = cpu_seconds()
    timed(fitting, "_look", "look")
    timed(fitting, "plan_run", "planning")
    timed(fitting, "prepare_cases", "cache")
    before_training = {}
    whole = fitting.train

    def train(*given, **named):
        before_training["s"] = cpu_seconds()
        return whole(*given, **named)

    fitting.train = train
    from training.learning.callbacks import StopInTime

    class FirstStepOver(Exception):  # noqa: N818 - no error
        """Ends the run."""

    def stop(*_, **__) -> None:
        raise FirstStepOver

    StopInTime.on_train_batch_end = stop
    with tempfile.TemporaryDirectory() as scratch:
        arguments = [str(options.dataset), "--minutes", f"{options.minutes:g}"]
        try:
            fit.main([*arguments, "--out", f"{scratch}/run"])
        except FirstStepOver:
            stages["first step"] = cpu_seconds() - before_training["s"]
    told = {f"{stage.replace(' ', '_')}_cpu_s": round(s, 2) for stage, s in stages.items()}
    planning = clock["planning"] / (60 * options.minutes)
    print(json.dumps({**told, "cpu_s": cpu_seconds(), "planning": planning}))


if __name__ == "__main__":
    main()
