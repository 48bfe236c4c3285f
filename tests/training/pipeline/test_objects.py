"""Objects told apart, the whole way: data, training, package, prediction, scores."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from seg.errors import BackendError
from seg.images import read_image
from seg.inference import OnnxBackend, Predictor, load_backend, verify_golden
from seg.model_package import ModelPackage, write_card, write_golden
from seg.predict.__main__ import main as predict
from tests.instances import instance_folder, json_of
from training.dataset import load_dataset
from training.dataset.tuning import tuning_split
from training.evaluation.object_tuning import tune_objects
from training.fit import main

STEPS = ["--steps", "60", "--network", "resunet-xs", "--patch", "32", "32", "--batch-size", "4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return instance_folder(tmp_path_factory.mktemp("data") / "cells")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    assert main([str(data), "--out", str(out), *STEPS, "--precision", "float32"]) == 0
    return out


@pytest.fixture(scope="module")
def package(run):
    return ModelPackage.load(run / "package")


def test_a_folder_of_numbered_objects_makes_a_package_that_tells_them_apart(package):
    instances = package.card.instances
    assert instances.channels_for == ("border", "distance")
    assert list(instances.rules) == ["object"]
    assert package.golden().logits.shape[1] == package.card.logits == 4
    assert "held-back cases" in instances.fitted_on


def test_the_rules_are_chosen_on_cases_that_nobody_learnt_from_or_is_tested_on(data):
    dataset = load_dataset(data)
    learnt, tuned = tuning_split(dataset.train)
    assert learnt
    assert tuned
    assert not {c.name for c in learnt} & {c.name for c in tuned}
    assert {c.name for c in learnt} | {c.name for c in tuned} == {c.name for c in dataset.train}


@pytest.mark.parametrize("are_learnt", [True, False])
def test_images_that_were_learnt_from_say_nothing_of_how_sure_others_are(data, package, are_learnt):
    dataset = load_dataset(data)
    _, cases = tuning_split(dataset.train)
    tuned = tune_objects(Predictor(package), dataset, cases, 4, are_learnt=are_learnt)
    rule = tuned.rules["object"]
    assert [rule.probability is None, rule.count is None] == [are_learnt] * 2


def test_metrics_tell_how_well_objects_are_found(run, data):
    objects = json_of(run / "metrics.json")["objects"]["object"]
    dataset = load_dataset(data)
    true = sum(len(np.unique(tifffile.imread(case.objects))) - 1 for case in dataset.test)
    assert objects["reference"] == true
    for name in ("ap_50", "f1", "pq", "seg", "count_error"):
        measured = objects["measures"][name]
        low, high = measured["ci95"] or (-math.inf, math.inf)  # null of one test case
        assert low <= measured["value"] <= high
        assert (measured["ci95"] is None) == (len(dataset.test) == 1)
    assert 0 <= objects["coverage"] <= 1


def test_instances_are_written_with_32_bits_and_listed(run, data, tmp_path):
    out = tmp_path / "out"
    package = str(run / "package")
    assert predict([package, str(data / "images"), "--out", str(out), "--format", "instances"]) == 0
    with (out / "objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["case", "label", "class", "probability", "area"]
    for path in sorted((data / "images").iterdir()):
        labels = tifffile.imread(out / path.name)
        assert labels.dtype == np.uint32
        own = [row for row in rows if row["case"] == path.stem]
        assert [int(row["label"]) for row in own] == list(range(1, labels.max() + 1))
        sizes = np.bincount(labels.ravel())[1:]
        assert [int(row["num_pixels"]) for row in own] == sizes.tolist()


def test_objects_lie_within_the_mask_and_are_those_of_evaluation(run, data, package):
    predictor = Predictor(package)
    image = read_image(next(iter(sorted((data / "images").iterdir()))))
    found = predictor.segment(image, with_objects=True)
    assert ((found.objects.labels > 0) <= (found.mask.array > 0)).all()
    np.testing.assert_array_equal(predictor.objects(image).labels, found.objects.labels)
    np.testing.assert_array_equal(predictor.predict(image).array, found.mask.array)


def test_golden_objects_are_part_of_the_proof(package, tmp_path):
    backend = OnnxBackend(package.model_file())
    assert verify_golden(package, backend) <= 1e-4
    golden = package.golden()
    other = replace(golden, objects=np.roll(golden.objects, 1, axis=-1))
    for file in package.path.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    sha256 = write_golden(tmp_path, other)
    write_card(tmp_path, package.card.model_copy(update={"golden_sha256": sha256}))
    with pytest.raises(BackendError, match="other objects"):
        verify_golden(ModelPackage.load(tmp_path), backend)


@pytest.mark.long
def test_a_fold_s_package_keeps_what_each_network_said(data, tmp_path):
    assert main([str(data), "--out", str(tmp_path / "folds"), "--folds", "2", *STEPS[:1], "4",
                 *STEPS[2:], "--precision", "float32"]) == 0  # fmt: skip
    package = ModelPackage.load(tmp_path / "folds" / "package")
    assert package.card.instances is not None
    assert package.golden().objects is not None
    for name in package.card.ensemble:
        assert package.has_golden(name)
        assert verify_golden(package, OnnxBackend(package.model_file(name)), name) <= 1e-4
    assert verify_golden(package, load_backend(package)) <= 1e-4
