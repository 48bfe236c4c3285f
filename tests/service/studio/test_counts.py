"""How many there are in an image of the studio: by what people drew first, and by a model."""

import io

import numpy as np
import pytest
import tifffile

from seg.images import Image
from seg.objects.measurements import measure_objects
from service.studio import measured
from service.studio.combined import combined_objects
from service.studio.drawn import UNKNOWN
from service.studio.on_disk.classes import DrawnClasses
from service.studio.suggestions import Suggestion
from tests.service.studio.conftest import SIZE, named, put
from tests.service.studio.test_models import as_map, helped, package

__all__ = ["helped", "package"]
CELLS = DrawnClasses({"background": 0, "nucleus": 1}, are_objects=True)


def counted(studio, image, **query):
    answer = studio.get(f"/studio/images/{image}/objects", params=query)
    assert answer.status_code == 200, answer.text
    return answer


def boxes(*places):
    numbers = np.zeros(SIZE, np.uint16)
    for number, (y, x, size) in enumerate(places, start=1):
        numbers[y : y + size, x : x + size] = number
    return numbers


def said(numbers):
    return Suggestion("m:1", numbers, {}, {1: 0.5}, {}, np.zeros((2, *SIZE), np.float16), None, 0)


def grid():
    return Image(np.zeros((1, *SIZE), np.uint8))


def test_an_image_that_nobody_drew_on_is_counted_by_the_model(helped):
    named(helped, "nucleus")
    told = counted(helped, "a").json()
    whole = as_map(helped.post("/studio/images/a/suggestion").content)
    assert told["classes"]["nucleus"]["count"] == len(np.unique(whole)) - 1
    assert (told["drawn"], told["revision"]) == (0, 0)
    assert told["model"]
    assert {row["from"] for row in told["objects"]} == {"model"}
    assert sum(row["num_pixels"] for row in told["objects"]) == (whole > 0).sum()


def test_what_was_drawn_and_undone_is_counted_by_the_model_as_before(helped):
    named(helped, "nucleus")
    before = counted(helped, "a").json()
    put(helped, "a", np.full(SIZE, UNKNOWN, np.uint16))
    after = counted(helped, "a").json()
    assert after == before | {"revision": 1, "state": "draft"}
    assert before["classes"]["nucleus"]["ci95"]


def test_what_a_person_drew_counts_and_no_model_is_asked(studio):
    named(studio, "nucleus")
    numbers = boxes((2, 2, 8), (20, 20, 10))
    put(studio, "b", numbers)  # a draft: what is seen is what counts
    told = counted(studio, "b").json()
    assert told["classes"]["nucleus"] == {
        "count": 2, "drawn": 2, "ci95": None, "num_pixels": 164, "area": 164, "area_mean": 82,
    }  # fmt: skip
    assert (told["model"], told["drawn"], told["state"]) == (None, 1, "draft")
    answer = counted(studio, "b", format="labels")
    assert answer.headers["content-type"] == "image/tiff"
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(answer.content)), numbers)
    assert answer.headers["etag"] == '"1"', "of which version it is"


def test_what_is_counted_is_shown_as_a_map_and_known_again_until_it_is_changed(helped, monkeypatch):
    named(helped, "nucleus")
    asked = []
    monkeypatch.setattr(
        measured, "measure_objects", lambda *a: (asked.append(1), measure_objects(*a))[1]
    )
    first = counted(helped, "a")
    assert counted(helped, "a").content == first.content
    assert counted(helped, "a").headers["etag"] == first.headers["etag"] == '"0"'
    assert len(asked) == 1
    shown = as_map(counted(helped, "a", format="map").content)
    labels = tifffile.imread(io.BytesIO(counted(helped, "a", format="labels").content))
    np.testing.assert_array_equal(shown, labels)
    drawn = np.full(SIZE, UNKNOWN, np.uint16)
    drawn[:20, :20] = boxes((1, 1, 3))[:20, :20]
    put(helped, "a", drawn)
    assert counted(helped, "a").headers["etag"] == '"1"'
    assert len(asked) == 2
    put(helped, "a", boxes((1, 1, 3)), on=1, state="done")
    assert counted(helped, "a").json()["state"] == "done"
    put(helped, "a", boxes((1, 1, 4)), on=2)
    assert counted(helped, "a").json()["classes"]["nucleus"]["num_pixels"] == 16
    assert len(asked) == 4


def test_where_nobody_drew_the_model_counts_and_where_somebody_did_they_do(helped):
    named(helped, "nucleus")
    theirs = as_map(helped.post("/studio/images/a/suggestion").content)
    assert len(np.unique(theirs)) == 3, "two of them"
    drawn = np.full(SIZE, UNKNOWN, np.uint16)
    drawn[:20, :20] = boxes((1, 1, 3), (12, 12, 4))[:20, :20]  # in place of the model's first one
    put(helped, "a", drawn)
    told = counted(helped, "a").json()
    assert [row["from"] for row in told["objects"]] == ["drawn", "drawn", "model"]
    assert told["classes"]["nucleus"]["count"] == 3
    assert told["classes"]["nucleus"]["ci95"] is None, "it was told of the model's own count"
    assert told["drawn"] == pytest.approx(400 / np.prod(SIZE), abs=1e-4)


@pytest.mark.parametrize(("reached", "stays"), [(4, True), (6, False)])
def test_an_object_that_lies_half_where_somebody_drew_goes_by_most_of_it(reached, stays):
    drawn = np.full(SIZE, UNKNOWN, np.uint16)
    drawn[:, : 10 + reached] = 0
    theirs = boxes((5, 10, 10))
    whole = combined_objects(drawn, {}, said(theirs), CELLS, grid())
    assert len(whole.objects) == stays
    labels = whole.objects.labels
    assert not labels[:, : 10 + reached].any(), "the person said that nothing is there"
    if stays:
        assert (labels > 0).sum() == 10 * (10 - reached)
        assert whole.objects.probabilities.tolist() == [0.5]


@pytest.mark.parametrize(("drawn_size", "count"), [(6, 1), (9, 1), (2, 1)])
def test_a_nucleus_that_was_outlined_more_narrowly_is_not_counted_twice(drawn_size, count):
    drawn = np.full(SIZE, UNKNOWN, np.uint16)
    inner = slice(11 - drawn_size // 2, 11 - drawn_size // 2 + drawn_size)
    drawn[inner, inner] = 1
    whole = combined_objects(drawn, {}, said(boxes((5, 5, 12))), CELLS, grid())
    assert len(whole.objects) == count
    assert whole.are_drawn.all()


def test_what_a_model_has_stuck_together_stays_where_a_person_outlined_half_of_it():
    theirs = np.zeros(SIZE, np.uint16)
    theirs[5:17, 2:14] = theirs[5:17, 14:30] = 1
    drawn = np.full(SIZE, UNKNOWN, np.uint16)
    drawn[5:17, 2:14] = 1
    whole = combined_objects(drawn, {}, said(theirs), CELLS, grid())
    assert whole.are_drawn.tolist() == [True, False]


def test_what_was_begun_with_the_model_s_mask_and_left_as_it_was_is_the_model_s(helped):
    named(helped, "nucleus")
    answer = helped.post("/studio/images/a/suggestion")
    theirs, model = as_map(answer.content).copy(), answer.headers["X-Segmentation-Model"]
    assert put(helped, "a", theirs, package=model).status_code == 200
    told = counted(helped, "a").json()
    assert [row["from"] for row in told["objects"]] == ["model", "model"]
    assert told["began_with"] == told["model"] == model
    theirs[theirs == theirs[30, 30]] = 0
    theirs[26:34, 26:38] = 9
    put(helped, "a", theirs, on=1, package=model, state="done")
    told = counted(helped, "a").json()
    assert [row["from"] for row in told["objects"]] == ["model", "drawn"]
    assert told["classes"]["nucleus"]["drawn"] == 1
    assert told["state"] == "done"


def test_numbers_follow_the_first_voxels_whoever_found_them():
    drawn = np.full(SIZE, UNKNOWN, np.uint16)
    drawn[20:, :] = 0
    drawn[22:26, 2:6] = 7
    whole = combined_objects(drawn, {7: "nucleus"}, said(boxes((1, 1, 4))), CELLS, grid())
    assert whole.are_drawn.tolist() == [False, True]
    assert [row["label"] for row in measure_objects(whole.objects)] == [1, 2]
    assert whole.objects.labels[23, 3] == 2


def test_classes_that_are_painted_are_measured_by_their_area(studio):
    named(studio, "wound", "edge", objects=False)
    numbers = boxes((0, 0, 10), (20, 20, 2))
    put(studio, "c", numbers)
    told = counted(studio, "c").json()
    assert told["told_apart"] is False
    assert {name: each["num_pixels"] for name, each in told["classes"].items()} == {
        "wound": 100,
        "edge": 4,
    }
    file = counted(studio, "c", format="labels").content
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(file)), numbers)


def test_what_is_left_open_without_a_model_is_not_counted_as_nothing(studio):
    named(studio, "nucleus")
    drawn = np.full(SIZE, UNKNOWN, np.uint16)
    drawn[:5, :5] = 1
    put(studio, "a", drawn)
    assert studio.get("/studio/images/a/objects").status_code == 503
    assert studio.get("/studio/images/a/objects?format=xml").status_code == 422
    assert studio.get("/studio/images/none/objects").status_code == 404


def test_without_a_model_the_page_leads_to_the_studio_and_so_does_what_is_said(studio, client):
    assert '<a href="studio"' in studio.get("/").text
    assert '<a href="studio"' not in client.get("/").text
    said = studio.get("/readyz").text
    assert "in the studio" in said
    assert "/tmp" not in said, "where the models lie is nobody's business"
