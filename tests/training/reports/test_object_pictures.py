"""Which objects went wrong, and pictures of them."""

import shutil

import numpy as np
import pytest
import tifffile
from playwright.sync_api import sync_playwright

from seg.inference import Predictor
from seg.metrics import count_objects, fates_of, overlaps
from seg.model_package import ModelPackage
from tests.packages import write_package
from training.dataset import load_dataset
from training.evaluation.evaluator import evaluate
from training.reports.evaluation_report import Scored, write_evaluation_report
from training.reports.object_pictures import COLORS, objects_shown, outlined

CHROMIUM = shutil.which("chromium")


def scene():
    """A pair that is one in the prediction, one in two parts, one found, missed and invented."""
    reference, prediction = np.zeros((2, 40, 60), np.int32)
    reference[2:10, 2:10], reference[2:10, 10:18] = 1, 2
    prediction[2:10, 2:18] = 9
    reference[2:10, 30:50] = 3
    prediction[2:10, 30:40], prediction[2:10, 40:50] = 5, 6
    reference[20:28, 2:10] = 4
    prediction[20:28, 2:11] = 7
    reference[20:28, 20:28] = 8
    prediction[20:28, 40:48] = 4
    return reference, prediction


def test_what_became_of_each_object_is_what_a_person_would_say():
    reference, prediction = scene()
    pairs = overlaps(prediction, reference)
    ours, theirs = fates_of(pairs)
    assert theirs == {1: "merged", 2: "merged", 3: "split", 4: "matched", 8: "missed"}
    assert ours == {9: "merged", 5: "split", 6: "split", 7: "matched", 4: "invented"}
    counts = count_objects(pairs)
    assert list(theirs.values()).count("merged") == counts.merged
    assert list(theirs.values()).count("split") == counts.split


def test_outlines_have_the_colour_of_the_fate_and_touching_objects_one_each():
    reference, prediction = scene()
    grey = np.full((40, 60, 3), 77, np.uint8)
    drawn = outlined(grey, reference, fates_of(overlaps(prediction, reference))[1])
    assert tuple(drawn[2, 5]) == tuple(drawn[5, 9]) == tuple(drawn[5, 10]) == COLORS["merged"]
    assert tuple(drawn[20, 5]) == COLORS["matched"]
    assert tuple(drawn[24, 20]) == COLORS["missed"]
    for place in ((5, 5), (15, 15), (24, 24)):
        assert tuple(drawn[place]) == (77, 77, 77)


@pytest.fixture
def dataset(tmp_path):
    for folder in ("images", "masks", "classes"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for case in range(3):
        numbers = np.zeros((48, 64), np.uint16)
        numbers[4:14, 4:14], numbers[4:14, 14:24], numbers[30:40, 30:40] = 1, 2, 3
        image = np.where(numbers > 0, 220, 0).astype(np.uint8)
        image[30:40, 30:40] = 0  # nobody finds it
        tifffile.imwrite(tmp_path / "data" / "images" / f"{case}.tif", image)
        tifffile.imwrite(tmp_path / "data" / "masks" / f"{case}.tif", numbers)
        classes = np.where(numbers > 0, 2, 0).astype(np.uint8)
        tifffile.imwrite(tmp_path / "data" / "classes" / f"{case}.tif", classes)
    text = "masks: instances\nclasses: [background, cytoplasm, nucleus]\n"
    (tmp_path / "data" / "dataset.yaml").write_text(text)
    return load_dataset(tmp_path / "data")


def wider_than_the_paper(report):
    """Tables that A4 with margins of a centimetre cuts off, and that a window of 1100 does."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = []
        for media, width in (("print", 718), ("screen", 1100)):
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.emulate_media(media=media)
            page.goto(report.as_uri())
            found += page.evaluate(
                "[...document.querySelectorAll('table')]"
                ".filter(table => table.getBoundingClientRect().right > innerWidth)"
                ".map(table => table.innerText.slice(0, 40))"
            )
        browser.close()
    return found


def test_an_evaluation_shows_the_objects_that_went_wrong_merged_ones_first(dataset, tmp_path):
    package = ModelPackage.load(write_package(tmp_path / "cells", objects=True))
    kept = tmp_path / "predictions"
    evaluation = evaluate(Predictor(package), dataset, dataset.cases[:2], predictions=kept)
    shown = objects_shown(kept, dataset, evaluation)
    nuclei = next(each for each in shown if each.name == "nucleus")
    assert (nuclei.counts["merged"], nuclei.counts["missed"]) == (2, 1)
    assert [crop.fate for crop in nuclei.crops] == ["merged", "merged", "missed"]
    page = tmp_path / "report.html"
    write_evaluation_report(page, Scored(package, dataset, evaluation, kept))
    text = page.read_text()
    assert "Objects that went wrong" in text
    assert text.count('alt="merged nucleus"') >= 2
    if CHROMIUM:
        assert wider_than_the_paper(page) == []
    (kept / "objects" / f"{evaluation.cases[0].case}.tif").unlink()
    assert len(objects_shown(kept, dataset, evaluation)) < len(shown)
