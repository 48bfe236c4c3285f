"""What it brings, and costs, to segment every patch in all its mirrors as well."""

import time

from seg.images import Image
from seg.inference import Predictor
from seg.model_package import ModelPackage
from training.comparison import compare
from training.dataset import Dataset
from training.evaluate import evaluate
from training.scores import Evaluation, Mirroring


def measure_mirroring(package: ModelPackage, dataset: Dataset, plain: Evaluation) -> Mirroring:
    """Score the test cases once more, in mirrors, and time one image both ways.

    Args:
        package: that was scored.
        dataset: on its test cases.
        plain: the scores without mirrors.
    """
    mirrored = Predictor(package, mirror=True)
    scores = evaluate(mirrored, dataset, dataset.test, tolerance=plain.tolerance)
    comparison = compare(plain, scores, ("plain", "mirrored"))
    image, _ = dataset.read(dataset.test[0])
    return Mirroring(
        gain={d.region: d.difference for d in comparison.differences if d.measure == "dice"},
        says=comparison.says,
        seconds=_seconds(Predictor(package), image),
        seconds_mirrored=_seconds(mirrored, image),
    )


def _seconds(predictor: Predictor, image: Image) -> float:
    start = time.perf_counter()
    predictor.predict(image)
    return time.perf_counter() - start
