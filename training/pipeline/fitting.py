"""From a dataset folder to a package: look, plan, train, evaluate, export, report."""

import logging
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path

from data.fetch import fetch
from seg.errors import ConfigError, RegistryError
from seg.files import remove_unfinished, replace_file
from seg.inference import Predictor
from seg.verbs import called, served
from training.dataset import Dataset, check_and_measure, look_into
from training.dataset.findings.finding import raise_errors
from training.dataset.fingerprint import Fingerprint
from training.dataset.folds import split_folds
from training.dataset.look import in_few_lines
from training.evaluation.score_files import summary_table, write_metrics
from training.evaluation.scores import Evaluation
from training.evaluation.trust.recalibration import recalibration_in_words
from training.learning.checkpoint import Trained
from training.learning.trainer import train
from training.packaging.own_test import evaluate_test
from training.packaging.package import Finished, write_package
from training.pipeline.cross_validation import cross_validate
from training.pipeline.mirroring import with_mirroring
from training.planning.command_line import DEFAULT_DATASET
from training.planning.foreign_networks import check_network, network_fields
from training.planning.options import DEFAULT_MINUTES, PlanOptions
from training.planning.planner import as_csv, check_asked, plan_run
from training.reports.model_card import write_model_card
from training.reports.run_report import write_report
from training.run.clock import Clock
from training.run.data_record import DataRecord
from training.run.device import Device, find_device
from training.run.folder import RunFolder
from training.run.job import TrainingJob, dataset_of, job_in
from training.run.lock import LET_GO_S, holds_files, taken
from training.run.plan import changed_plan, with_minutes
from training.run.plan_yaml import read_plan, write_plan
from training.run.processes import ALONE, World
from training.samples.prepared_cases import open_cases, prepare_cases

FALLBACK_DATASET = "phantom"


ENOUGH = 0.5
"""Of the planned steps; with fewer a network has learnt clearly less than planned."""

log = logging.getLogger("training")


def fit(
    options: PlanOptions,
    command: str = "training.fit",
    world: World = ALONE,
    *,
    spent_s: float = 0.0,
) -> RunFolder:
    """The whole job; of several processes that train together the first does all but training.

    Args:
        options: what the user asked for.
        command: for the package's card.
        world: of this process.
        spent_s: seconds of the budget that were spent before this was called.

    Raises:
        SegError: the data, the plan or the machine do not allow it.
    """
    if not world.leads:
        return _follow(world)
    clock = Clock(DEFAULT_MINUTES, spent_s=spent_s)
    device = find_device(world)
    check_asked(options, device)
    dataset, fingerprint = _look(options.data or _default_data())
    folds = 1 if options.plan else options.chosen.get("folds", 1)
    if folds > 1:  # says what is wrong before anything is measured
        split_folds(dataset.train, folds)
    run = RunFolder(options.out or _fresh_folder(dataset.name))
    with taken(run.path):
        if holds_files(run.path):
            raise ConfigError(
                f"{run.path} is not empty; name another folder with --out, or go on with "
                f"--resume {run.path}"
            )
        job = _planned(options, folds, dataset, fingerprint, run, clock, device, command)
        return _carry_out(job, run, clock, with_ray=options.with_ray)


def _planned(  # noqa: PLR0913 - all that a plan is made of
    options: PlanOptions,
    folds: int,
    dataset: Dataset,
    fingerprint: Fingerprint,
    run: RunFolder,
    clock: Clock,
    device: Device,
    command: str,
) -> TrainingJob:
    """The job that the options ask for; its plan is the first file of the run."""
    given = read_plan(options.plan) if options.plan else None
    check_network(network_fields(given) | options.chosen, dataset)
    planned = plan_run(options.shared_by(folds), dataset, fingerprint, device, clock)
    plan = changed_plan(planned.plan, {"minutes": planned.plan.minutes * folds})
    replace_file(run.fingerprint, (fingerprint.model_dump_json(indent=2) + "\n").encode())
    if planned.considered:
        replace_file(run.candidates, as_csv(planned.considered))
    DataRecord.of(dataset).write(run.data)
    write_plan(plan, run.plan)
    return TrainingJob(plan, fingerprint, dataset, device, command)


def resume(
    folder: Path,
    command: str = "training.fit",
    world: World = ALONE,
    *,
    with_ray: bool = False,
    minutes: float | None = None,
) -> RunFolder:
    """Go on with a run that was stopped, or with a finished one that gets more minutes.

    Raises:
        SegError: the folder holds no run, or its data are gone.
        ConfigError: more minutes are no more than it had, or it counts steps or has folds.
    """
    if not world.leads:
        return _follow(world)
    run = RunFolder(folder)
    if minutes is not None:
        run.check_begun()
        with taken(run.path, LET_GO_S):
            _give_minutes(run, minutes)
    if run.report.is_file():
        log.info("%s is finished; its report: %s", folder, run.report)
        return run
    run.check_begun()
    with taken(run.path, LET_GO_S):
        remove_unfinished(run.package)
        job, whole = job_in(run, command, world)
        if job.plan.fold is None:  # else others may prepare the cases of all folds now
            remove_unfinished(run.cache)
        else:
            prepare_cases(whole, job.plan, run.cache)  # for all folds, whichever comes first
        return _carry_out(job, run, Clock(job.plan.minutes), with_ray=with_ray)


def _give_minutes(run: RunFolder, minutes: float) -> None:
    """Write the longer plan; the package is made again when the longer training is done."""
    plan = read_plan(run.plan)
    if plan.steps or plan.folds > 1:
        raise ConfigError("only a training that counts minutes, without folds, can be given more")
    if minutes <= plan.minutes:
        raise ConfigError(
            f"{run.path} was given {plan.minutes:g} minutes in all; --minutes must be more"
        )
    write_plan(with_minutes(plan, minutes), run.plan)
    run.report.unlink(missing_ok=True)
    if run.package.exists():
        shutil.rmtree(run.package)


def _follow(world: World) -> RunFolder:
    """Take part in the training of a run that the leading process has prepared."""
    run = RunFolder(Path(world.told()))
    if not run.plan.is_file():
        raise ConfigError(
            f"process {world.rank} does not see {run.path}; the run's folder must lie where all "
            "machines can read it"
        )
    plan = read_plan(run.plan)
    clock = Clock(plan.minutes, plan.steps)
    dataset = dataset_of(run, plan, are_files_read=False)
    cases = open_cases(dataset, plan, run.cache)
    train(plan, cases, dataset, find_device(world), run.path, clock)
    return run


def _look(path: Path) -> tuple[Dataset, Fingerprint]:
    """The dataset and what its cases have in common; each case is read once."""
    dataset, findings = look_into(path)
    raise_errors(findings)
    log.info(
        "data      %s: %d cases to train on, %d held out; classes %s",
        dataset.name,
        len(dataset.train),
        len(dataset.test),
        ", ".join(info.name for info in dataset.classes),
    )
    of_cases, fingerprint = check_and_measure(dataset)
    for line in in_few_lines(dataset, [*findings, *of_cases]):
        log.warning("look      %s", line)
    return dataset, fingerprint


def _default_data() -> Path:
    try:
        return fetch(DEFAULT_DATASET)
    except RegistryError as error:
        log.warning("%s; going on with images that are drawn here", error)
        return fetch(FALLBACK_DATASET)


def _fresh_folder(name: str) -> Path:
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _carry_out(
    job: TrainingJob, run: RunFolder, clock: Clock, *, with_ray: bool = False
) -> RunFolder:
    try:
        return _train_and_report(job, run, clock, with_ray)
    except BaseException as error:  # a fold may have said so of itself
        error.__notes__ = [f"go on with: {called('training.fit', '--resume', run.path)}"]
        raise


def _train_and_report(job: TrainingJob, run: RunFolder, clock: Clock, with_ray: bool) -> RunFolder:
    plan, dataset = job.plan, job.dataset
    clock.minutes, clock.steps = plan.minutes, plan.steps
    if plan.folds > 1 and plan.fold is None:
        prepare_cases(dataset, plan, run.cache)
        finished, trained = cross_validate(job, run, clock, resume, with_ray=with_ray)
    else:
        finished, trained = _train_and_package(job, run, clock)
    log.info("proven    ONNX and network agree to %.1e in probabilities", finished.error)
    if plan.mirror and finished.package.card.mirrors:
        log.info("predicting once more in mirrors, to see what they gain and cost")
        finished = with_mirroring(finished, dataset)
    write_metrics(finished.evaluation, run.metrics)
    write_model_card(finished.package.card, run.model_card)
    write_report(run.path, job, trained, finished)
    log.info("%s", summary_table(finished.evaluation))
    if finished.evaluation.quality:
        log.info("%s", recalibration_in_words(finished.evaluation.quality))
    log.info("package   %s", run.package)
    log.info("report    %s", run.report)
    log.info("serve it  %s", served(run.package))
    return run


def _tell_steps(job: TrainingJob, trained: Trained, run: RunFolder) -> None:
    plan, minutes = job.plan, trained.seconds / 60
    planned = job.planned_steps
    log.info("trained   %s in %.1f minutes", job.steps_in_words, minutes)
    if planned and trained.steps < ENOUGH * planned:
        more = math.ceil(plan.minutes * planned / max(1, trained.steps))
        log.warning(
            "trained   only %.0f %% of the planned steps: the machine was busier than while it was "
            "measured, and the network has learnt less than it could; go on with: %s",
            100 * trained.steps / planned,
            called("training.fit", "--resume", run.path, "--minutes", str(more)),
        )


def _train_and_package(job: TrainingJob, run: RunFolder, clock: Clock) -> tuple[Finished, Trained]:
    plan, dataset = job.plan, job.dataset
    job.device.world.check(plan.batch_size)
    cases = prepare_cases(dataset, plan, run.cache)
    job.device.world.told(str(run.path.resolve()))
    trained = train(plan, cases, dataset, job.device, run.path, clock)
    job = replace(job, steps=trained.steps)
    _tell_steps(job, trained, run)

    def assess(predictor: Predictor) -> Evaluation:
        return evaluate_test(predictor, job, predictions=run.predictions)

    log.info("exporting to ONNX, proving it on real patches, evaluating whole images")
    return write_package(trained.network, job, run.package, assess), trained
