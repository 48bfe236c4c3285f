"""Test cases drawn into a package, for the page that tells people of it."""

import tempfile
from pathlib import Path

from seg.errors import ConfigError
from seg.inference import Predictor, load_backend
from seg.model_package import CasePictures, ModelCard, ModelPackage, add_pictured_cases
from training.dataset import Dataset
from training.evaluation.evaluator import evaluate
from training.evaluation.scores import Evaluation
from training.reports.case_pictures import panel
from training.reports.pages import ranked_views, shown_ranks


def picture_cases(package: ModelPackage, dataset: Dataset, evaluation: Evaluation) -> ModelCard:
    """Add the best, the median and the worst test case of an evaluation, as the package masks them.

    Raises:
        ConfigError: no case has a score.
        DatasetError: a case cannot be read.
        BackendError: the network failed.
    """
    names = {score.case for _, score in shown_ranks(evaluation)}
    if not names:
        raise ConfigError(f"{dataset.name} has no test case with a score that could be shown")
    chosen = [case for case in dataset.test if case.name in names]
    predictor = Predictor(package, load_backend(package))
    with tempfile.TemporaryDirectory() as folder:
        predictions = Path(folder)
        evaluate(predictor, dataset, chosen, predictions=predictions, progress=False)
        pictures = [
            CasePictures(
                rank=rank,
                dice=score.mean_dice or 0.0,
                image=panel(view, None, dataset.classes),
                reference=panel(view, view.reference, dataset.classes),
                prediction=panel(view, view.prediction, dataset.classes),
            )
            for rank, score, view in ranked_views(predictions, dataset, evaluation)
        ]
    return add_pictured_cases(package.path, pictures)
