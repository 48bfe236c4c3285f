"""A studio over a folder in which nothing is drawn yet, in this process."""

import json

import numpy as np
import pytest
import tifffile
from starlette.testclient import TestClient

from service.app import create_app
from tests.instances import cells
from tests.service.conftest import started

SIZE = (40, 48)


@pytest.fixture
def folder(tmp_path):
    """Three pictures of cells, and their numbers by name."""
    folder = tmp_path / "drawn"
    (folder / "images").mkdir(parents=True)
    for number, name in enumerate("abc"):
        image, _ = cells(number, SIZE, 6)
        tifffile.imwrite(folder / "images" / f"{name}.tif", image)
    return folder


@pytest.fixture
def studio(folder, tmp_path):
    """A client of a service that has no model yet."""
    (tmp_path / "models").mkdir()
    with (
        started(models=tmp_path / "models", studio=folder) as registry,
        TestClient(create_app(registry)) as client,
    ):
        yield client


def named(studio, *names, objects=True):
    told = {"classes": [{"name": name} for name in names], "objects": objects}
    return studio.put("/studio/dataset", json=told)


def put(studio, image, numbers, on=0, **params):
    """Save a label map that was drawn on a version."""
    return studio.put(
        f"/studio/images/{image}/label",
        files={"label": ("label.bin", np.asarray(numbers, "<u2").tobytes())},
        data={"params": json.dumps(params)},
        headers={} if on is None else {"If-Match": f'"{on}"'},
    )


def label(studio, image, revision=None):
    query = {} if revision is None else {"revision": revision}
    answer = studio.get(f"/studio/images/{image}/label", params=query)
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<u2").reshape(SIZE), answer.headers
