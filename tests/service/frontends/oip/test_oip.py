"""KServe's protocol, by Triton's own client on a server that runs, and by hand in this process."""

import base64
import gzip
import io
import json
import struct
import subprocess
import sys
from contextlib import ExitStack
from functools import partial

import numpy as np
import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from seg.errors import ConfigError
from seg.model_package import ModelPackage
from service.app import create_app
from service.frontends.oip.bodies import kept
from service.frontends.oip.tensors import GivenTensor, elements_of
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.packages import write_package
from tests.service.conftest import labels_of, png, serving, started

IMAGE = png(np.arange(40 * 50).reshape(40, 50) // 8)
LENGTH = "Inference-Header-Content-Length"


@pytest.mark.network
def test_tritons_own_client_gets_the_masks_that_segment_answers(
    ask_by_triton, tiny_package, tmp_path
):
    card = ModelPackage.load(tiny_package).card
    command = [sys.executable, "-m", "service.keys", "--file", str(tmp_path / "keys.json")]
    key = subprocess.check_output([*command, "add", "triton"], text=True).split()[-1]
    patches = np.random.default_rng(1).uniform(0, 1, (3, 1, 32, 32)).astype(np.float32)
    (tmp_path / "image.png").write_bytes(IMAGE)
    np.save(tmp_path / "patches.npy", patches)
    settings = {
        "SEG_FRONTENDS": "oip",
        "SEG_KEYS": "required",
        "SEG_KEYS_FILE": str(tmp_path / "keys.json"),
        "SEG_MAX_BODY_MB": "2",
    }
    with serving(tiny_package, tmp_path, **settings) as client:
        told = {
            "address": client.base_url.netloc.decode(),
            "key": key,
            "model": card.name,
            "image": str(tmp_path / "image.png"),
            "patches": str(tmp_path / "patches.npy"),
            "masks": str(tmp_path / "masks.npz"),
            "logits": str(tmp_path / "logits.npz"),
        }
        found = ask_by_triton("triton_client.py", told)
        client.headers["Authorization"] = f"Bearer {key}"
        answer = client.post("/segment", content=IMAGE)
        nuclei = client.post("/segment?classes=nucleus", content=IMAGE)
        logits = client.post("/infer_patches", json={"patches": patches.tolist()}).json()
    truth = labels_of(answer.content)
    assert set(np.unique(truth)) == {0, 1, 2}
    masks = np.load(tmp_path / "masks.npz")
    for form in ("None", "gzip", "deflate", "listed"):
        assert masks[form].dtype == np.uint8
        np.testing.assert_array_equal(masks[form], truth)
    np.testing.assert_array_equal(masks["nuclei"], labels_of(nuclei.content))
    for form in ("binary", "listed"):
        np.testing.assert_allclose(np.load(tmp_path / "logits.npz")[form], logits, atol=1e-6)
    assert found["live"]
    assert found["ready"]
    assert found["without key"][0] == "401"
    assert "service.keys" in found["without key"][1]
    assert found["server"]["extensions"] == ["binary_tensor_data"]
    assert found["model ready"]
    assert not found["no model ready"]
    assert found[card.name]["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [1]}]
    assert found[f"{card.name}.patches"]["inputs"][0]["shape"] == [-1, 1, 32, 32]
    assert found[f"{card.name}.patches"]["outputs"][0]["shape"] == [-1, 3, 32, 32]
    assert found["answer"]["id"] == "7"
    assert found["answer"]["model_version"] == card.version
    assert json.loads(found["answer"]["parameters"]["quality"]) == json.loads(
        answer.headers["X-Segmentation-Quality"]
    )
    assert found["spacing"] == []
    assert found["classes"] == ["background", "cytoplasm", "nucleus"]
    assert found["only"] == ["mask"]
    refusals = found["refusals"]
    assert refusals["no image"][0] == "415"
    assert card.name in refusals["no model"][1]
    assert "[1 to 8, 1, 32, 32]" in refusals["shape"][1]
    assert "treshold" in refusals["parameter"][1]
    assert "mask, spacing, classes" in refusals["output"][1]
    assert refusals["large"][0] == refusals["large once unpacked"][0] == "413"


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A client of an application with a package for images in two files."""
    package = write_package(tmp_path_factory.mktemp("two") / "package", channels=2)
    with (
        started(package=package, frontends="oip") as registry,
        TestClient(create_app(registry)) as client,
    ):
        yield client


NAME = "nearest-level"
INFER, PATCHES = f"/v2/models/{NAME}/infer", f"/v2/models/{NAME}.patches/infer"


def error(answer, status) -> str:
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    return answer.json()["error"]


def test_nothing_of_the_protocol_is_there_unless_it_is_named(tiny_package):
    registry = ModelRegistry(Settings(package=tiny_package), Metrics())
    answer = TestClient(create_app(registry)).get("/v2/health/live")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def call(**tensor) -> dict:
    return {"inputs": [tensor]}


def test_files_come_in_base64_where_a_request_is_plain_json(asked):
    files = [base64.b64encode(IMAGE).decode()] * 2
    body = call(name="image", shape=[2], datatype="BYTES", data=files)
    answer = asked.post(INFER, json=body).json()
    mask = answer["outputs"][0]
    form = [("image", ("a.png", IMAGE)), ("image", ("b.png", IMAGE))]
    truth = labels_of(asked.post("/segment", files=form).content)
    assert mask["shape"] == list(truth.shape)
    assert mask["datatype"] == "UINT8"
    np.testing.assert_array_equal(np.reshape(mask["data"], mask["shape"]), truth)


def test_a_body_may_be_the_tensor_alone(asked):
    patches = np.random.default_rng(0).uniform(0, 1, (2, 2, 32, 32)).astype("<f4")
    answer = asked.post(PATCHES, content=patches.tobytes(), headers={LENGTH: "0"})
    head = int(answer.headers[LENGTH])
    (told,) = json.loads(answer.content[:head])["outputs"]
    logits = np.frombuffer(answer.content[head:], "<f4").reshape(told["shape"])
    expected = asked.post("/infer_patches", json={"patches": patches.tolist()}).json()
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    assert "bytes" in error(asked.post(PATCHES, content=b"12345", headers={LENGTH: "0"}), 400)


GOOD = {"name": "patches", "shape": [1, 2, 32, 32], "datatype": "FP32"}
NUMBERS = [0.5] * (2 * 32 * 32)


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"data": NUMBERS[:-1]}, 400, "2048"),
        ({"data": [*NUMBERS[:-1], None]}, 422, "null"),
        ({"data": [*NUMBERS[:-1], 1e39]}, 422, "FP32"),
        ({"data": ["AAAA"]}, 400, "numbers"),
        ({"data": [[]] * 90_000}, 413, "items"),
        ({"data": NUMBERS, "datatype": "FP64"}, 400, "FP32"),
        ({"data": NUMBERS, "shape": [-1, 2, 32, 32]}, 400, "shape"),
        ({"data": NUMBERS, "shape": [10**4000] * 90}, 400, "shape"),
        ({"data": NUMBERS, "shape": [10**4000, 2, 32, 32]}, 400, "shape"),
        ({"data": [*NUMBERS[:-1], 10**4000]}, 422, "numbers"),
        ({"data": NUMBERS, "name": "image"}, 400, "patches"),
        ({"data": NUMBERS, "parameters": {"binary_data_size": 4}}, 400, "binary_data_size"),
        ({}, 400, "data"),
    ],
)
def test_wrong_tensors_are_refused_in_one_sentence(asked, change, status, says):
    assert says in error(asked.post(PATCHES, json=call(**GOOD | change)), status)


def test_no_and_two_inputs_are_refused(asked):
    assert "inputs" in error(asked.post(PATCHES, json={"inputs": []}), 400)
    two = {"inputs": [GOOD | {"data": NUMBERS[:9]}] * 2}
    assert "inputs" in error(asked.post(PATCHES, json=two), 400)
    assert "inputs" in error(asked.post(PATCHES, content=b"[1]"), 422)


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{}", {LENGTH: "3"}, 400),
        (b"{}", {LENGTH: "-1"}, 400),
        (b"{}", {LENGTH: "9" * 5000}, 400),
        (b" " * 70_000, {LENGTH: "69999"}, 413),
        (gzip.compress(b"{}")[:-4], {"Content-Encoding": "gzip"}, 422),
        (gzip.compress(b"{}") + b"more", {"Content-Encoding": "gzip"}, 422),
        (b"{}", {"Content-Encoding": "gzip"}, 422),
        (b"{}", {"Content-Encoding": "br"}, 415),
        (gzip.compress(bytes(2_000_000)), {"Content-Encoding": "gzip"}, 413),
    ],
    ids=["long", "negative", "endless", "large", "cut", "behind", "no gzip", "unknown", "bomb"],
)
def test_a_body_that_is_not_what_its_headers_say_is_refused(asked, content, headers, status):
    assert error(asked.post(PATCHES, content=content, headers=headers), status)


def test_elements_must_be_as_long_as_they_say(asked):
    tensor = {"name": "image", "shape": [2], "datatype": "BYTES"}
    for content in (b"", b"\x02\0\0\0ab", b"\xff\0\0\0ab" * 2, b"\0\0\0\0" * 3):
        tensor["parameters"] = {"binary_data_size": len(content)}
        head = json.dumps(call(**tensor)).encode()
        answer = asked.post(INFER, content=head + content, headers={LENGTH: str(len(head))})
        assert "length" in error(answer, 400)


@pytest.mark.parametrize("shape", [[1] * 9, [10**4000], [-1]], ids=["axes", "digits", "sign"])
def test_a_shape_has_few_sizes_of_few_digits(shape):
    with pytest.raises(ValidationError):
        GivenTensor(name="image", shape=shape, datatype="BYTES")


def test_elements_lie_in_files_while_their_request_waits(tmp_path):
    large, small = bytes(3_000_000), b"small"
    body = io.BytesIO(b"".join(struct.pack("<I", len(each)) + each for each in (large, small)))
    given = GivenTensor(name="image", shape=[2], datatype="BYTES")
    with ExitStack() as files:
        size = len(body.getvalue())
        elements = elements_of(body, size, given, partial(kept, files=files))
        assert [each.read() for each in elements] == [large, small]
        assert [each._rolled for each in elements] == [True, False]


def test_paths_that_are_not_there_answer_in_the_protocols_form(asked):
    assert error(asked.get("/v2/models"), 404)
    assert error(asked.get(INFER), 405)
    assert NAME in error(asked.get("/v2/models/none/ready"), 404)
    assert "version" in error(asked.get(f"/v2/models/{NAME}/versions/77"), 404)
    assert asked.get("/nothing").headers["Content-Type"] == "application/problem+json"


def test_a_front_end_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(ConfigError, match=r"SEG_FRONTENDS.*monailabel and oip"):
        Settings.from_environment({"SEG_FRONTENDS": "oip, triton"})
    both = Settings.from_environment({"SEG_FRONTENDS": "oip, monailabel"})
    assert both.front_ends == ("oip", "monailabel")
