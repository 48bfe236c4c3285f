"""KServe's protocol over gRPC, by Triton's own client on a server that runs."""

import asyncio
import json
import socket
import subprocess
import sys
from contextlib import suppress
from time import monotonic
from unittest.mock import patch

import numpy as np
import pytest
from open_inference.grpc import protocol

from seg.errors import ConfigError
from seg.model_package import ModelPackage
from service.frontends.oip import grpc_server
from service.frontends.oip.grpc_bounds import check_message
from service.frontends.oip.grpc_server import _Call
from service.problems.response import Problem
from service.settings import Settings
from tests.orthanc import free_port
from tests.service.conftest import PATIENCE_S, labels_of, png, serving

IMAGE = png(np.arange(40 * 50).reshape(40, 50) // 8)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.mark.network
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_tritons_own_client_gets_over_grpc_what_segment_answers(
    ask_by_triton, tiny_package, tmp_path, port, tls, certificates, caplog
):
    caplog.set_level("INFO", "service")
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
    }
    if tls:
        trusted = certificates["trusted"]
        named = {"certificate": str(trusted), "key": str(trusted.with_suffix(".key"))}
        (tmp_path / "tls.json").write_text(json.dumps(named))
        settings["SEG_GRPC_TLS_FILE"] = str(tmp_path / "tls.json")
    with serving(tiny_package, tmp_path, **settings) as client:
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
    text = str([record.__dict__ for record in caplog.records])
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


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""That a client speaks HTTP/2, and the settings that it has to send."""


def open_of(connections) -> int:
    """How many the server has not closed; what it has said until now is dropped."""
    left = 0
    for each in connections:
        each.setblocking(False)
        try:
            while each.recv(4096):
                pass
        except BlockingIOError:
            left += 1
        except ConnectionResetError:
            pass
    return left


@pytest.mark.parametrize("says", [b"", PREFACE], ids=["nothing", "its preface"])
def test_connections_that_ask_for_nothing_leave_files_for_all_other_doors(port, monkeypatch, says):
    monkeypatch.setattr(grpc_server, "most_connections", lambda: 5)
    monkeypatch.setattr(grpc_server, "HANDSHAKE_S", 2.0)
    monkeypatch.setattr(grpc_server, "IDLE_S", 2.0 if says else 60.0)

    async def kept() -> list[int]:
        async with grpc_server.listening(None, Settings(grpc_port=port), shared=False):
            many = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
            for each in many:
                with suppress(ConnectionError):
                    each.sendall(says)
            counts = [open_of(many)]
            until = monotonic() + PATIENCE_S
            while counts[-1] and monotonic() < until:
                await asyncio.sleep(0.02)
                counts.append(open_of(many))
            for each in many:
                each.close()
            return counts

    *counts, later = asyncio.run(kept())
    assert 0 < np.median(counts) <= 5
    assert later == 0


def bytes_of(**fields):
    return protocol.ModelInferRequest(model_name="a", **fields).SerializeToString()


def tensor(**fields):
    return protocol.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", **fields)


CONTENTS = protocol.InferTensorContents


def test_ordinary_messages_pass_whatever_they_hold():
    given = protocol.InferParameter(string_param="x" * 1000)
    check_message(b"")
    check_message(bytes_of(raw_input_contents=[bytes(200_000)], inputs=[tensor(shape=[1])]))
    check_message(bytes_of(inputs=[tensor(contents=CONTENTS(fp32_contents=[1.5] * 100_000))]))
    check_message(bytes_of(inputs=[tensor(contents=CONTENTS(bytes_contents=[bytes(90_000)]))]))
    check_message(bytes_of(parameters={"a": given}, inputs=[tensor(parameters={"b": given})]))


@pytest.mark.parametrize(
    "content",
    [
        bytes_of(inputs=[tensor()] * 10_001),
        bytes_of(inputs=[tensor(contents=CONTENTS(bytes_contents=[b""] * 10_001))]),
        bytes_of(inputs=[tensor(contents=CONTENTS(int64_contents=[1] * 70_000))]),
        bytes_of(inputs=[tensor(shape=[1] * 70_000)]),
        bytes_of(id="x" * 70_000),
        bytes_of(raw_input_contents=[b""] * 10_001),
        b"\x18\x01" * 10_001,  # fields that nobody knows
    ],
    ids=["tensors", "texts", "integers", "sizes", "id", "raw", "unknown"],
)
def test_a_message_that_would_grow_is_refused_before_it_is_parsed(content):
    with pytest.raises(Problem, match="at most") as refusal:
        check_message(content)
    assert refusal.value.status_code == 413


@pytest.mark.parametrize("content", [b"\xff" * 20, b"\x0a\x05ab", b"\x0b", b"\x2a\x02\x0a\x7f"])
def test_what_is_no_message_is_said_to_be_none(content):
    with pytest.raises(Problem, match="no ModelInferRequest"):
        check_message(content)


def test_no_more_messages_are_in_memory_than_there_is_room_for():
    async def call(places, put_aside):
        async def read():
            return b"x"

        call = _Call(read, places)
        body = (await call.receive()).get("body")
        if put_aside:
            call.put_aside()
            call.put_aside()  # once more changes nothing
        return body

    async def calls():
        places = asyncio.Semaphore(2)
        assert [await call(places, True) for _ in range(5)] == [b"x"] * 5
        held = [await call(places, False) for _ in range(2)]
        return held, await call(places, False)

    with patch("service.frontends.oip.grpc_server.PLACE_S", 0.05):
        held, refused = asyncio.run(calls())
    assert (held, refused) == ([b"x"] * 2, None)
