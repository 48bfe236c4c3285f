"""The report of a run on drawn images, with a network whose masks a person can foretell."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from data.phantom import draw
from seg.images import ClassInfo, Image, Mask
from seg.inference import Predictor
from seg.model_package import ModelPackage
from seg.networks import ResidualUNet
from seg.transforms import Normalisation
from tests.packages import write_package
from training.dataset import load_dataset
from training.dataset.fingerprint import take_fingerprint
from training.evaluation.evaluator import evaluate
from training.evaluation.scores import Summary
from training.learning.checkpoint import Trained
from training.packaging.package import Finished
from training.planning.rules import make_plan
from training.reports.case_pictures import panel, view_of, write_comparison
from training.reports.curves import moving_average, read_log
from training.reports.pages import ScoreCard
from training.reports.plan_in_words import normalisation_in_words, plan_in_words
from training.reports.run_report import write_report
from training.run.device import Device
from training.run.job import TrainingJob

RED = ClassInfo(index=1, name="lesion", color=(255, 0, 0))
CHANNELS = ("nuclei", "cells")
"""Of the phantom."""
CLASSES = (ClassInfo(index=0, name="background", color=(0, 0, 0)), RED)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder as ``fit`` leaves it, and what it hands to the report."""
    folder = tmp_path_factory.mktemp("run")
    data = draw(folder / "data", cases=12, size=(48, 40), name="<b>cells")
    dataset = load_dataset(data)
    package = ModelPackage.load(write_package(folder / "package", channels=2))
    fingerprint = take_fingerprint(
        map(dataset.read, dataset.train), dataset.legend, np.random.default_rng(0)
    )
    chosen = {"dataset": dataset.name, "data": str(data), "minutes": 1.0}
    plan = make_plan(fingerprint, dataset.channels, "cpu", patch=(32, 32), **chosen)
    predictions = folder / "predictions"
    evaluation = evaluate(Predictor(package), dataset, dataset.test, predictions=predictions)
    write_log(folder / "logs" / "version_0", range(0, 50, 5))
    job = TrainingJob(plan, fingerprint, dataset, Device("cpu", "CPU of a test"), "tests")
    trained = Trained(ResidualUNet(plan.network_config(3)), steps=4321, seconds=90.0)
    finished = Finished(package, evaluation, 1.5e-6)
    write_report(folder, job, trained, finished)
    return folder, job, finished


@pytest.fixture(scope="module")
def page(run):
    return (run[0] / "report.html").read_text(encoding="utf-8")


def write_log(folder, steps, loss=1.0):
    """As Lightning's CSVLogger does: columns by name, gaps where nothing was logged."""
    folder.mkdir(parents=True)
    rows = [f"0.5,0,0.001,{loss + step / 100},{step}" for step in steps]
    text = "\n".join(["dice,epoch,learning_rate,loss,step", *rows, ",0,,,999", ""])
    (folder / "metrics.csv").write_text(text)


def test_the_report_loads_nothing_from_elsewhere(page):
    sources = re.findall(r'(?:src|srcset|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert "url(" not in page
    assert "<script" not in page


def test_names_are_text_and_never_markup(page):
    assert "<b>cells" not in page
    assert "&lt;b&gt;cells" in page


def test_best_median_and_worst_case_are_shown_in_this_order(page, run):
    ranked = run[2].evaluation.ranked
    assert len(ranked) == 3
    places = [page.index(f"<strong>{rank}</strong>") for rank in ("Best", "Median", "Worst")]
    assert places == sorted(places)
    for place, case in zip(places, reversed(ranked), strict=True):
        assert case.case.replace("<b>", "") in page[place : place + 200]


def test_a_case_is_shown_as_image_reference_and_prediction(page):
    encoded = re.findall(r'src="data:image/webp;base64,([^"]*)"', page)
    assert len(encoded) == 3 * 3
    pictures = [PIL.Image.open(io.BytesIO(base64.b64decode(each))) for each in encoded]
    assert {picture.size for picture in pictures} == {(640, 768)}


def test_scores_floor_plan_and_proof_are_told(page, run):
    _, job, finished = run
    for summary in finished.evaluation.summary.values():
        assert f"<td>{summary.dice:.3f}<" in page
        assert f"<td>{summary.floor:.3f}</td>" in page
    assert "4,321 steps in 1.5 minutes on CPU of a test" in page
    assert "1.5e-06" in page
    assert finished.package.card.variants[0].sha256 in page
    assert f"SEG_PACKAGE={finished.package.path} seg serve" in page
    assert all(text in page for _, text in plan_in_words(job.plan, 0, CHANNELS)[:2])


def test_the_main_picture_lies_beside_the_report(run):
    with PIL.Image.open(run[0] / "prediction.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 2 * picture.height


def test_a_run_without_logs_has_a_report_without_curves(run, tmp_path):
    folder, job, finished = run
    (tmp_path / "predictions").symlink_to(folder / "predictions")
    trained = Trained(ResidualUNet(job.plan.network_config(3)), steps=0, seconds=0.0)
    assert "image/svg+xml" not in write_report(tmp_path, job, trained, finished).read_text()


def test_of_one_test_case_no_interval_is_told(run, tmp_path):
    folder, job, finished = run
    (tmp_path / "predictions").symlink_to(folder / "predictions")
    one = evaluate(Predictor(finished.package), job.dataset, job.dataset.test[:1])
    trained = Trained(ResidualUNet(job.plan.network_config(3)), steps=1, seconds=1.0)
    page = write_report(tmp_path, job, trained, replace(finished, evaluation=one)).read_text()
    assert "It is that of one test case" in page
    assert "on one case: no interval" in page
    assert "% confidence" not in page


@pytest.mark.parametrize(
    ("dice", "low", "floor", "words"),
    [
        (0.9, 0.85, 0.8, r"\+0.100 above thresholding"),
        (0.9, 0.75, 0.8, r"\+0.100, but the interval reaches down to thresholding"),
        (0.7, 0.65, 0.8, r"-0.100: no better than thresholding"),
        (0.7, 0.65, None, "no thresholding to compare with"),
    ],
)
def test_a_score_is_judged_by_its_interval_against_the_floor(dice, low, floor, words):
    summary = Summary(dice=dice, ci95=(low, 0.95), iou=None, dice_pooled=None, cases=9, floor=floor)
    card = ScoreCard("nucleus", summary, (1, 2, 3))
    assert re.fullmatch(words, card.verdict)
    assert card.is_good == ("above" in words)


def test_a_resumed_run_has_one_curve(tmp_path):
    write_log(tmp_path / "version_0", range(0, 30, 5))
    write_log(tmp_path / "version_1", range(20, 50, 5), loss=7.0)
    log = read_log(tmp_path)
    np.testing.assert_array_equal(log.step, np.arange(0, 50, 5))
    np.testing.assert_allclose(log.loss[[3, 4]], [1.15, 7.2])


def test_no_log_is_no_curve(tmp_path):
    assert read_log(tmp_path / "logs") is None


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e3, 1e3)))
def test_a_moving_average_stays_within_the_values(values):
    smooth = moving_average(values)
    assert smooth.shape == values.shape
    assert values.min() - 1e-6 <= smooth.min() <= smooth.max() <= values.max() + 1e-6


def test_a_panel_tints_what_is_inside_of_an_outline():
    labels = np.zeros((10, 20), np.uint8)
    labels[2:8, 4:10] = 1
    image = Image(np.zeros((1, 10, 20), np.uint8))
    view = view_of(image, Mask(labels), Mask(labels))
    drawn = np.asarray(PIL.Image.open(io.BytesIO(panel(view, view.reference, CLASSES))))
    assert drawn.shape == (320, 640, 3)
    rows, columns = (10 * np.arange(32) + 5), (10 * np.arange(64) + 5)
    red = drawn[np.ix_(rows, columns)][..., 0].astype(int)
    # a pixel of the image is 32 of the panel; stay clear of the outline
    inside, outside = red[8:24, 15:30], np.delete(red, np.s_[4:28], axis=0)
    assert inside.min() > 30
    assert outside.max() < 10


def test_a_volume_is_shown_at_its_fullest_slice_in_its_true_proportions(tmp_path):
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[1, 0, 0] = labels[2, :3] = 1
    image = Image(np.zeros((1, 4, 8, 8), np.int16), spacing=(5.0, 1.0, 3.0))
    view = view_of(image, Mask(labels), Mask(labels))
    assert view.place == "slice 3 of 4"
    assert view.shape == (8.0, 24.0)
    np.testing.assert_array_equal(view.reference, labels[2])
    write_comparison(tmp_path / "wide.png", view, CLASSES, "wide")
    with PIL.Image.open(tmp_path / "wide.png") as picture:
        assert picture.height > picture.width / 2  # below each other


def test_large_images_are_thinned_out():
    labels = np.zeros((2000, 500), np.uint8)
    view = view_of(Image(labels[None]), Mask(labels), Mask(labels))
    assert view.picture.shape == (1000, 250, 3)
    assert view.shape == (2000, 500)


def test_normalisation_is_said_in_words():
    ct = Normalisation(kind="clip_zscore", low=-100, high=300, mean=50, std=20)
    assert normalisation_in_words(ct) == "clipped to -100 to 300, less 50, divided by 20"


def test_a_plan_without_spacing_says_that_nothing_is_resampled(run):
    assert "not resampled" in dict(plan_in_words(run[1].plan, 1_200_000, CHANNELS))["Image"]
    words = dict(plan_in_words(run[1].plan, 1_200_000, CHANNELS))
    assert json.dumps(words).count("1.2 million") == 1


def test_channels_are_called_by_their_names(run):
    rules = (Normalisation(kind="zscore"), Normalisation(kind="minmax"))
    plan = run[1].plan.model_copy(update={"normalisation": rules})
    image = dict(plan_in_words(plan, 1, CHANNELS))["Image"]
    assert "of nuclei brought to mean 0" in image
    assert "of cells from the image" in image
