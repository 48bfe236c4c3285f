"""Cases spread over a Ray cluster with Ray Data.

Every worker is a process that holds a model. Images and masks do not travel: all machines see the
same files. A worker that dies is started again, and its case with it: files are written whole or
not at all, so a case that was begun twice is the same as one that was done once.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from seg import errors
from seg.cuda_driver import take_only_card
from seg.errors import BackendError, ConfigError, SegError
from seg.model_package import ModelPackage
from seg.predict.asked import CaseWork, PredictionJob
from seg.predict.cases import PredictionCase
from seg.predict.outcome import Outcome
from seg.predict.work import Worker
from seg.version import installed_with

MOST_DEATHS = 3
"""Workers that a case may take with it before it is given up; the others go on."""
MOST_BLOCKS = 2_000
"""Parts of the work that Ray hands out one by one; a case each, if there are no more cases."""
BEGUN = ".begun"
"""Folder with a file for each case that is at work, as long as it was begun often."""


def run_on_ray(
    work: CaseWork, jobs: Sequence[PredictionJob], address: str | None = None
) -> Iterator[Outcome]:
    """Outcomes in the order in which they come.

    Args:
        work: what is done; ``threads`` are the cores of a worker, None for all of the smallest
            machine.
        jobs: on which cases.
        address: of a cluster; None for the one that runs here, or else this machine alone.

    Raises:
        ConfigError: Ray is not installed, or no cluster is at the address.
        BackendError: the model cannot be loaded on the cluster.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError(
            f"--ray needs Ray, which is not installed here; {installed_with('ray')}"
        ) from error
    _connect(ray, address)
    shutil.rmtree(work.out / BEGUN, ignore_errors=True)
    ModelPackage.load(work.package).card.members(work.variant)
    needs, workers = _workers(ray, work)
    work = replace(work, threads=needs.get("num_cpus", work.threads))
    _try(ray, work, needs)  # what is wrong is said once, and not by every worker
    return _outcomes(ray, work, jobs, needs, workers)


def _connect(ray: Any, address: str | None) -> None:
    if ray.is_initialized():
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {address or 'this machine'}: {error}"
        ) from error


def _try(ray: Any, work: CaseWork, needs: Mapping[str, int]) -> None:
    """Open the model where it will run: this machine may have no device, and keep none busy."""
    # the process ends with the call, or it would hold memory of a device that workers want
    trial = ray.remote(max_calls=1, **needs)(_what_is_wrong)
    try:
        wrong = ray.get(trial.remote(work))
    except ray.exceptions.RayError as error:
        raise BackendError(f"the Ray cluster failed: {str(error).splitlines()[0]}") from error
    if wrong:
        kind, sentence = wrong
        raise getattr(errors, kind)(sentence)


def _what_is_wrong(work: CaseWork) -> tuple[str, str] | None:
    try:
        _opened(work)
    except SegError as error:
        return type(error).__name__, str(error)
    return None


def _outcomes(
    ray: Any,
    work: CaseWork,
    jobs: Sequence[PredictionJob],
    needs: Mapping[str, int],
    workers: int,
) -> Iterator[Outcome]:
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = [{"job": json.dumps(asdict(job), default=str)} for job in jobs]
    data = ray.data.from_items(rows, override_num_blocks=min(len(rows), MOST_BLOCKS))
    results = data.map_batches(
        _RayWorker,
        fn_constructor_args=(work,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=max(1, min(workers, len(jobs)))),
        **needs,
    )
    try:
        for row in results.iter_rows():
            yield _outcome(json.loads(row["outcome"]))
    except ray.exceptions.RayError as error:
        raise BackendError(f"the Ray cluster failed: {str(error).splitlines()[0]}") from error
    finally:
        shutil.rmtree(work.out / BEGUN, ignore_errors=True)


def _workers(ray: Any, work: CaseWork) -> tuple[dict[str, int], int]:
    """What a worker needs, and how many the cluster can hold."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if work.provider != "cpu" and any(node.get("GPU") for node in machines):
        return {"num_gpus": 1}, int(sum(node.get("GPU", 0) for node in machines))
    with_cores = [int(node["CPU"]) for node in machines if node.get("CPU", 0) >= 1]
    if not with_cores:
        raise BackendError("no machine of the Ray cluster lends a core")
    cpus = work.threads or min(with_cores)
    return {"num_cpus": cpus}, sum(cores // cpus for cores in with_cores)


def _opened(work: CaseWork) -> Worker:
    """The model, in a process of Ray's, which sees the card that is lent to it alone."""
    take_only_card()
    return Worker(work)


class _RayWorker:
    """A worker as Ray Data calls it: a batch is one job."""

    def __init__(self, work: CaseWork) -> None:
        self._worker = _opened(work)

    def __call__(self, batch: Mapping[str, np.ndarray]) -> Mapping[str, list[str]]:
        """Do the jobs of a batch."""
        outcomes = [self._run(_job(json.loads(text))) for text in batch["job"]]
        return {"outcome": [json.dumps(asdict(outcome)) for outcome in outcomes]}

    def _run(self, job: PredictionJob) -> Outcome:
        begun = begun_file(self._worker.work.out, job.case)
        begun.parent.mkdir(parents=True, exist_ok=True)
        with begun.open("ab") as file:
            if file.tell() >= MOST_DEATHS:
                return Outcome(
                    job.case.name,
                    failure=f"{MOST_DEATHS} workers died of it; it may need more memory than a "
                    "worker has",
                )
            file.write(b".")
        outcome = self._worker.run(job)
        begun.unlink(missing_ok=True)
        return outcome


def begun_file(out: Path, case: PredictionCase) -> Path:
    """Where it is counted how often a case was begun; it is gone when the case has ended."""
    return out / BEGUN / hashlib.sha256(case.name.encode()).hexdigest()


def _job(plain: dict[str, Any]) -> PredictionJob:
    case = plain["case"]
    return PredictionJob(
        PredictionCase(case["name"], tuple(map(Path, case["files"]))), plain["may_be_done"]
    )


def _outcome(plain: dict[str, Any]) -> Outcome:
    return Outcome(**plain | {"warnings": tuple(plain["warnings"])})
