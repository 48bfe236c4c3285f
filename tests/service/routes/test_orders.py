"""The same volume gives the same mask in the world over HTTP too, however its voxels are stored."""

import numpy as np
import pytest

from seg.images import Image, encode_image, read_image, read_mask
from seg.images.grid.orientation import axis_codes, turn_between
from seg.inference import Predictor
from seg.model_package import ModelPackage
from tests.orders import ORDERS, stored_in
from tests.packages import write_package
from tests.service.conftest import serving, until

AFFINE = np.array([[1.9, -0.2, 0.1, -20], [0.3, 1.4, 0.1, -15], [0, -0.1, 3, 8], [0, 0, 0, 1.0]])
IMAGE = Image(
    np.random.default_rng(0).integers(0, 255, (1, 7, 9, 11)).astype(np.uint8), affine=AFFINE
)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("orders") / "package"
    classes = [{"index": 0, "name": "background", "color": (0, 0, 0)}]
    classes += [{"index": n, "name": f"ear {side}", "color": (n, 0, 0)}
                for n, side in ((1, "left"), (2, "right"))]  # fmt: skip
    return write_package(
        folder, patch=(6, 8, 10), lopsided=True, classes=classes, orientation="RAS"
    )


@pytest.fixture(scope="module")
def client(package, tmp_path_factory):
    with serving(package, tmp_path_factory.mktemp("orders-server")) as client:
        yield client


@pytest.fixture(scope="module")
def expected(package):
    return Predictor(ModelPackage.load(package)).predict(IMAGE).array


def content(order):
    return encode_image(stored_in(IMAGE, turn_between("RAS", order)), "image.nii.gz")


def check(body, order, expected):
    mask = read_mask(body)
    assert axis_codes(mask) == order
    np.testing.assert_array_equal(mask.array, turn_between("RAS", order).there(expected))
    np.testing.assert_array_equal(mask.affine, read_image(content(order)).affine)


def test_segment(client, expected):
    for order in ORDERS:
        answer = client.post("/segment?format=nifti", files={"image": content(order)})
        assert answer.status_code == 200, answer.text
        check(answer.content, order, expected)


def test_jobs(client, expected):
    jobs = {}
    for order in ORDERS[::3]:
        answer = client.post("/jobs?format=nifti", files={"image": content(order)})
        jobs[order] = answer.json()["links"]
    for order, links in jobs.items():
        until(lambda links=links: client.get(links["self"]).json()["state"] in ("done", "failed"))
        check(client.get(f"{links['self']}/result").content, order, expected)


def test_mirrors_do_not_exchange_sides(client, package):
    answer = client.post("/segment?format=nifti&mirror=true", files={"image": content("LPS")})
    mirrored = Predictor(ModelPackage.load(package), mirror=True)
    assert mirrored.package.card.mirrors == (0, 1)
    check(answer.content, "LPS", mirrored.predict(IMAGE).array)
