"""A service that really runs: in its own process, or in this one, on a real port."""

import asyncio
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest
import uvicorn

from service.app import create_app
from service.frontends.oip.grpc_server import listening
from service.jobs.routes import Jobs
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.packages import write_package

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60


@contextmanager
def served(
    package: Path, log: Path, *, port: int | None = None, **settings: str
) -> Iterator[httpx.Client]:
    """A client of plain ``bentoml serve`` on a package, as soon as it is alive."""
    environment = {
        **os.environ,
        "SEG_PACKAGE": str(package),
        "SEG_PROVIDER": "cpu",  # what is fastest takes seconds to find out
        **settings,
        "SEG_JOBS_FILES": settings.get("SEG_JOBS_FILES", str(log.parent / "jobs")),
        "BENTOML_HOME": str(log.parent / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    with served_by([], environment, ROOT, log, port) as client:
        yield client


@contextmanager
def served_by(
    target: list[str],
    environment: dict[str, str],
    folder: Path,
    log: Path,
    port: int | None = None,
) -> Iterator[httpx.Client]:
    """A client of ``bentoml serve TARGET`` in a folder, as soon as it is alive."""
    if port is None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bentoml", "serve", *target, "--port", str(port)]
    # What a server that a test kills leaves in there; no folder of pytest, whose path is too long
    # for a socket.
    scratch = tempfile.TemporaryDirectory(prefix="served-", ignore_cleanup_errors=True)
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "TMPDIR": scratch.name},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            until_status(client, "/livez", 200, server)
            client.headers["X-Test-Server"] = str(server.pid)
            yield client
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            raise
        finally:
            scratch.cleanup()


@contextmanager
def started(**settings: Any) -> Iterator[ModelRegistry]:
    """The models of a service without a server, once it has looked at all that there are."""
    registry = ModelRegistry(Settings(**settings), Metrics())
    registry.start()
    registry.wait()
    try:
        yield registry
    finally:
        registry.close()


@contextmanager
def serving(package: Path, folder: Path, **settings: str) -> Iterator[httpx.Client]:
    """A client of a ready service in this process: seconds less, where its hosting is not asked."""
    variables = {
        "SEG_PACKAGE": str(package),
        "SEG_PROVIDER": "cpu",
        "SEG_JOBS_FILES": str(folder / "jobs"),
        **settings,
    }
    models = ModelRegistry(Settings.from_environment(variables), Metrics())
    jobs = Jobs.of(models)
    app = create_app(models, jobs=jobs, guarded=True)
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    door = socket.create_server(("127.0.0.1", 0))

    async def serve() -> None:
        async with AsyncExitStack() as doors:
            if "oip-grpc" in models.settings.front_ends:
                await doors.enter_async_context(listening(app, models.settings, shared=False))
            await server.serve([door])

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    for each in (models, jobs, thread):
        each.start()
    url = f"http://127.0.0.1:{door.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
            models.wait()
            models.require_ready()
            yield client
    finally:
        server.should_exit = True
        models.cancel()
        thread.join()
        jobs.close()
        models.close()


def until_status(client: httpx.Client, path: str, status: int, server=None) -> httpx.Response:
    """The first answer of that status."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert server is None or server.poll() is None, "the server ended"
        try:
            answer = client.get(path, timeout=10)  # one that is lost is asked again
            if answer.status_code == status:
                return answer
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"{path} did not answer {status}")


@pytest.fixture(scope="session")
def server_log(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("server") / "log.txt"


@pytest.fixture(scope="session")
def client(tmp_path_factory, server_log) -> Iterator[httpx.Client]:
    """A client of a ready server that makes batches; a too bright image breaks its network."""
    package = write_package(tmp_path_factory.mktemp("fragile") / "package", fragile=True, slow=True)
    with served(
        package,
        server_log,
        SEG_PROVIDER="cpu",
        SEG_BATCHING="gpu",
        SEG_MAX_BODY_MB="1",
        SEG_MAX_PIXELS="4000000",
    ) as client:
        until_status(client, "/readyz", 200)
        yield client


def png(array) -> bytes:
    """A picture as a PNG file."""
    file = io.BytesIO()
    PIL.Image.fromarray(np.asarray(array, np.uint8)).save(file, "PNG")
    return file.getvalue()


def labels_of(body: bytes):
    """The class indices of a palette PNG."""
    return np.asarray(PIL.Image.open(io.BytesIO(body)))


def log_lines(log: Path, request_id: str) -> list[dict]:
    """What a server's log says about a request."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("request_id") == request_id]


def until(holds: Callable[[], object]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def certificate(folder, name):
    """Of 127.0.0.1 and of no name, signed by itself."""
    file = folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"]
    command += [f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(file.with_suffix(".key")), "-out", str(file)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return file


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Two of them; of each the key lies beside it."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl here: apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificates")
    return {name: certificate(folder, name) for name in ("trusted", "foreign")}
