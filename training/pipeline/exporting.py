"""Write the package of a run again."""

from pathlib import Path

from seg.inference import Predictor
from training.evaluation.evaluator import evaluate
from training.evaluation.scores import Evaluation
from training.learning.checkpoint import trained_in
from training.packaging.package import Finished, write_package
from training.pipeline.cross_validation import package_folds
from training.run.folder import RunFolder
from training.run.job import TrainingJob


def export_package(run: RunFolder, job: TrainingJob, target: Path) -> Finished:
    """Write the run's network, or those of its folds, as a proven and scored package.

    Raises:
        ConfigError: the run has no checkpoint, or the target is the run's own folder.
        BackendError: the exported network disagrees with the trained one.
    """
    if job.plan.folds > 1 and job.plan.fold is None:
        folds = [run.fold(number) for number in range(job.plan.folds)]
        return package_folds(job, run, folds, target)[0]
    trained = trained_in(run, job.plan, job.dataset.legend)

    def assess(predictor: Predictor) -> Evaluation:
        return evaluate(predictor, job.dataset, job.dataset.test)

    return write_package(trained.network, job, target, assess)
