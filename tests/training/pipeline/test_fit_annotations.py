"""The whole way with masks that say more, or less, than one class a voxel."""

import json

import numpy as np
import pytest
import tifffile

from data.phantom import draw
from seg.model_package import ModelPackage
from training.dataset import load_dataset
from training.evaluation.score_files import read_metrics
from training.fit import main

SMALL = ["--patch", "32", "32", "--batch-size", "2", "--precision", "float32", "--steps", "4"]
IGNORED = 7


def edit_json(folder, **changes):
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def phantom(tmp_path):
    return draw(tmp_path / "phantom", cases=3, size=(48, 64))


def test_masks_that_are_annotated_in_parts_train_and_are_scored_where_they_are(phantom, tmp_path):
    for path in sorted(phantom.glob("labelsT?/*.tif")):
        labels = tifffile.imread(path)
        labels[:, 40:] = IGNORED
        tifffile.imwrite(path, labels)
    edit_json(phantom, labels={"background": 0, "cytoplasm": 1, "nucleus": 2, "ignore": IGNORED})
    run = tmp_path / "run"
    assert main([str(phantom), "--out", str(run), *SMALL]) == 0

    assert len(ModelPackage.load(run / "package").card.classes) == 3
    dataset = load_dataset(phantom)
    (score,) = read_metrics(run / "metrics.json").cases
    _, mask = dataset.read(dataset.test[0])
    assert np.unique(mask.array[:, 40:]).tolist() == [255]
    assert score.classes["nucleus"].voxels_reference == np.count_nonzero(mask.array == 2)
    assert score.foreground.voxels_predicted <= 40 * 48


def test_classes_that_overlap_train_and_each_is_scored(phantom, tmp_path):
    regions = {"background": 0, "cell": [1, 2], "nucleus": [2]}
    edit_json(phantom, labels=regions, regions_class_order=[1, 2], colors={})
    run = tmp_path / "run"
    assert main([str(phantom), "--out", str(run), *SMALL]) == 0

    package = ModelPackage.load(run / "package")
    assert package.card.task == "regions"
    assert package.golden().logits.shape[1] == 2
    dataset = load_dataset(phantom)
    (score,) = read_metrics(run / "metrics.json").cases
    _, mask = dataset.read(dataset.test[0])
    assert score.classes["cell"].voxels_reference == np.count_nonzero(mask.array > 0)
    assert score.classes["nucleus"].voxels_reference == np.count_nonzero(mask.array == 2)
