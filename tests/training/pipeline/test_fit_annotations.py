"""The whole way with masks that say more, or less, than one class a voxel."""

import json

import nibabel
import numpy as np
import pytest
import tifffile

from data.phantom import draw
from seg.model_package import ModelPackage
from training.dataset import load_dataset
from training.evaluation.score_files import read_metrics
from training.fit import main

SMALL = [
    *("--network", "resunet-xs", "--patch", "16", "16", "--batch-size", "2"),
    *("--precision", "float32", "--steps", "4"),
]
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


def test_objects_outlined_on_one_slice_of_each_volume_are_enough_to_train_on(tmp_path):
    data = tmp_path / "drawn"
    (data / "images").mkdir(parents=True)
    (data / "masks").mkdir()
    rng = np.random.default_rng(0)
    affine = np.array([[0, -1, 0, 3], [0, 0, 2, 5], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    for name in "abc":
        numbers = np.zeros((24, 28, 8), np.uint16)  # as NIfTI has it: x, y and z
        numbers[3:11, 4:12, 2:6], numbers[13:21, 14:24, 2:7] = 1, 2
        image = rng.normal(100 + 80 * (numbers > 0), 10).astype(np.float32)
        numbers[:, :, [*range(4), *range(5, 8)]] = 65535
        nibabel.save(nibabel.Nifti1Image(image, affine), data / "images" / f"{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(numbers, affine), data / "masks" / f"{name}.nii.gz")
    (data / "dataset.yaml").write_text(
        "classes: [background, cell]\nmasks: instances\nignore: 65535\nsplit: {test: [c]}\n"
    )
    run = tmp_path / "run"
    small = ["--network", "resunet-xs", "--patch", "8", "16", "16", "--batch-size", "2"]
    small += ["--precision", "float32", "--instances", "distance", "--steps", "2"]
    assert main([str(data), "--out", str(run), *small]) == 0
    (score,) = read_metrics(run / "metrics.json").cases
    assert score.classes["cell"].voxels_reference == 8 * 8 + 8 * 10
    assert score.classes["cell"].voxels_predicted <= 24 * 28
