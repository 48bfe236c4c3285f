"""KServe's protocol over gRPC, by Triton's own client on a server that runs."""

import json
import socket
import subprocess
import sys

import numpy as np
import pytest

from seg.errors import ConfigError
from seg.model_package import ModelPackage
from service.settings import Settings
from tests.orthanc import free_port
from tests.service.conftest import labels_of, png, served, until_status

IMAGE = png(np.arange(40 * 50).reshape(40, 50) // 8)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.mark.network
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_tritons_own_client_gets_over_grpc_what_segment_answers(
    ask_by_triton, tiny_package, tmp_path, port, tls, certificates
):
    card = ModelPackage.load(tiny_package).card
    command = [sys.executable, "-m", "service.keys", "--file", str(tmp_path / "keys.json")]
    key = subprocess.check_output([*command, "add", "triton"], text=True).split()[-1]
    patches = np.random.default_rng(1).uniform(0, 1, (3, 1, 32, 32)).astype(np.float32)
    (tmp_path / "image.png").write_bytes(IMAGE)
    np.save(tmp_path / "patches.npy", patches)
    settings = {
        "SEG_FRONTENDS": "oip-grpc",
        "SEG_GRPC_PORT": str(port),
        "SEG_KEYS": "required",
        "SEG_KEYS_FILE": str(tmp_path / "keys.json"),
        "SEG_MAX_BODY_MB": "2",
        "SEG_PROVIDER": "cpu",
    }
    if tls:
        trusted = certificates["trusted"]
        named = {"certificate": str(trusted), "key": str(trusted.with_suffix(".key"))}
        (tmp_path / "tls.json").write_text(json.dumps(named))
        settings["SEG_GRPC_TLS_FILE"] = str(tmp_path / "tls.json")
    with served(tiny_package, tmp_path / "log.txt", **settings) as client:
        until_status(client, "/readyz", 200)
        told = {
            "address": f"127.0.0.1:{port}",
            "ca": str(certificates["trusted"]) if tls else None,
            "key": key,
            "model": card.name,
            "image": str(tmp_path / "image.png"),
            "patches": str(tmp_path / "patches.npy"),
            "arrays": str(tmp_path / "arrays.npz"),
        }
        found = ask_by_triton("triton_grpc_client.py", told)
        client.headers["Authorization"] = f"Bearer {key}"
        answer = client.post("/segment", content=IMAGE)
        others = {
            name: labels_of(client.post(f"/segment?{query}", content=IMAGE).content)
            for name, query in (("nuclei", "classes=nucleus"), ("threshold", "threshold=0.999"))
        }
        logits = client.post("/infer_patches", json={"patches": patches.tolist()}).json()
    arrays = np.load(tmp_path / "arrays.npz")
    truth = labels_of(answer.content)
    assert set(np.unique(truth)) == {0, 1, 2}
    for form in ("None", "gzip", "deflate"):
        np.testing.assert_array_equal(arrays[form], truth)
    assert not np.array_equal(others["threshold"], truth)
    for name, mask in others.items():
        np.testing.assert_array_equal(arrays[name], mask)
    np.testing.assert_allclose(arrays["logits"], logits, atol=1e-6)
    assert all(found[each] for each in ("live", "ready", "model ready", "live still"))
    assert found["without key"][0] == "StatusCode.UNAUTHENTICATED"
    assert found["server"]["name"] == "seg"
    assert found[card.name]["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": ["1"]}]
    assert found[f"{card.name}.patches"]["outputs"][0]["shape"] == ["-1", "3", "32", "32"]
    assert found["answer"] == {"id": "7", "model_name": card.name, "model_version": card.version}
    assert found["quality"] == json.loads(answer.headers["X-Segmentation-Quality"])
    assert found["classes"] == ["background", "cytoplasm", "nucleus"]
    assert found["only"] == ["mask"]
    codes = {name: refusal[0].removeprefix("StatusCode.") for name, refusal in
             found["refusals"].items()}  # fmt: skip
    assert codes == {
        **dict.fromkeys(("no image", "shape", "half", "two"), "INVALID_ARGUMENT"),
        **dict.fromkeys(("parameter", "output", "classification"), "INVALID_ARGUMENT"),
        **dict.fromkeys(("no model", "no version"), "NOT_FOUND"),
        **dict.fromkeys(("large", "bomb"), "RESOURCE_EXHAUSTED"),
        "late": "DEADLINE_EXCEEDED",
        "index": "UNIMPLEMENTED",
    }
    assert "[1 to 8, 1, 32, 32]" in found["refusals"]["shape"][1]
    assert "treshold" in found["refusals"]["parameter"][1]
    text = (tmp_path / "log.txt").read_text()
    assert "/inference.GRPCInferenceService/ModelInfer" in text
    assert str(tmp_path / "image.png") not in text


def test_a_port_that_is_taken_and_tls_without_a_certificate_are_said_at_once(tmp_path, port):
    from service.frontends.oip.grpc_server import check_listening

    taken = socket.create_server(("127.0.0.1", port))
    with taken, pytest.raises(ConfigError, match="SEG_GRPC_PORT"):
        check_listening(Settings(grpc_port=port))
    (tmp_path / "tls.json").write_text('{"token": "x"}')
    with pytest.raises(ConfigError, match="SEG_GRPC_TLS_FILE names no certificate"):
        check_listening(Settings(grpc_port=port, grpc_tls_file=tmp_path / "tls.json"))
