"""Servers that really run, each in processes of its own, and what they use."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers" / "serving"
READY_S = 120.0


@dataclass(frozen=True)
class Server:
    """A server that is ready."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def processes(self) -> list[psutil.Process]:
        """The server and all that it has started."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def worker(self) -> psutil.Process:
        """The process that answers; its parent starts it again when it dies."""
        return psutil.Process(self.process.pid).children()[-1]  # its own children decode

    def cpu_seconds(self) -> float:
        """CPU that its living processes have used."""
        times = [process.cpu_times() for process in self.processes()]
        return sum(each.user + each.system for each in times)


@contextmanager
def seg(
    package: Path, name: str = "seg", log: Path | None = None, **settings: str
) -> Iterator[Server]:
    """This service; ``log`` is where its lines go."""
    environment = {"SEG_PACKAGE": str(package), "PYTHONPATH": str(ROOT), **settings}
    environment["BENTOML_DO_NOT_TRACK"] = "True"
    command = [sys.executable, "-m", "bentoml", "serve"]
    with _running(name, [*command, "--port", "{port}"], ROOT, environment, log) as server:
        yield server


@contextmanager
def fastapi(network: Path, name: str = "fastapi", **settings: str) -> Iterator[Server]:
    """The plain endpoint."""
    command = [str(_python()), "-m", "uvicorn", "fastapi_app:app", "--log-level", "warning"]
    environment = {"NETWORK": str(network), **settings}
    with _running(name, [*command, "--port", "{port}"], PEERS, environment) as server:
        yield server


@contextmanager
def litserve(network: Path, workers: int, name: str = "litserve") -> Iterator[Server]:
    """LitServe with a worker a core."""
    command = [str(_python()), "litserve_app.py", "{port}", str(workers)]
    with _running(name, command, PEERS, {"NETWORK": str(network)}) as server:
        yield server


def _python() -> Path:
    python = PEERS / ".venv" / "bin" / "python"
    if not (PEERS / ".venv" / ".ready").exists():
        raise SystemExit(f"the peers need their own environment once: {PEERS / 'make.sh'}")
    return python


@contextmanager
def _running(
    name: str,
    command: list[str],
    folder: Path,
    environment: dict[str, str],
    log: Path | None = None,
) -> Iterator[Server]:
    port = free_port()
    with (log or Path(os.devnull)).open("ab") as lines:
        process = subprocess.Popen(
            [part.format(port=port) for part in command],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=lines,
            stderr=lines if log else None,
            start_new_session=True,
        )
    try:
        wait_for(port, "/readyz", process)
        yield Server(name, port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        finally:
            # LitServe leaves its workers behind, which go on polling
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(port: int, path: str, process: subprocess.Popen[bytes] | None = None) -> float:
    """Seconds until ``path`` answers 200."""
    start = time.perf_counter()
    while time.perf_counter() - start < READY_S:
        if process is not None and process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended")
        try:
            if httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code == 200:
                return time.perf_counter() - start
        except httpx.HTTPError:
            pass
        time.sleep(0.02)
    raise SystemExit(f"port {port} did not answer {path} within {READY_S:g} s")


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
