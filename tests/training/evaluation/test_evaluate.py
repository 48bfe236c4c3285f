"""Whole-image scores against counts made by hand."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from data.phantom import draw
from seg.errors import ConfigError, DatasetError
from seg.images import Image, Mask, read_mask, write_image
from seg.inference import Predictor
from seg.metrics import dice
from seg.model_package import ModelPackage
from tests.packages import write_package
from training.dataset import IGNORE, Legend, load_dataset
from training.dataset.classes import make_classes
from training.evaluate import main
from training.evaluation.evaluator import evaluate, prediction_file
from training.evaluation.regions import Region, foreground_name, regions
from training.evaluation.score_files import read_metrics, summary_table, write_metrics
from training.evaluation.thresholding import LEVELS, choose_thresholding

CLASSES = {"background": 0, "cytoplasm": 1, "nucleus": 2}


class Threshold:
    """A backend that calls voxels above 0.3 cytoplasm and above 0.6 nucleus."""

    patch = (16, 16)
    provider = "numpy"
    batch_size = 1
    callers = 1

    def run(self, patches):
        level = patches[:, 0]
        labels = (level > 0.3).astype(int) + (level > 0.6)
        return np.moveaxis(np.eye(3, dtype=np.float32)[labels], -1, 1) * 100


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("evaluate") / "package", patch=(16, 16))


def write_dataset(folder, cases, classes=CLASSES):
    """Cases as (split, rows of intensities, rows of labels), in nnU-Net raw format."""
    for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (folder / name).mkdir(parents=True)
    for number, (split, image, labels) in enumerate(cases):
        end = {"train": "Tr", "test": "Ts"}[split]
        arrays = np.array([image], np.uint8), np.array([labels], np.uint8)
        write_image(folder / f"images{end}" / f"c{number}_0000.tif", Image(arrays[0]))
        write_image(folder / f"labels{end}" / f"c{number}.tif", Image(arrays[1]))
    card = {
        "channel_names": {"0": "light"},
        "labels": classes,
        "numTraining": sum(split == "train" for split, *_ in cases),
        "file_ending": ".tif",
    }
    (folder / "dataset.json").write_text(json.dumps(card))
    return load_dataset(folder)


# intensities of background, cytoplasm, nucleus for the backend above
B, C, N = 0, 120, 240

TRAIN = ("train", [[B, B, N, N], [B, B, N, N]], [[0, 0, 2, 2], [0, 0, 2, 2]])
# predicted: 4 cytoplasm, 2 nucleus; reference: 3 cytoplasm of which 3 shared, 2 nucleus, 1 shared
FIRST = ("test", [[C, C, N, B], [C, C, N, B]], [[1, 1, 2, 2], [1, 0, 0, 0]])
# predicted: 2 cytoplasm, shared with the reference; no nucleus anywhere
SECOND = ("test", [[C, C, B, B], [B, B, B, B]], [[1, 1, 0, 0], [0, 0, 0, 0]])


@pytest.fixture
def evaluation(package, tmp_path):
    dataset = write_dataset(tmp_path / "data", [TRAIN, FIRST, SECOND])
    return evaluate(Predictor(ModelPackage.load(package), Threshold()), dataset, dataset.test)


def test_scores_of_a_case_equal_the_hand_count(evaluation):
    first = evaluation.cases[0]
    cytoplasm = first.classes["cytoplasm"]
    assert cytoplasm.dice == pytest.approx(2 * 3 / (4 + 3))
    assert cytoplasm.iou == pytest.approx(3 / 4)
    assert (cytoplasm.voxels_predicted, cytoplasm.voxels_reference) == (4, 3)
    assert cytoplasm.volume_error == pytest.approx(1 / 3)
    # one voxel of four is one pixel away from the outline of the reference
    assert cytoplasm.hd95 == pytest.approx(np.percentile([0, 0, 0, 1], 95))
    assert cytoplasm.surface_dice == 1
    assert first.classes["nucleus"].dice == pytest.approx(2 * 1 / (2 + 2))
    assert first.foreground.dice == pytest.approx(2 * 4 / (6 + 5))
    assert first.mean_dice == pytest.approx((6 / 7 + 1 / 2) / 2)


def test_a_class_that_is_in_neither_mask_counts_in_no_mean(evaluation):
    second = evaluation.cases[1]
    assert second.classes["nucleus"].dice is None
    assert second.mean_dice == 1
    assert evaluation.summary["nucleus"].cases == 1
    assert evaluation.summary["nucleus"].dice == pytest.approx(1 / 2)


def test_one_case_has_no_interval(evaluation):
    of_one = evaluation.summary["nucleus"]
    assert of_one.interval is None
    assert of_one.ci95 == (0, 1), "two numbers, which programs read"
    assert {each.ci95 for each in of_one.measures.values() if each.cases == 1} == {None}


def test_cases_of_one_subject_have_no_interval_and_do_not_name_it(package, tmp_path):
    dataset = write_dataset(tmp_path / "data", [TRAIN, FIRST, SECOND])
    cases = [replace(case, subject="Doe^Jane") for case in dataset.test]
    predictor = Predictor(ModelPackage.load(package), Threshold())
    found = evaluate(predictor, dataset, cases)
    dice = found.summary["cytoplasm"]
    assert (dice.cases, dice.interval, dice.measures["dice"].subjects) == (2, None, 1)
    assert "2 cases are of 1 subject: none has an interval" in summary_table(found)
    assert "Doe" not in found.model_dump_json()
    apart = [replace(case, subject=case.name) for case in cases]
    assert evaluate(predictor, dataset, apart).summary["cytoplasm"].interval is not None


def test_the_summary_is_the_mean_over_cases_and_pools_over_voxels(evaluation):
    summary = evaluation.summary["cytoplasm"]
    assert summary.cases == 2
    assert summary.dice == pytest.approx((6 / 7 + 1) / 2)
    assert summary.iou == pytest.approx((3 / 4 + 1) / 2)
    assert summary.dice_pooled == pytest.approx(2 * (3 + 2) / ((4 + 2) + (3 + 2)))
    low, high = summary.ci95
    assert 6 / 7 <= low <= summary.dice <= high <= 1
    assert list(evaluation.summary) == ["cytoplasm", "nucleus", "foreground"]


def test_cases_are_ranked_worst_first(evaluation):
    assert [case.case for case in evaluation.ranked] == ["c1", "c2"]


def test_the_floor_is_the_rule_that_was_best_in_training_measured_on_the_test(evaluation):
    # of rules that are equally good in TRAIN the first is taken: above Otsu's threshold
    bright = np.array(FIRST[1]) > threshold_otsu(np.array(FIRST[1]))
    # SECOND has no nucleus to find
    expected = dice(bright, np.array(FIRST[2]) == 2)
    assert evaluation.summary["nucleus"].floor == pytest.approx(expected)


def test_thresholding_takes_the_dark_side_where_a_class_is_dark(tmp_path):
    dark = ("train", [[9, 9, 9, 0]], [[0, 0, 0, 1]])
    dataset = write_dataset(tmp_path, [dark, ("test", *dark[1:])], {"background": 0, "hole": 1})
    thresholding = choose_thresholding(dataset, dataset.train)
    assert not thresholding.rules["hole"].above
    assert thresholding.dice(*dataset.read(dataset.test[0])) == {"hole": 1}


def test_thresholding_finds_a_level_where_two_groups_are_the_wrong_question(tmp_path):
    # one glaring pixel pulls Otsu's threshold above the class
    image, labels = [[0] * 50 + [20] * 49 + [255]], [[0] * 50 + [1] * 50]
    case = ("train", image, labels)
    dataset = write_dataset(tmp_path, [case, ("test", *case[1:])], {"background": 0, "cell": 1})
    assert threshold_otsu(np.array(image, float)) > 20
    thresholding = choose_thresholding(dataset, dataset.train)
    assert thresholding.dice(*dataset.read(dataset.test[0])) == {"cell": 1}


def test_no_rule_of_the_same_kind_beats_the_chosen_one(tmp_path):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, (20, 20))
    image = (40 * labels + rng.integers(0, 90, (20, 20))).tolist()
    case = (image, labels.tolist())
    dataset = write_dataset(tmp_path, [("train", *case), ("test", *case)])
    chosen = choose_thresholding(dataset, dataset.train).dice(*dataset.read(dataset.train[0]))
    light = np.array(image)
    low, high = np.percentile(light, (0.5, 99.5))
    for threshold in (threshold_otsu(light), *(low + LEVELS * (high - low))):
        for name, region in {"cytoplasm": labels == 1, "foreground": labels > 0}.items():
            assert dice(light > threshold, region) <= chosen[name] + 1e-9
            assert dice(light <= threshold, region) <= chosen[name] + 1e-9


def test_foreground_is_named_only_where_classes_come_together():
    def legend(*names):
        return Legend(make_classes(["background", *names], {}))

    assert regions(legend("cell")) == {"cell": Region((1,), (1,))}
    assert {name: region.labels for name, region in regions(legend("a", "b")).items()} == {
        "a": (1,),
        "b": (2,),
        "foreground": (1, 2),
    }
    assert foreground_name(legend("foreground", "b")) == "any foreground class"


def test_all_classes_together_count_whichever_it_is():
    painted, labels = np.array([0, 1, 2, 2, 1, 0]), np.array([0, 1, 1, 0, 0, 2], np.uint8)
    together = regions(Legend(make_classes(["background", "a", "b"], {})))["foreground"]
    assert together.predicted(painted, labels).tolist() == (painted > 0).tolist()
    assert together.referred(labels).tolist() == (labels > 0).tolist()


def test_a_region_counts_what_is_painted_over_it():
    # whole tumour = 1, 2, 3; its core = 2, 3; a part of that = 3
    classes = make_classes(["background", "whole", "core", "active"], {})
    labels = np.array([0, 1, 2, 3, 3, 3], np.uint8)
    painted = np.array([1, 1, 2, 3, 2, 0], np.uint8)
    found = regions(Legend(classes, regions=((1, 2, 3), (2, 3), (3,))))
    hits = {
        name: int((each.predicted(painted, labels) & each.referred(labels)).sum())
        for name, each in found.items()
    }
    assert hits == {"whole": 4, "core": 3, "active": 1, "foreground": 4}
    shown = {name: int(each.predicted(painted, labels).sum()) for name, each in found.items()}
    assert shown == {"whole": 5, "core": 3, "active": 1, "foreground": 5}


def test_voxels_that_nobody_annotated_do_not_count():
    cell = regions(Legend(make_classes(["background", "cell"], {}), ignores=True))["cell"]
    labels = np.array([[0, 1, IGNORE, IGNORE]], np.uint8)
    painted = np.array([[0, 1, 1, 0]], np.uint8)
    assert cell.predicted(painted, labels).tolist() == [[False, True, False, False]]
    assert cell.referred(labels).tolist() == [[False, True, False, False]]


def test_a_reference_that_was_drawn_over_the_model_s_mask_is_told_and_teaches_it_nothing(
    package, tmp_path
):
    levels = np.zeros((8, 8), np.uint8)
    levels[1:7, 1:7] = 128
    seen = (levels > 0).astype(np.uint8)
    drawn = seen.copy()
    drawn[6, 6] = 0
    cases = [TRAIN, ("test", levels, seen), ("test", levels, drawn)]
    dataset = write_dataset(tmp_path / "data", cases)
    predictor = Predictor(ModelPackage.load(package), Threshold())
    scores = evaluate(predictor, dataset, dataset.test)
    assert [case.began_with_it for case in scores.cases] == [True, False]
    assert "1 of 2 cases (c1) show the model's own outlines" in summary_table(scores)
    assert scores.quality.fitted_on.startswith("1 cases")
    fresh = evaluate(predictor, dataset, dataset.test, is_fresh=True)
    assert not any(case.began_with_it for case in fresh.cases), "nobody knew its masks"
    assert fresh.quality.fitted_on.startswith("2 cases")


def test_predicted_masks_are_kept_for_people(package, tmp_path):
    dataset = write_dataset(tmp_path / "data", [TRAIN, FIRST])
    predictor = Predictor(ModelPackage.load(package), Threshold())
    evaluate(predictor, dataset, dataset.test, predictions=tmp_path / "kept")
    kept = read_mask(prediction_file(tmp_path / "kept", "c1", dims=2), dims=2)
    np.testing.assert_array_equal(kept.array, [[1, 1, 2, 0], [1, 1, 2, 0]])


def test_a_dataset_with_other_classes_is_refused(package, tmp_path):
    dataset = write_dataset(tmp_path, [TRAIN, FIRST], {"background": 0, "nucleus": 2, "lipid": 1})
    predictor = Predictor(ModelPackage.load(package), Threshold())
    with pytest.raises(DatasetError, match=r"classes cytoplasm, nucleus, the dataset has"):
        evaluate(predictor, dataset, dataset.test)


def test_an_image_that_the_model_cannot_take_is_named(package, tmp_path):
    draw(tmp_path / "data", cases=2, size=(32, 32))
    dataset = load_dataset(tmp_path / "data")
    with pytest.raises(DatasetError, match=r"case phantom_001: .*channel"):
        evaluate(Predictor(ModelPackage.load(package)), dataset, dataset.test)


def test_images_that_are_unlike_those_of_the_training_are_told(package, tmp_path):
    labels = np.eye(20, dtype=np.uint8)
    bright, dark = 120 * labels + 60, 2 * labels
    write_dataset(tmp_path / "data", [("train", bright, labels), ("test", dark, 2 * labels)])
    dataset, told = load_dataset(tmp_path / "data"), []
    evaluate(Predictor(ModelPackage.load(package)), dataset, dataset.test, tell=told.append)
    assert "warning: c1: intensities go from 0 to 2 only" in told[0]


def test_the_command_writes_the_contract_and_prints_a_table(tmp_path, capsys):
    folder = write_package(tmp_path / "package", channels=2)
    data = draw(tmp_path / "data", cases=5, size=(48, 40))
    out = tmp_path / "metrics.json"
    arguments = [str(folder), str(data), "--split", "train", "--out", str(out)]
    assert main([*arguments, "--provider", "cpu"]) == 0
    metrics = json.loads(out.read_text())
    assert [case["case"] for case in metrics["cases"]] == [f"phantom_00{n}" for n in range(4)]
    assert set(metrics["cases"][0]["classes"]) == {"cytoplasm", "nucleus"}
    assert set(metrics["summary"]) == {"cytoplasm", "nucleus", "foreground"}
    summary = metrics["summary"]["nucleus"]
    assert {"dice", "ci95", "iou", "dice_pooled", "cases", "floor"} <= set(summary)
    assert summary["measures"]["dice"]["mean"] == summary["dice"]
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open(newline="")))
    assert len(rows) == 4 * 3
    by_name = {case["case"]: case["classes"]["cytoplasm"]["dice"] for case in metrics["cases"]}
    assert float(rows[0]["dice"]) == by_name[rows[0]["case"]]
    page = (tmp_path / "report.html").read_text()
    assert "4 train cases" in page
    assert "Best, median and worst case" in page
    printed = capsys.readouterr().out
    assert f"{metrics['summary']['nucleus']['dice']:.3f}" in printed
    assert "thresholding" in printed


def test_metrics_come_back_as_they_were_written(evaluation, tmp_path):
    path = tmp_path / "metrics.json"
    write_metrics(evaluation, path)
    assert json.loads(path.read_text())["cases"][1]["classes"]["nucleus"]["dice"] is None
    assert read_metrics(path) == evaluation


def test_a_file_that_is_no_metrics_is_refused(tmp_path):
    path = tmp_path / "metrics.json"
    with pytest.raises(ConfigError, match=r"metrics.json cannot be read: No such file"):
        read_metrics(path)
    path.write_text('{"cases": []}')
    with pytest.raises(ConfigError, match=r"is no metrics.json: Field required at summary"):
        read_metrics(path)


def test_a_folder_that_is_no_package_is_one_sentence_and_exit_code_2(tmp_path, capsys):
    assert main([str(tmp_path), str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "is no model package" in message
    assert message.count("\n") == 1


def test_masks_lie_where_their_images_lie(tiny_package_3d, tmp_path):
    """A volume is scored on its own grid, whatever its spacing."""
    data = draw(tmp_path / "data", dims=3, cases=2, size=(8, 24, 24))
    raw = json.loads((data / "dataset.json").read_text())
    raw["channel_names"] = {"0": "cells"}
    (data / "dataset.json").write_text(json.dumps(raw))
    for surplus in data.glob("images*/*_0001.nii.gz"):
        surplus.unlink()
    dataset = load_dataset(data)
    evaluate(
        Predictor(ModelPackage.load(tiny_package_3d)),
        dataset,
        dataset.test,
        predictions=tmp_path / "kept",
    )
    image, _ = dataset.read(dataset.test[0])
    kept = read_mask(prediction_file(tmp_path / "kept", dataset.test[0].name, dims=3), dims=3)
    assert isinstance(kept, Mask)
    assert kept.spatial_shape == image.spatial_shape
    assert kept.spacing == pytest.approx(image.spacing)
