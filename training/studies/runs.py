"""Runs of a study side by side in processes; each result is a file, so that none is done twice."""

import json
import multiprocessing
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from seg.errors import ConfigError, SegError
from seg.files import replace_file
from seg.machine import cores, end_with_parent
from seg.names import chosen
from seg.networks import SHORTCUTS, ResidualUNet
from training.studies.arms import Arm, by_shortcut
from training.studies.setting import CHOICE_OF_RUNS, Setting, blocks_a_stage
from training.studies.task import Task, make_task, open_task

Row = Mapping[str, str | int | float]
Table = Sequence[Row]


@dataclass(frozen=True)
class StudyJob:
    """One network of a study."""

    arm: Arm
    layers: int
    seed: int

    @property
    def key(self) -> str:
        """Name of its result."""
        return f"{self.arm.key}-{self.layers}-seed{self.seed}"

    @property
    def columns(self) -> dict[str, str | int | float]:
        """What every row of its result begins with."""
        return {"network": self.arm.name, "layers": self.layers, "seed": self.seed}

    def network(self, setting: Setting, task: Task) -> ResidualUNet:
        """The network with fresh weights, for the patches of a task."""
        return self.arm.network(setting, task.plan.patch, task.counts, self.layers)


Measure = Callable[[StudyJob, Setting, Task], Table]


@dataclass(frozen=True)
class Study:
    """What is trained, what is measured on it, and how that is told."""

    name: str
    """Of ``QUESTIONS``."""
    jobs: Callable[[Setting], Sequence[StudyJob]]
    measure: Measure
    draw: Callable[[Table], Figure]
    say: Callable[[Table], str]
    condensed: Callable[[Table], Table] = lambda table: table
    """Rows whose means over seeds are written beside the table, if not its own."""


def every_job(setting: Setting) -> list[StudyJob]:
    """Each shortcut at each depth with each seed.

    Raises:
        ConfigError: a shortcut or a depth that cannot be.
    """
    for shortcut in setting.shortcuts:
        chosen(SHORTCUTS, shortcut, "shortcut")
    return jobs_of([by_shortcut(shortcut) for shortcut in setting.shortcuts], setting)


def jobs_of(arms: Sequence[Arm], setting: Setting) -> list[StudyJob]:
    """Each arm whose shortcut was asked for, at each depth with each seed.

    Raises:
        ConfigError: a depth that cannot be.
    """
    for layers in setting.layers:
        blocks_a_stage(layers)
    return [
        StudyJob(arm, layers, seed)
        for seed in range(setting.seeds)
        for layers in setting.layers
        for arm in arms
        if arm.shortcut in setting.shortcuts
    ]


def carry_out(study: Study, setting: Setting, folder: Path) -> Table:
    """Results of all jobs, those of an earlier call included.

    Raises:
        SegError: the data cannot be used, the folder holds another setting, or a process died.
    """
    jobs = study.jobs(setting)
    _claim(folder, study, setting)
    make_task(setting, folder)
    todo = [job for job in jobs if not _result(folder, job).is_file()]
    with tqdm(total=len(jobs), initial=len(jobs) - len(todo), desc=study.name, unit="run") as bar:
        workers = 1 if torch.cuda.is_available() else min(cores(), max(1, len(todo)))
        pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_start_worker
        )
        try:
            waiting = {pool.submit(_run, study.measure, job, setting, folder): job for job in todo}
            for done in as_completed(waiting):
                _take(done)
                bar.set_postfix_str(waiting[done].key, refresh=False)
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
    return [row for job in jobs for row in json.loads(_result(folder, job).read_bytes())]


def _take(done: "Future[None]") -> None:
    try:
        done.result()
    except BrokenProcessPool as error:
        raise SegError(
            "a process of the study was ended from outside, most often for lack of memory; "
            "start the same command again, it goes on with the runs that are left"
        ) from error


def _claim(folder: Path, study: Study, setting: Setting) -> None:
    mark = folder / "setting.json"
    content = {"study": study.name, **setting.model_dump(mode="json")}
    if not mark.is_file():
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} holds something else; name another folder with --out")
    elif _sizes(json.loads(mark.read_bytes())) != _sizes(content):
        raise ConfigError(
            f"{folder} holds a study of other sizes (setting.json); repeat its options to go on "
            "with it, or name another folder with --out"
        )
    replace_file(mark, json.dumps(content, indent=2).encode())


def _sizes(content: Mapping[str, object]) -> Mapping[str, object]:
    """What a run depends on; a file's name says of which network, depth and seed it is."""
    return {key: value for key, value in content.items() if key not in CHOICE_OF_RUNS}


def _result(folder: Path, job: StudyJob) -> Path:
    return folder / "runs" / f"{job.key}.json"


def _start_worker() -> None:
    end_with_parent()
    torch.set_num_threads(1)
    # Ctrl-C is the parent's to answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(measure: Measure, job: StudyJob, setting: Setting, folder: Path) -> None:
    torch.manual_seed(job.seed)
    rows = [{**job.columns, **row} for row in measure(job, setting, open_task(setting, folder))]
    replace_file(_result(folder, job), json.dumps(rows).encode())
