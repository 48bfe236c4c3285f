"""What a model suggests to whoever draws, and how marks repair it."""

import json

import numpy as np
import pytest
import tifffile
from starlette.testclient import TestClient

from service.app import create_app
from service.studio import next_route, suggestions
from service.studio.drawn import UNKNOWN
from tests.packages import write_package
from tests.service.conftest import started
from tests.service.studio.conftest import SIZE, named, put


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("package") / "p", objects=True)


@pytest.fixture
def helped(folder, package):
    """A client of a studio with a model that smooths and compares with levels."""
    image = np.zeros(SIZE, np.uint8)
    image[5:15, 5:15] = image[25:35, 25:40] = 204
    tifffile.imwrite(folder / "images" / "a.tif", image)
    with (
        started(package=package, studio=folder, provider="cpu") as registry,
        TestClient(create_app(registry)) as client,
    ):
        yield client


def as_map(content):
    return np.frombuffer(content, "<u2").reshape(SIZE)


def test_a_model_suggests_objects_in_the_classes_of_the_dataset(helped):
    named(helped, "nucleus", "else")
    answer = helped.post("/studio/images/a/suggestion")
    assert answer.status_code == 200, answer.text
    numbers = as_map(answer.content)
    assert numbers[10, 10] != numbers[30, 30]
    assert numbers[30, 30] > 0
    assert numbers[20, 20] == 0
    objects = json.loads(answer.headers["X-Objects"])
    assert set(objects.values()) == {"nucleus"}, "the cytoplasm is no class here"
    assert put(helped, "a", numbers, objects=objects).status_code == 200


def test_classes_that_nobody_named_are_those_of_the_model(helped):
    helped.post("/studio/images/a/suggestion")
    told = helped.get("/studio/dataset").json()
    assert [each["name"] for each in told["classes"]] == ["background", "cytoplasm", "nucleus"]
    assert told["objects"]


def test_a_mark_repairs_what_is_drawn(helped):
    named(helped, "nucleus")
    drawn = as_map(helped.post("/studio/images/a/suggestion").content).copy()
    other = int(drawn[10, 10])
    marks = np.full(SIZE, UNKNOWN, "<u2")
    marks[30, 30] = 0
    sent = {"label": ("l.bin", drawn.tobytes()), "seeds": ("s.bin", marks.tobytes())}
    answer = helped.post("/studio/images/a/repair", files=sent)
    assert answer.status_code == 200, answer.text
    box = tuple(slice(*map(int, side.split(":"))) for side in answer.headers["X-Box"].split(","))
    shape = [side.stop - side.start for side in box]
    drawn[box] = np.frombuffer(answer.content, "<u2").reshape(shape)
    assert set(np.unique(drawn)) == {0, other}
    marks[:] = UNKNOWN
    sent["seeds"] = ("s.bin", marks.tobytes())
    refused = helped.post("/studio/images/a/repair", files=sent)
    assert "nothing is marked" in refused.json()["detail"]


def test_images_come_in_order_of_need_and_a_model_looks_at_each_once(helped, folder, monkeypatch):
    named(helped, "nucleus")
    asked = []

    def segmented(*arguments):
        asked.append(arguments)
        return original(*arguments)

    original = suggestions.segmented
    monkeypatch.setattr(suggestions, "segmented", segmented)
    first = helped.get("/studio/next").json()
    assert first["not_seen"] == 0
    assert sorted(each["id"] for each in first["images"]) == ["a", "b", "c"]
    assert len(asked) == 3
    assert helped.get("/studio/next").json() == first
    assert len(asked) == 3
    tifffile.imwrite(folder / "images" / "c.tif", np.zeros(SIZE, np.uint8))
    helped.get("/studio/next")
    assert len(asked) == 4, "another image in its place is another one"
    worst = first["images"][0]["id"]
    put(helped, worst, np.zeros(SIZE), state="done")
    rest = [each["id"] for each in helped.get("/studio/next").json()["images"]]
    assert sorted([worst, *rest]) == ["a", "b", "c"]
    assert len(rest) == 2


def test_nobody_waits_for_all_images_to_be_looked_at(helped, monkeypatch):
    named(helped, "nucleus")
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr(next_route, "monotonic", lambda: next(clock))
    monkeypatch.setattr(next_route, "LOOKING_S", 4)
    for unseen in (2, 1, 0, 0):
        told = helped.get("/studio/next").json()
        assert told["not_seen"] == unseen
        assert sorted(each["id"] for each in told["images"]) == ["a", "b", "c"]
