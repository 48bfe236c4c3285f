"""What a job's network is scored by before it becomes a package."""

from pathlib import Path

from seg.inference import Predictor
from training.evaluation.evaluator import evaluate
from training.evaluation.scores import Evaluation
from training.run.job import TrainingJob


def evaluate_test(
    predictor: Predictor,
    job: TrainingJob,
    *,
    predictions: Path | None = None,
    progress: bool = True,
) -> Evaluation:
    """Scores of a job's test cases by what it has trained, and what that says of its own masks.

    Args:
        predictor: of the job's package.
        job: that has trained.
        predictions: as of `evaluate`.
        progress: show a bar where there is a terminal.

    Raises:
        DatasetError: a case cannot be read.
        BackendError: the network failed.
    """
    return evaluate(
        predictor,
        job.dataset,
        job.dataset.test,
        predictions=predictions,
        progress=progress,
        degrade=True,
        is_fresh=job.plan.start is None,
    )
