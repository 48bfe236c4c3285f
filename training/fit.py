"""From a dataset folder to a model package: ``python -m training.fit [PATH] --minutes M``.

Look, plan, train, evaluate, export, report; each step's result is a file in the run's folder, so
a run that was stopped goes on with ``--resume``.
"""

import argparse
import logging
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.fetch import fetch
from seg.errors import ConfigError, RegistryError, SegError
from seg.files import replace_file
from seg.inference import Predictor
from seg.networks import PRESETS, SHORTCUTS
from training import augment
from training.clock import Clock
from training.dataset import Dataset, check, load_dataset
from training.evaluate import Evaluation, evaluate, summary_table, write_metrics
from training.fingerprint import Fingerprint, take_fingerprint
from training.machine import Device, fastest_precision, find_device
from training.package import Job, write_package
from training.plan import (
    Plan,
    changed_plan,
    make_plan,
    planned_augmentation,
    read_plan,
    write_plan,
)
from training.report import write_report
from training.train import PRECISIONS, prepare_cases, train

DEFAULT_DATASET = "scratch-assay"
FALLBACK_DATASET = "phantom"
DEFAULT_MINUTES = 4.8

log = logging.getLogger("training")


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps what."""

    path: Path

    @property
    def plan(self) -> Path:
        """The plan, the first file of a run."""
        return self.path / "plan.yaml"

    @property
    def fingerprint(self) -> Path:
        """The data in numbers."""
        return self.path / "fingerprint.json"

    @property
    def cache(self) -> Path:
        """Preprocessed cases; may be removed when the run is finished."""
        return self.path / "cache"

    @property
    def package(self) -> Path:
        """The model package."""
        return self.path / "package"

    @property
    def metrics(self) -> Path:
        """Scores on the held-back cases."""
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        """The report; the last file of a run."""
        return self.path / "report.html"


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    data: Path | None = None
    out: Path | None = None
    plan: Path | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    """Fields of the plan that the command line sets."""


def fit(options: Options, command: str = "training.fit") -> RunFolder:
    """The whole job.

    Raises:
        SegError: the data, the plan or the machine do not allow it.
    """
    clock = Clock(DEFAULT_MINUTES)
    dataset = _look(options.data or _default_data())
    run = RunFolder(options.out or _fresh_folder(dataset.name))
    if run.path.exists() and any(run.path.iterdir()):
        raise ConfigError(
            f"{run.path} is not empty; name another folder with --out, or go on with "
            f"--resume {run.path}"
        )
    device = find_device()
    fingerprint = take_fingerprint(
        (dataset.read(case) for case in dataset.train),
        len(dataset.classes),
        np.random.default_rng(options.chosen.get("seed", 0)),
    )
    plan = _plan(options, dataset, fingerprint, device)
    replace_file(run.fingerprint, (fingerprint.model_dump_json(indent=2) + "\n").encode())
    write_plan(plan, run.plan)
    return _carry_out(Job(plan, fingerprint, dataset, device, command), run, clock)


def resume(folder: Path, command: str = "training.fit --resume") -> RunFolder:
    """Go on with a run that was stopped.

    Raises:
        SegError: the folder holds no run, or its data are gone.
    """
    run = RunFolder(folder)
    if not run.plan.is_file() or not run.fingerprint.is_file():
        raise ConfigError(
            f"{folder} holds no run that has begun to train (no plan.yaml); start it anew"
        )
    if run.report.is_file():
        log.info("%s is finished; its report: %s", folder, run.report)
        return run
    plan = read_plan(run.plan)
    fingerprint = Fingerprint.model_validate_json(run.fingerprint.read_text(encoding="utf-8"))
    job = Job(plan, fingerprint, load_dataset(plan.data), find_device(), command)
    return _carry_out(job, run, Clock(plan.minutes))


def _look(path: Path) -> Dataset:
    dataset = load_dataset(path)
    log.info(
        "data      %s: %d cases to train on, %d held back; classes %s",
        dataset.name,
        len(dataset.train),
        len(dataset.test),
        ", ".join(info.name for info in dataset.classes),
    )
    check(dataset)
    return dataset


def _default_data() -> Path:
    try:
        return fetch(DEFAULT_DATASET)
    except RegistryError as error:
        log.warning("%s; going on with images that are drawn here", error)
        return fetch(FALLBACK_DATASET)


def _fresh_folder(name: str) -> Path:
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _plan(options: Options, dataset: Dataset, fingerprint: Fingerprint, device: Device) -> Plan:
    chosen = options.chosen | {"dataset": dataset.name, "data": str(dataset.folder.resolve())}
    if options.plan:
        plan = changed_plan(read_plan(options.plan), chosen)
    else:
        chosen = {"minutes": DEFAULT_MINUTES} | chosen
        plan = make_plan(fingerprint, dataset.channels, device.kind, **chosen)
        measured = _measured(plan, len(dataset.classes), device)
        plan = changed_plan(plan, {k: v for k, v in measured.items() if k not in chosen})
    log.info(
        "plan      %s, patch %s, batch %d, %s augmentation, %g minutes",
        plan.network,
        "x".join(map(str, plan.patch)),
        plan.batch_size,
        plan.augmentation,
        plan.minutes,
    )
    return plan


def _measured(plan: Plan, num_classes: int, device: Device) -> dict[str, Any]:
    """What depends on how fast this machine trains."""
    precision, seconds = fastest_precision(plan, num_classes, device)
    log.info("machine   %s: %.2f s a step in %s", device.name, seconds, precision)
    steps = plan.steps or 60 * plan.minutes / seconds
    return {"precision": precision, "augmentation": planned_augmentation(steps)}


def _carry_out(job: Job, run: RunFolder, clock: Clock) -> RunFolder:
    plan, dataset = job.plan, job.dataset
    clock.minutes, clock.steps = plan.minutes, plan.steps
    cases = prepare_cases(dataset, plan, run.cache)
    trained = train(plan, cases, len(dataset.classes), job.device, run.path, clock)
    log.info("trained   %d steps in %.1f minutes", trained.steps, trained.seconds / 60)

    def assess(predictor: Predictor) -> Evaluation:
        return evaluate(
            predictor, dataset, dataset.test, predictions=run.path / "predictions", progress=True
        )

    log.info("exporting to ONNX, proving it on real patches, evaluating whole images")
    finished = write_package(trained.network, job, run.package, assess)
    log.info("proven    ONNX and network agree to %.1e in probabilities", finished.proof.error)
    write_metrics(finished.evaluation, run.metrics)
    write_report(run.path, job, trained, finished)
    log.info("%s", summary_table(finished.evaluation))
    log.info("package   %s", run.package)
    log.info("report    %s", run.report)
    log.info("serve it  SEG_PACKAGE=%s bentoml serve", run.package)
    return run


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when the package is there, 2 when it cannot be, 130 when stopped."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    logging.getLogger("data").setLevel(logging.INFO)
    command = shlex.join(["python", "-m", "training.fit", *arguments])
    signal.signal(signal.SIGTERM, _stopped)
    try:
        if options.resume:
            resume(options.resume, command)
        else:
            fit(_options(options), command)
    except SegError as error:
        log.error("error: %s", error)
        return 2
    except OSError as error:
        log.error("error: %s: %s", error.filename or "a file", error.strerror or error)
        return 2
    except KeyboardInterrupt:
        log.error("stopped; go on with: python -m training.fit --resume DIR")
        return 130
    return 0


def _stopped(*_: object) -> None:
    """A request to stop ends the run as Ctrl-C does."""
    raise KeyboardInterrupt


def _options(arguments: argparse.Namespace) -> Options:
    names = set(vars(arguments)) & set(Plan.model_fields) - {"data"}
    chosen = {
        name: value for name in sorted(names) if (value := getattr(arguments, name)) is not None
    }
    if "patch" in chosen:
        chosen["patch"] = tuple(chosen["patch"])
    return Options(
        data=arguments.data,
        out=arguments.out,
        plan=arguments.plan,
        chosen=chosen,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.fit",
        description="Train a residual U-Net on a folder of images and masks, prove it, package it.",
    )
    add = parser.add_argument
    add("data", type=Path, nargs="?", metavar="PATH",
        help=f"dataset folder: nnU-Net raw format, or images/ and masks/ (default: "
             f"{DEFAULT_DATASET}, fetched once)")  # fmt: skip
    add("--minutes", type=_minutes, metavar="M",
        help=f"when training ends, from the start of all (default: {DEFAULT_MINUTES})")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="folder of the run (default: runs/NAME-TIME)")
    add("--resume", type=Path, metavar="DIR", help="go on with a run that was stopped")
    add("--plan", type=Path, metavar="FILE", help="obey this plan.yaml")
    plan = parser.add_argument_group("in place of what would be planned")
    add = plan.add_argument
    add("--steps", type=int, metavar="N", help="train this many steps, whatever the time")
    add("--seed", type=int, metavar="N", help="of weights, patches and augmentation (default: 0)")
    add("--network", choices=sorted(PRESETS), help="preset")
    add("--shortcut", choices=sorted(SHORTCUTS), help="what leads around a block")
    add("--patch", type=int, nargs="+", metavar="N", help="voxels, one number an axis")
    add("--batch-size", type=int, metavar="N", help="patches a step")
    add("--precision", choices=sorted(PRECISIONS), help="of the network while it trains")
    add("--augmentation", choices=augment.PRESETS, help="preset")
    add("--checkpoint-seconds", type=float, metavar="S", help="between checkpoints (default: 20)")
    return parser


def _minutes(text: str) -> float:
    minutes = float(text)
    if not minutes > 0:
        raise argparse.ArgumentTypeError("minutes must be above 0")
    return minutes


if __name__ == "__main__":
    sys.exit(main())
