"""The Python client against a service that really runs."""

import io
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from seg.client import Client, ServiceError
from tests.packages import CLASSES, write_package
from tests.service.conftest import labels_of, png, serving

PICTURE = png(np.random.default_rng(0).integers(0, 255, (90, 70)))


@pytest.fixture(scope="module")
def served_here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("client")
    package = write_package(folder / "package", slow=True)
    with serving(package, folder) as http:
        yield http


@pytest.fixture(scope="module")
def service(served_here):
    with Client(str(served_here.base_url)) as client:
        yield client


def test_a_mask_comes_with_what_is_said_of_it(service, served_here, tmp_path):
    (tmp_path / "Doe^John.png").write_bytes(PICTURE)
    answer = service.segment(tmp_path / "Doe^John.png", format="png", threshold=0.6)
    expected = served_here.post("/segment?format=png&threshold=0.6", content=PICTURE)
    np.testing.assert_array_equal(labels_of(answer.content), labels_of(expected.content))
    assert (answer.media_type, answer.filename) == ("image/png", "mask.png")
    assert answer.model == "nearest-level:1"
    assert "uncertainty" in answer.quality
    saved = answer.save(tmp_path / "mask.png")
    assert saved.read_bytes() == answer.content


def test_several_images_are_answered_together(service):
    answer = service.segment_all(
        [PICTURE, b"no image"], format=["png", "json"], classes=["nucleus"]
    )
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {"mask-1.png", "mask-1.json", "report.json"} == set(archive.namelist())
    assert answer.failed == 1


def test_a_job_is_followed_to_its_end(service, tmp_path):
    large = png(np.random.default_rng(0).integers(0, 255, (300, 300)))
    job = service.submit(large, format="png", idempotency_key="one")
    assert service.submit(large, format="png", idempotency_key="one").id == job.id
    seen = list(service.follow(job))
    assert seen[-1].state == "done"
    assert [each.progress for each in seen] == sorted(each.progress for each in seen)
    assert labels_of(service.result(job).content).shape == (300, 300)
    saved = service.save_result(job.id, tmp_path / "mask.png")
    assert saved.read_bytes() == service.result(job).content
    service.delete(job)
    with pytest.raises(ServiceError) as error:
        service.job(job)
    assert error.value.status == 404


def test_an_error_carries_the_problem(service):
    with pytest.raises(ServiceError, match="no class 'liver'") as error:
        service.segment(PICTURE, classes=["liver"])
    assert (error.value.status, error.value.problem.title) == (422, "Unprocessable Entity")
    assert error.value.request_id
    job = service.submit(b"no image")
    assert list(service.follow(job))[-1].problem.status == 415
    with pytest.raises(ServiceError) as error:
        service.result(job)
    assert error.value.status == 415


def test_models_are_told(service):
    listing = service.models()
    assert listing.default == "nearest-level"
    assert service.model("nearest-level") == listing.models[0]
    card = service.card()
    assert [each.name for each in card.classes] == [each.name for each in CLASSES]
    assert card.runtime.state == "proven"
    assert service.is_ready()


def test_a_service_that_is_not_there_is_the_same_kind_of_error():
    with Client("http://127.0.0.1:9", timeout_s=5.0) as client:
        assert not client.is_ready()
        with pytest.raises(ServiceError, match="cannot be reached") as error:
            client.models()
    assert error.value.status == 0


@contextmanager
def busy(content: bytes):
    """A client of a server that refuses twice before it answers."""
    left = [503, 429, 200]

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(left.pop(0))
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Client(f"http://127.0.0.1:{server.server_port}") as client:
        yield client
    assert not left
    server.shutdown()
    server.server_close()


def test_a_refused_request_is_sent_again_when_the_service_says(service):
    with busy(service.models().model_dump_json().encode()) as client:
        assert client.models().default == "nearest-level"


def test_a_job_is_followed_and_saved_though_its_database_was_away(service, tmp_path):
    job = service.submit(PICTURE)
    *_, over = service.follow(job)
    event = f"event: end\ndata: {over.model_dump_json()}\n\n".encode()
    with busy(event) as client:
        assert [each.state for each in client.follow(job)] == ["done"]
    with busy(b"mask") as client:
        assert client.save_result(job, tmp_path / "mask").read_bytes() == b"mask"


def test_the_client_needs_neither_server_nor_networks():
    code = (
        "import sys, seg.client\n"
        "heavy = {'bentoml', 'torch', 'starlette', 'onnxruntime'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def asked(*words):
    return subprocess.run(
        [sys.executable, "-m", "seg.client", *map(str, words)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_the_mask_that_the_client_gets(service, served_here, tmp_path):
    (tmp_path / "cell.png").write_bytes(PICTURE)
    done = asked(served_here.base_url, tmp_path / "cell.png", "-o", tmp_path / "mask.png",
                 "--classes", "nucleus", "--threshold", "0.6")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    expected = service.segment(PICTURE, classes=["nucleus"], threshold=0.6)
    assert (tmp_path / "mask.png").read_bytes() == expected.content


def test_the_command_says_in_a_sentence_what_is_wrong(served_here, tmp_path):
    (tmp_path / "text.png").write_bytes(b"no image")
    refused = asked(served_here.base_url, tmp_path / "text.png", "-o", tmp_path / "mask.png")
    away = asked("http://127.0.0.1:9", tmp_path / "text.png")
    missing = asked(served_here.base_url, tmp_path / "none.png")
    assert [answer.returncode for answer in (refused, away, missing)] == [2, 2, 2]
    assert refused.stderr.startswith("error: ")
    assert away.stderr == "error: the service cannot be reached: ConnectError\n"
    assert "none.png: No such file" in missing.stderr
    assert not (tmp_path / "mask.png").exists()
