"""``fit --folds K``: K networks, each on the cases that it has not seen, as one package.

Every fold is a run of its own in ``fold-0``, ``fold-1``, ..., which ``fit --resume`` goes on with;
what is finished is not done again.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seg.cuda_driver import take_only_card
from seg.errors import ConfigError
from seg.images import Mask, read_mask
from seg.inference import Predictor
from seg.model_package import ModelPackage
from seg.version import installed_with
from training.dataset import Dataset
from training.dataset.folds import fold_of, split_folds
from training.evaluation.evaluator import prediction_file
from training.evaluation.measure import merged
from training.evaluation.postprocessing import choose_postprocessing
from training.evaluation.score_files import read_metrics
from training.evaluation.scores import CrossValidation, Evaluation, Fold, Tried
from training.learning.checkpoint import Trained, trained_in
from training.packaging.own_test import evaluate_test
from training.packaging.package import Finished, Member, write_ensemble
from training.run.clock import Clock
from training.run.folder import FOLD, RunFolder
from training.run.job import TrainingJob
from training.run.origin import check_unchanged
from training.run.plan import changed_plan
from training.run.plan_yaml import read_plan, write_plan

SMALLEST_SHARE = 0.5
"""Of its part of the minutes that a fold gets at least, however long the preparation took."""

log = logging.getLogger("training")

RunFold = Callable[[Path], object]


def train_folds(
    job: TrainingJob, run: RunFolder, clock: Clock, run_fold: RunFold, *, with_ray: bool = False
) -> list[RunFolder]:
    """Train what is not yet trained, one fold after another or on Ray's workers.

    Args:
        job: of all folds; its training cases are preprocessed.
        run: its folder.
        clock: of the whole; the folds share what is left of it.
        run_fold: goes on with the run in a folder to its end.
        with_ray: train the folds side by side.
    """
    folds = [run.fold(number) for number in range(job.plan.folds)]
    side_by_side = min(len(folds), _ray_workers(job)) if with_ray else 1
    left = job.plan.minutes - clock.elapsed_s() / 60
    minutes = max(left, SMALLEST_SHARE * job.plan.minutes) / len(folds)
    for number, fold in enumerate(folds):
        fold_plan = {"fold": number, "minutes": minutes * side_by_side, "mirror": False}
        planned = changed_plan(job.plan, fold_plan)
        if fold.plan.is_file():
            check_unchanged(read_plan(fold.plan).model_dump(mode="json"), planned, run)
            continue
        fold.path.mkdir(exist_ok=True)
        shutil.copyfile(run.fingerprint, fold.fingerprint)
        write_plan(planned, fold.plan)
    if with_ray:
        _train_with_ray(folds, run_fold, job)
    else:
        for fold in folds:
            log.info("fold      %s of %d", fold.path.name.removeprefix(FOLD), len(folds))
            run_fold(fold.path)
    return folds


def package_folds(
    job: TrainingJob, run: RunFolder, folds: Sequence[RunFolder], target: Path | None = None
) -> tuple[Finished, Trained]:
    """One package of trained folds, with scores on the test cases and cross-validated ones.

    Args:
        job: of all folds.
        run: its folder.
        folds: their runs, finished.
        target: folder of the package; the run's own if not given.
    """
    dataset = job.dataset
    rules, tried = choose_postprocessing(_unseen(dataset, folds), dataset.legend)
    trained = [trained_in(fold, read_plan(fold.plan), dataset.legend) for fold in folds]
    members = {
        fold.path.name: Member(of_fold.network, ModelPackage.load(fold.package))
        for fold, of_fold in zip(folds, trained, strict=True)
    }

    def assess(predictor: Predictor) -> Evaluation:
        return evaluate_test(predictor, job, predictions=run.predictions)

    finished = write_ensemble(members, job, target or run.package, rules, assess)
    scores = finished.evaluation.model_copy(
        update={"cross_validation": _cross_validation([f.metrics for f in folds], tried)}
    )
    of_all = Trained(
        trained[0].network,
        sum(each.steps for each in trained),
        sum(each.seconds for each in trained),
    )
    return replace(finished, evaluation=scores), of_all


def _cross_validation(metrics: Sequence[Path], tried: tuple[Tried, ...]) -> CrossValidation:
    evaluations = [read_metrics(path) for path in metrics]
    return CrossValidation(
        scores=merged(evaluations),
        folds=tuple(
            Fold(
                cases=tuple(case.case for case in each.cases),
                dice={name: summary.dice for name, summary in each.summary.items()},
            )
            for each in evaluations
        ),
        postprocessing=tried,
    )


def _unseen(dataset: Dataset, folds: Sequence[RunFolder]) -> Iterator[tuple[Mask, Mask]]:
    """Every training case as the fold that has not seen it predicted it, and its reference."""
    for number, fold in enumerate(folds):
        for case in fold_of(dataset, len(folds), number).test:
            image, reference = dataset.read(case)
            kept = read_mask(
                prediction_file(fold.predictions, case.name, image.dims), dims=image.dims
            )
            yield Mask.on_grid_of(image, kept.array), reference


def _ray_workers(job: TrainingJob) -> int:
    """Folds that Ray's cluster, or this machine, can train at the same time."""
    ray = _ray()
    per_fold = _resources(job)
    offered = ray.cluster_resources()
    key = "GPU" if "num_gpus" in per_fold else "CPU"
    found = int(offered.get(key, 0) // next(iter(per_fold.values())))
    if not found:
        raise ConfigError(f"Ray's cluster offers no {key} for a fold; train without --ray")
    return found


def _resources(job: TrainingJob) -> dict[str, int]:
    return {"num_gpus": 1} if job.device.kind == "cuda" else {"num_cpus": 1}


def cross_validate(
    job: TrainingJob, run: RunFolder, clock: Clock, run_fold: RunFold, *, with_ray: bool = False
) -> tuple[Finished, Trained]:
    """``train_folds``, then ``package_folds``.

    Raises:
        ConfigError: several processes train together, or Ray is not there.
        DatasetError: there are fewer subjects than folds.
    """
    if job.device.world.size > 1:
        raise ConfigError(
            "folds are not trained by several processes together; start one process, with --ray "
            "where there are several GPUs"
        )
    split_folds(job.dataset.train, job.plan.folds)  # before anything is trained
    return package_folds(job, run, train_folds(job, run, clock, run_fold, with_ray=with_ray))


def _train_with_ray(folds: Sequence[RunFolder], run_fold: RunFold, job: TrainingJob) -> None:
    ray = _ray()
    remote = ray.remote(**_resources(job), max_retries=2)(_run_where_lent)
    waiting = [remote.remote(run_fold, fold.path.resolve()) for fold in folds]
    while waiting:
        done, waiting = ray.wait(waiting)
        ray.get(done)
        log.info("folds     %d of %d are trained", len(folds) - len(waiting), len(folds))


def _run_where_lent(run_fold: RunFold, folder: Path) -> object:
    """In a process of Ray's, which sees the card that is lent to it alone."""
    take_only_card()
    return run_fold(folder)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            f"--ray needs Ray; {installed_with('ray')}, or train without it"
        ) from error
    if not ray.is_initialized():
        ray.init(
            address=os.environ.get("RAY_ADDRESS"), log_to_driver=False, include_dashboard=False
        )
    return ray
