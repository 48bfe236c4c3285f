"""Objects over HTTP: label images, tables, and how many there are."""

import csv
import io
import json

import numpy as np
import pytest
import tifffile

from tests.packages import write_package
from tests.service.conftest import labels_of, png, serving, until

HEADER = "X-Segmentation-Objects"


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    with serving(write_package(folder / "cells", objects=True), folder) as client:
        yield client


def touching_nuclei():
    """Two bright hills of one class that touch in a valley, and a third that stands alone."""
    y, x = np.mgrid[:48, :72]
    hills = [np.hypot(y - 20, x - at) for at in (16, 32)] + [np.hypot(y - 36, x - 58)]
    image = np.zeros((48, 72))
    for distance in hills:
        image = np.maximum(image, np.where(distance < 9, 0.97 - 0.035 * distance, 0))
    return (255 * image).astype(np.uint8)


def test_objects_that_touch_are_told_apart_and_counted(counting):
    answer = counting.post("/segment?format=instances", content=png(touching_nuclei()))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/tiff"
    labels = tifffile.imread(io.BytesIO(answer.content))
    assert labels.dtype == np.uint32
    assert labels.shape == (48, 72)
    said = json.loads(answer.headers[HEADER])
    assert said["classes"]["nucleus"]["count"] == 3
    low, high = said["ci95"]
    assert low <= said["count"] <= high
    assert len({labels[20, 16], labels[20, 32], labels[36, 58]} - {0}) == 3
    mask = counting.post("/segment", content=png(touching_nuclei()))
    assert json.loads(mask.headers[HEADER]) == said
    nuclei = labels_of(mask.content) == 2
    assert (labels[nuclei] > 0).all()


def test_the_table_of_objects_is_that_of_the_label_image(counting):
    body = png(touching_nuclei())
    labels = tifffile.imread(
        io.BytesIO(counting.post("/segment?format=instances", content=body).content)
    )
    found = counting.post("/segment?format=objects", content=body).json()
    assert found["count"] == labels.max() == len(found["objects"])
    sizes = np.bincount(labels.ravel())
    for row in found["objects"]:
        assert row["num_pixels"] == sizes[row["label"]]
        assert 0 <= row["probability"] <= 1
        top, left, bottom, right = (row[f"bbox-{n}"] for n in range(4))
        assert (labels[top:bottom, left:right] == row["label"]).sum() == sizes[row["label"]]
    text = counting.post("/segment?format=objects-csv", content=body).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["label"]) for row in rows] == [row["label"] for row in found["objects"]]


def test_the_summary_in_json_has_the_count(counting):
    summary = counting.post("/segment?format=json", content=png(touching_nuclei())).json()
    assert summary["objects"]["classes"]["nucleus"]["count"] == 3
    assert summary["objects"]["told_apart"] is True


def test_only_wanted_classes_are_counted(counting):
    answer = counting.post(
        "/segment?format=objects&classes=nucleus", content=png(touching_nuclei())
    ).json()
    assert set(answer["classes"]) == {"nucleus"}
    assert {row["class"] for row in answer["objects"]} == {"nucleus"}


def test_a_model_of_classes_alone_gives_what_hangs_together_and_says_so(client):
    answer = client.post("/segment?format=objects", content=png(touching_nuclei()))
    found = answer.json()
    assert found["told_apart"] is False
    assert found["ci95"] is None
    assert found["classes"]["nucleus"]["count"] == 2
    assert HEADER not in client.post("/segment", content=png(touching_nuclei())).headers


def test_a_job_says_how_many_as_a_request_does(counting):
    body = png(touching_nuclei())
    job = counting.post("/jobs?format=objects", content=body).json()
    until(lambda: counting.get(job["links"]["self"]).json()["state"] == "done")
    result = counting.get(job["links"]["result"])
    segmented = counting.post("/segment?format=objects", content=body)
    assert result.headers[HEADER] == segmented.headers[HEADER]
    assert result.json() == segmented.json()


def test_split_parts_what_touches_of_a_model_of_classes_alone(client):
    y, x = np.mgrid[:40, :60]
    inside = (np.hypot(y - 20, x - 20) < 9) | (np.hypot(y - 20, x - 36) < 9)
    body = png((220 * inside).astype(np.uint8))
    plain = client.post("/segment?format=objects", content=body).json()
    split = client.post("/segment?format=objects&split=true", content=body)
    assert plain["classes"]["nucleus"]["count"] == 1
    assert split.json()["classes"]["nucleus"]["count"] == 2
    assert split.json()["told_apart"] is True
    mask = client.post("/segment?split=true", content=body)
    assert json.loads(mask.headers[HEADER])["classes"]["nucleus"]["count"] == 2
    job = client.post("/jobs?format=objects&split=true", content=body).json()
    until(lambda: client.get(job["links"]["self"]).json()["state"] == "done")
    assert client.get(job["links"]["result"]).json() == split.json()


def test_split_is_refused_where_the_model_tells_objects_apart_itself(counting):
    answer = counting.post("/segment?split=true", content=png(touching_nuclei()))
    assert answer.status_code == 422
    assert "by itself" in answer.json()["detail"]
