"""What it brings, and costs, to segment every patch in all its mirrors as well."""

import time
from dataclasses import replace

from seg.images import Image
from seg.inference import Predictor
from training.dataset import Dataset
from training.evaluation.comparison import compare
from training.evaluation.evaluator import evaluate
from training.evaluation.scores import Mirroring
from training.packaging.package import Finished


def with_mirroring(finished: Finished, dataset: Dataset) -> Finished:
    """With what mirrors gain on the test cases, and what they cost on one image."""
    package, plain = finished.package, finished.evaluation
    mirrored = Predictor(package, mirror=True)
    scores = evaluate(mirrored, dataset, dataset.test, tolerance=plain.tolerance)
    comparison = compare(plain, scores, ("plain", "mirrored"))
    image, _ = dataset.read(dataset.test[0])
    found = Mirroring(
        gain={d.region: d.difference for d in comparison.differences if d.measure == "dice"},
        says=comparison.says,
        seconds=_seconds(Predictor(package), image),
        seconds_mirrored=_seconds(mirrored, image),
    )
    return replace(finished, evaluation=plain.model_copy(update={"mirroring": found}))


def _seconds(predictor: Predictor, image: Image) -> float:
    start = time.perf_counter()
    predictor.predict(image)
    return time.perf_counter() - start
