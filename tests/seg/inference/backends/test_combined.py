import json
import shutil

import numpy as np
import onnx
import pytest
from numpy.random import default_rng

from seg.errors import BackendError, PackageError
from seg.files import sha256_of
from seg.images import Image
from seg.inference import (
    EnsembleBackend,
    MirrorBackend,
    OnnxBackend,
    Predictor,
    load_backend,
    verify_golden,
)
from seg.inference.labels.decision import probabilities_of
from seg.model_package import GoldenSamples, ModelPackage, accept_card, write_golden
from tests.packages import write_package


class Says:
    """A network of a function."""

    provider, batch_size, callers = "numpy", 2, 1

    def __init__(self, function, patch=(6, 8)):
        self.function, self.patch, self.runs = function, patch, 0

    def run(self, patches):
        self.runs += 1
        return self.function(patches).astype(np.float32)


def patches(*shape, seed=0):
    return default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("patch", "runs"), [((6, 8), 4), ((4, 6, 8), 8)])
def test_mirrors_change_nothing_for_a_network_that_does_not_see_sides(patch, runs):
    network = Says(lambda x: np.concatenate([x, x**2], axis=1), patch)
    x = patches(2, 1, *patch)
    np.testing.assert_allclose(MirrorBackend(network).run(x), network.run(x), rtol=1e-6)
    assert network.runs == runs + 1


def test_a_symmetric_patch_gets_symmetric_logits_from_a_network_that_sees_sides():
    ramp = np.arange(48).reshape(6, 8)
    x = patches(1, 1, 6, 8)
    symmetric = x + x[..., ::-1] + x[..., ::-1, :] + x[..., ::-1, ::-1]
    logits = MirrorBackend(Says(lambda x: x * ramp)).run(symmetric)
    for axes in (2, 3):
        np.testing.assert_allclose(logits, np.flip(logits, axes), rtol=1e-4)


@pytest.mark.parametrize("task", ["exclusive", "regions"])
def test_an_ensemble_says_the_mean_of_its_members_probabilities(task):
    members = [Says(lambda x, by=by: by * x) for by in (1, -3, 30)]
    x = 5 * patches(2, 3, 6, 8)
    of_each = [probabilities_of(member.run(x), task, axis=1) for member in members]
    together = probabilities_of(EnsembleBackend(members, task).run(x), task, axis=1)
    np.testing.assert_allclose(together, np.mean(of_each, axis=0), atol=1e-6)


def test_members_of_different_patches_are_refused():
    with pytest.raises(BackendError, match=r"one patch size, got \(6, 8\), \(8, 8\)"):
        EnsembleBackend([Says(abs), Says(abs, (8, 8))])


@pytest.fixture(scope="module")
def folds(tiny_package, tmp_path_factory):
    """A package of two networks that vote; the second one says the classes in reverse."""
    target = shutil.copytree(tiny_package, tmp_path_factory.mktemp("folds") / "package")
    other = OnnxBackend(target / "network.onnx")
    model = onnx.load(target / "network.onnx")
    for weight in model.graph.initializer:
        if weight.name in ("slope", "offset"):
            array = onnx.numpy_helper.to_array(weight)[::-1]
            weight.CopyFrom(onnx.numpy_helper.from_array(array.copy(), weight.name))
    onnx.save(model, target / "other.onnx")
    card = json.loads((target / "model.json").read_text())
    first = card["variants"][0] | {"name": "fold 0"}
    second = first | {
        "name": "fold 1",
        "file": "other.onnx",
        "sha256": sha256_of(target / "other.onnx"),
    }
    golden = ModelPackage.load(tiny_package).golden().patches
    backends = [other, OnnxBackend(target / "other.onnx")]
    logits = {f"fold {i}": each.run(golden) for i, each in enumerate(backends)}
    both = EnsembleBackend(backends).run(golden)
    card |= {
        "variants": [first, second],
        "ensemble": ["fold 0", "fold 1"],
        "golden_sha256": write_golden(target, GoldenSamples(golden, both), logits),
    }
    (target / "model.json").write_text(json.dumps(card))
    accept_card(target)
    return ModelPackage.load(target)


def test_a_package_of_folds_answers_with_all_of_them(folds):
    assert isinstance(Predictor(folds).backend, EnsembleBackend)
    assert verify_golden(folds, load_backend(folds)) <= 1e-4


@pytest.mark.parametrize("fold", ["fold 0", "fold 1"])
def test_a_fold_that_is_named_answers_alone_and_has_golden_samples(folds, fold):
    assert verify_golden(folds, load_backend(folds, fold), fold) <= 1e-4


def test_an_ensemble_of_unknown_variants_is_refused(folds, tmp_path):
    target = shutil.copytree(folds.path, tmp_path / "package")
    card = json.loads((target / "model.json").read_text()) | {"ensemble": ["fold 0", "fold 7"]}
    (target / "model.json").write_text(json.dumps(card))
    (target / "model.json.sha256").unlink()
    with pytest.raises(PackageError, match="an ensemble names variants, each once"):
        ModelPackage.load(target)


def test_overlapping_regions_are_painted_in_their_order(tmp_path):
    package = ModelPackage.load(write_package(tmp_path / "package", task="regions"))
    backend = load_backend(package)
    assert verify_golden(package, backend) <= 1e-4
    image = Image(np.repeat(np.array([25, 128, 204], np.uint8), 20)[None, None].repeat(40, 1))
    mask = Predictor(package, backend).predict(image)
    assert [mask.array[20, x] for x in (8, 30, 52)] == [0, 1, 2]
