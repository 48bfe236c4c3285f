"""Bodies that come a byte at a time, without an end, to every route that takes one."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.app import create_app
from service.jobs.routes import Jobs
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.packages import write_package
from tests.service.conftest import served, until_status

TIMEOUT_S, PAUSE_S = 1.0, 0.1
BEGINNINGS = {
    "multipart/form-data; boundary=X": (
        b'--X\r\nContent-Disposition: form-data; name="%s"; filename="a.png"\r\n\r\n'
    ),
    "multipart/related; boundary=X; type=application/dicom": (
        b"--X\r\nContent-Type: application/dicom\r\n\r\n"
    ),
    "application/json": b'{"patches": [',
    "application/octet-stream": b"",
}
PARTS = {"/session/": b"files", "/segment": b"image", "/picture": b"image", "/jobs": b"image"}
"""Names of the parts that routes read; all others call theirs file, or label, or read any."""


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Settings with which every route is there."""
    folder = tmp_path_factory.mktemp("slow")
    for name in ("models", "drawn"):
        (folder / name).mkdir()
    write_package(folder / "models" / "one")
    return {
        "SEG_MODELS": str(folder / "models"),
        "SEG_STUDIO": str(folder / "drawn"),
        "SEG_SESSIONS": str(folder / "sessions"),
        "SEG_JOBS_FILES": str(folder / "jobs"),
        "SEG_TRAIN_MINUTES": "1",
        "SEG_FRONTENDS": "monailabel,oip,label-studio,dicomweb",
        "SEG_TIMEOUT_S": str(TIMEOUT_S),
        "SEG_JOB_TIMEOUT_S": str(TIMEOUT_S),
        "SEG_MAX_CLIENT_REQUESTS": "1000",
    }


@pytest.fixture(scope="module")
def paths(everything):
    """Method and path of all that takes a body, with names in place of their templates'."""
    models = ModelRegistry(Settings.from_environment(everything), Metrics())
    edge = create_app(models, jobs=Jobs.of(models))
    while not hasattr(edge, "_routes"):
        edge = edge._app
    found = []
    for route in edge._routes:
        path = route.path.replace("{model}", "nearest-level").replace("{name}", "nearest-level")
        for method in sorted(route.methods & {"POST", "PUT", "PATCH"}):
            found.append((method, path.replace("{", "").replace("}", "")))
    return found


@pytest.fixture(scope="module")
def server(everything, tmp_path_factory):
    log = tmp_path_factory.mktemp("slow-log") / "log.txt"
    with served(log.parent / "none", log, **everything, SEG_PACKAGE="") as client:
        until_status(client, "/readyz", 200)
        yield client


def trickled(address, method, path, kind) -> tuple[int, float]:
    """Status of the answer, and seconds until it came; 0 where none did in ten times the limit."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    head += 'Transfer-Encoding: chunked\r\nIf-Match: "0"\r\n\r\n'
    beginning = BEGINNINGS[kind]
    if b"%s" in beginning:
        beginning = beginning % PARTS.get(path, b"label" if path.endswith("label") else b"file")
    with socket.create_connection(address) as connection:
        connection.sendall(head.encode())
        if beginning:
            connection.sendall(b"%x\r\n%s\r\n" % (len(beginning), beginning))
        connection.settimeout(PAUSE_S)
        begun = time.monotonic()
        while (seconds := time.monotonic() - begun) < 10 * TIMEOUT_S:
            try:
                return int(connection.recv(1000).split()[1]), seconds
            except TimeoutError:
                connection.sendall(b"1\r\n1\r\n")
    return 0, seconds


def test_no_route_waits_longer_for_a_body_than_a_request_may_take(server, paths):
    address = server.base_url.host, server.base_url.port
    asked = [(method, path, kind) for method, path in paths for kind in BEGINNINGS]
    with ThreadPoolExecutor(len(asked)) as pool:
        told = list(pool.map(lambda each: trickled(address, *each), asked))
    heard = dict(zip(asked, told, strict=True))
    assert {each: one for each, one in heard.items() if one[0] == 0 or one[1] > 8} == {}
    late = {path for (_, path, _), (status, _) in heard.items() if status == 408}
    assert late >= {
        "/segment", "/picture", "/jobs", "/infer_patches", "/models/nearest-level", "/session/",
        "/studio/images/id", "/studio/images/id/label", "/studio/dataset", "/datastore/image",
        "/infer/nearest-level", "/dicom-web/studies", "/label-studio/predict",
        "/v2/models/nearest-level/infer",
    }  # fmt: skip
