"""Scores of overlapping classes, of a network that is right about each of them."""

import json

import numpy as np
import pytest

from seg.images import Image, write_image
from seg.inference import Predictor
from seg.model_package import ModelPackage
from tests.packages import write_package
from training.dataset import load_dataset
from training.evaluation.evaluator import evaluate

LEVELS = np.array([0, 80, 150, 240], np.uint8)
"""Intensities of neither class, of cytoplasm alone, of both, and of nucleus alone."""


class Crossing:
    """A backend whose two classes cross in the middle of the range of intensities."""

    patch = (16, 16)
    provider = "numpy"
    batch_size = 1
    callers = 1

    def run(self, patches):
        level = 255 * patches[:, 0]
        inside = np.stack([(level > 40) & (level < 200), level > 120], axis=1)
        return np.where(inside, 9, -9).astype(np.float32)


def test_classes_that_cross_are_scored_each_by_its_own_decision(tmp_path):
    labels = np.repeat(np.arange(4, dtype=np.uint8), 4).reshape(1, 4, 4)
    for end in ("Tr", "Ts"):
        (tmp_path / f"images{end}").mkdir()
        (tmp_path / f"labels{end}").mkdir()
        write_image(tmp_path / f"images{end}" / f"c{end}_0000.tif", Image(LEVELS[labels]))
        write_image(tmp_path / f"labels{end}" / f"c{end}.tif", Image(labels))
    card = {
        "channel_names": {"0": "light"},
        "labels": {"background": 0, "cytoplasm": [1, 2], "nucleus": [2, 3]},
        "regions_class_order": [1, 3],
        "numTraining": 1,
        "file_ending": ".tif",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(card))
    dataset = load_dataset(tmp_path)
    package = write_package(tmp_path / "package", patch=(16, 16), task="regions")
    predictor = Predictor(ModelPackage.load(package), Crossing())
    found = evaluate(predictor, dataset, dataset.test)
    assert found.summary["cytoplasm"].dice == pytest.approx(1)
    assert found.summary["nucleus"].dice == pytest.approx(1)
