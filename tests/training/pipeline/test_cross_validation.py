"""``fit --folds``: the whole way on a drawn dataset, a few steps a fold."""

import json
import shutil

import numpy as np
import pytest

from data.phantom import draw
from seg.images import read_channels, read_mask
from seg.inference import EnsembleBackend, Predictor, load_backend, verify_golden
from seg.model_package import ModelPackage
from tests.peers import ray_cluster
from training.dataset import load_dataset
from training.dataset.fingerprint import Fingerprint
from training.dataset.folds import fold_of
from training.fit import main
from training.pipeline.cross_validation import train_folds
from training.run.clock import Clock
from training.run.device import Device
from training.run.folder import RunFolder
from training.run.job import TrainingJob
from training.run.plan import changed_plan
from training.run.plan_yaml import read_plan

# several networks are trained and exported
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SMALL = [
    *("--network", "resunet-xs", "--patch", "16", "16", "--batch-size", "2"),
    *("--precision", "float32", "--steps", "6"),
]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("data") / "phantom", cases=6, size=(48, 64))


@pytest.fixture(scope="module")
def run(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    arguments = [str(phantom), "--out", str(folder), "--folds", "2", "--mirror", *SMALL]
    assert main(arguments) == 0
    return folder


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text())


def test_the_package_answers_with_all_folds_and_proves_each(run):
    package = ModelPackage.load(run / "package")
    assert package.card.ensemble == ("fold-0", "fold-1")
    assert isinstance(load_backend(package), EnsembleBackend)
    assert verify_golden(package, load_backend(package)) <= 1e-4
    for fold in package.card.ensemble:
        assert verify_golden(package, load_backend(package, fold), fold) <= 1e-4


def test_every_training_case_is_scored_by_the_fold_that_has_not_seen_it(run, phantom):
    dataset = load_dataset(phantom)
    scores = metrics_of(run)["cross_validation"]
    assert {case["case"] for case in scores["scores"]["cases"]} == {c.name for c in dataset.train}
    for number, fold in enumerate(scores["folds"]):
        held = fold_of(dataset, 2, number).test
        assert fold["cases"] == [case.name for case in held]
        predictor = Predictor(ModelPackage.load(run / f"fold-{number}" / "package"))
        for case in held:
            kept = read_mask(run / f"fold-{number}" / "predictions" / f"{case.name}.png")
            expected = predictor.predict(read_channels(case.images, dims=2))
            np.testing.assert_array_equal(kept.array, expected.array)


def test_test_cases_are_scored_by_all_folds_together(run, phantom):
    dataset = load_dataset(phantom)
    predictor = Predictor(ModelPackage.load(run / "package"))
    for case in dataset.test:
        kept = read_mask(run / "predictions" / f"{case.name}.png")
        expected = predictor.predict(read_channels(case.images, dims=2))
        np.testing.assert_array_equal(kept.array, expected.array)
    assert [case["case"] for case in metrics_of(run)["cases"]] == [c.name for c in dataset.test]


def test_postprocessing_is_what_cross_validation_kept(run):
    rules = ModelPackage.load(run / "package").card.postprocessing
    tried = {each["rule"]: each for each in metrics_of(run)["cross_validation"]["postprocessing"]}
    assert set(tried) == {"all foreground", "cytoplasm", "nucleus"}
    assert rules.largest_foreground == tried["all foreground"]["kept"]
    assert set(rules.largest_component) == {
        name for name in ("cytoplasm", "nucleus") if tried[name]["kept"]
    }


def test_the_report_tells_of_folds_and_of_mirrors(run):
    page = (run / "report.html").read_text()
    assert "Cross-validation" in page
    assert "Keeping the largest component" in page
    mirroring = metrics_of(run)["mirroring"]
    assert set(mirroring["gain"]) == {"cytoplasm", "nucleus", "foreground"}
    assert f"{mirroring['seconds_mirrored'] / mirroring['seconds']:.1f} times" in page


def test_folds_share_the_preprocessed_cases(run):
    assert (run / "cache").is_dir()
    assert not list(run.glob("fold-*/cache"))


def test_what_is_trained_is_not_trained_again(run, tmp_path):
    killed = shutil.copytree(run, tmp_path / "killed")
    shutil.rmtree(killed / "package")
    (killed / "report.html").unlink()
    shutil.rmtree(killed / "fold-1" / "package")
    (killed / "fold-1" / "report.html").unlink()
    before = (killed / "fold-0" / "checkpoint.ckpt").stat().st_mtime_ns
    assert main(["--resume", str(killed)]) == 0
    assert (killed / "fold-0" / "checkpoint.ckpt").stat().st_mtime_ns == before
    ours, theirs = (ModelPackage.load(folder / "package").golden() for folder in (killed, run))
    np.testing.assert_array_equal(ours.logits, theirs.logits)


def test_more_folds_than_cases_are_one_sentence(phantom, tmp_path, caplog):
    arguments = [str(phantom), "--out", str(tmp_path / "run"), "--folds", "9", *SMALL]
    assert main(arguments) == 2
    assert "9 folds need at least 9 subjects" in caplog.text


@pytest.mark.long
def test_folds_side_by_side_on_ray_end_as_one_after_another(run, phantom, tmp_path):
    folder = tmp_path / "side by side"
    with ray_cluster():
        assert main([str(phantom), "--out", str(folder), "--folds", "2", "--ray", *SMALL]) == 0
    ours, theirs = (ModelPackage.load(each / "package").golden() for each in (folder, run))
    np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-5)


def test_minutes_are_shared_by_the_folds(run, phantom, tmp_path):
    shutil.copy(run / "fingerprint.json", tmp_path)
    plan = changed_plan(read_plan(run / "plan.yaml"), {"minutes": 30.0, "folds": 3})
    fingerprint = Fingerprint.model_validate_json((run / "fingerprint.json").read_text())
    job = TrainingJob(plan, fingerprint, load_dataset(phantom), Device("cpu", "a CPU"), "tests")
    trained = []
    train_folds(job, RunFolder(tmp_path), Clock(30.0, spent_s=300.0), trained.append)
    assert trained == [tmp_path / f"fold-{number}" for number in range(3)]
    plans = [read_plan(folder / "plan.yaml") for folder in trained]
    assert [each.fold for each in plans] == [0, 1, 2]
    assert [each.minutes for each in plans] == pytest.approx([25 / 3] * 3, abs=0.1)
