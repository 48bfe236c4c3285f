"""What other programs send is the right label, or refused in a sentence, and nothing is lost."""

import io
import json

import numpy as np
import pytest
import tifffile
from starlette.testclient import TestClient

from service.app import create_app
from tests.packages import write_package
from tests.service.conftest import started
from tests.service.studio.conftest import SIZE, label, named

CELLS = np.zeros(SIZE, np.uint8)
CELLS[2:9, 2:9] = 1
CELLS[20:30, 20:30] = 2


def as_tiff(array):
    file = io.BytesIO()
    tifffile.imwrite(file, array)
    return file.getvalue()


def box(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def drawn(*rings, **properties):
    geometry = {"type": "Polygon", "coordinates": rings}
    feature = {"type": "Feature", "geometry": geometry, "properties": properties}
    return json.dumps({"type": "FeatureCollection", "features": [feature]}).encode()


def send(studio, name, content, on=0, **params):
    return studio.put(
        "/studio/images/a/label",
        files={"label": (name, content)},
        data={"params": json.dumps(params)},
        headers={"If-Match": f'"{on}"'},
    )


@pytest.mark.parametrize(
    ("rings", "pixels"),
    [
        pytest.param([box(2, 2, 20, 20), box(6, 6, 14, 14)], 18**2 - 8**2, id="a hole"),
        pytest.param([box(2, 2, 10, 10), box(20, 20, 30, 30)], 8**2, id="a hole elsewhere"),
        pytest.param(
            [box(2, 2, 20, 20), box(4, 4, 10, 10), box(8, 8, 14, 14)],
            18**2 - 2 * 6**2 + 2**2,
            id="holes over each other",
        ),
        pytest.param([box(-10, -10, 5, 5)], 5**2, id="partly outside"),
    ],
)
def test_a_hole_is_never_filled(studio, rings, pixels):
    named(studio, "cell")
    answer = send(studio, "x.geojson", drawn(*rings))
    assert answer.status_code == 200, answer.text
    assert np.count_nonzero(label(studio, "a")[0]) == pixels


@pytest.mark.parametrize(
    ("name", "content", "params", "says"),
    [
        ("x.geojson", drawn(box(90, 90, 99, 99)), {}, "hold no pixel of this image"),
        ("x.geojson", drawn(box(1, 1, 9, 9), classification="tumour"), {}, "'tumour' is no class"),
        ("m.tif", as_tiff(CELLS[:30]), {}, "(30, 48) voxels, its image (40, 48)"),
        ("m.tif", as_tiff((CELLS > 0).astype(np.uint8)), {}, "the number 1, in 2 pieces"),
        ("m.tif", as_tiff(255 * (CELLS > 0).astype(np.uint8)), {}, "the number 255, in 2 pieces"),
        ("m.tif", as_tiff(np.full(SIZE, np.nan, np.float32)), {}, "whole class numbers"),
        ("l.bin", CELLS.astype("<u2").tobytes(), {"objects": {"1": "tumour"}}, "'tumour' is no"),
    ],
    ids=["outside", "class", "size", "binary", "binary of 255", "nan", "class of an object"],
)
def test_what_could_mean_something_else_is_refused_and_nothing_lost(
    studio, name, content, params, says
):
    named(studio, "cell")
    assert send(studio, "m.tif", as_tiff(CELLS)).status_code == 200
    refused = send(studio, name, content, on=1, **params)
    assert refused.status_code == 422
    assert says in refused.json()["detail"]
    np.testing.assert_array_equal(label(studio, "a")[0], CELLS)


def test_no_class_is_lost_under_shapes_that_come_after_it(studio):
    named(studio, "cell", "debris", objects=False)
    small, large = (
        json.loads(drawn(box(low, low, high, high), classification=name))["features"][0]
        for low, high, name in ((8, 12, "debris"), (2, 20, "cell"))
    )
    for order, status in (([small, large], 422), ([large, small], 200)):
        content = json.dumps({"type": "FeatureCollection", "features": order}).encode()
        answer = send(studio, "x.geojson", content)
        assert answer.status_code == status, answer.text
    assert set(np.unique(label(studio, "a")[0])) == {0, 1, 2}


def test_what_monai_label_s_clients_drew_knows_its_image(folder, tmp_path):
    package = write_package(tmp_path / "package", objects=True)
    settings = {"package": package, "studio": folder, "frontends": "monailabel"}
    with (
        started(provider="cpu", **settings) as registry,
        TestClient(create_app(registry)) as client,
    ):
        named(client, "cell")

        def put(mask):
            return client.put("/datastore/label?image=a", files={"label": ("m.tif", as_tiff(mask))})

        assert put(CELLS).status_code == 200
        assert "in 2 pieces" in put((CELLS > 0).astype(np.uint8)).text
        assert not client.get("/studio/images/a").json()["replaced"]
        tifffile.imwrite(folder / "images" / "a.tif", np.ones(SIZE, np.uint8))
        assert client.get("/studio/images/a").json()["replaced"]
        assert put(np.zeros((9, 9), np.uint8)).status_code == 422
        (folder / "dataset.yaml").write_text("classes: [background, nucleus, cytoplasm]\n")
        assert "say which is meant, label_info" in put(CELLS).text, "the model's 1 is cytoplasm"
