"""``python -m service.size PACKAGE --per-second 2``: the memory and cores that a load needs.

Nothing is guessed from the network: the service is started with the package on this machine, asked
for masks one at a time and several at once, and its processes are watched. What is told holds for
images of that size; ``--image`` takes one of yours.
"""

import argparse
import io
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import psutil

from seg.commands import exit_status, path_named, positive
from seg.errors import ConfigError
from seg.verbs import called
from service.observability.process_memory import family_bytes, family_of

if TYPE_CHECKING:  # readers of images take a second: only what is asked for waits for them
    from seg.model_package import ModelCard

READY_S = 600.0
ANSWER_S = 3600.0
LOOK_S = 0.02
"""Seconds between two looks at the memory."""
ROUNDS = 3
BUSY = 0.7
"""Share of its time that a core should work: beyond it requests wait for long (Erlang C)."""
SPARE = 1.25
"""Of memory: for images that are a little larger, and for what allocators keep."""
MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class MeasuredService:
    """What was seen of the service on this machine."""

    shape: tuple[int, ...]
    """Of the images, in pixels or voxels; empty where a file was given."""
    idle_mb: float
    """10⁶ bytes of all processes once the model is proven."""
    one_mb: float
    """At most, while one image was segmented."""
    several_mb: float
    """At most, while several were."""
    at_once: int
    seconds: float
    """From request to mask, alone."""
    cpu_seconds: float
    """Of all cores together, an image."""

    @property
    def image_mb(self) -> float:
        """An image in flight, in 10⁶ bytes: the larger of the first one and a further one."""
        further = (self.several_mb - self.one_mb) / max(1, self.at_once - 1)
        return max(self.one_mb - self.idle_mb, further, 1.0)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to give the service."""

    memory_mb: int
    cores: float
    """Of all replicas together."""
    threads: int
    """``SEG_THREADS``: images in memory at the same time."""


def advice(measured: MeasuredService, per_second: float, at_once: int) -> Advice:
    """For so many images a second, and so many in flight at the same time."""
    memory = SPARE * (measured.idle_mb + at_once * measured.image_mb)
    cores = max(1.0, per_second * measured.cpu_seconds / BUSY)
    return Advice(
        memory_mb=64 * math.ceil(memory / 64), cores=math.ceil(10 * cores) / 10, threads=at_once
    )


def measure(package: Path, image: Path | None, at_once: int) -> MeasuredService:
    """Start the service with a package and watch it.

    Raises:
        ConfigError: it did not start, or gave no mask.
    """
    from seg.model_package import read_card

    card = read_card(package)
    shape = () if image else tuple(high for _, high in card.fingerprint.shape)
    files = [image.read_bytes()] if image else _random_image(card, shape)
    with _service(package, at_once) as (url, process), httpx.Client(timeout=ANSWER_S) as client:

        def ask(_: int) -> None:
            parts = [("image", ("image", file)) for file in files]
            answer = client.post(f"{url}/segment", files=parts)
            if answer.status_code != 200:
                raise ConfigError(f"the service gave no mask: {answer.text[:300]}")

        ask(0)  # the first one loads what later ones find loaded
        time.sleep(0.5)
        idle = family_bytes(process)
        cpu, start = _cpu_seconds(process), time.monotonic()
        with _peak(process) as one:
            for number in range(ROUNDS):
                ask(number)
        seconds = (time.monotonic() - start) / ROUNDS
        cpu = (_cpu_seconds(process) - cpu) / ROUNDS
        with _peak(process) as several, ThreadPoolExecutor(at_once) as pool:
            list(pool.map(ask, range(ROUNDS * at_once)))
    return MeasuredService(
        shape=shape,
        idle_mb=round(idle / MB, 1),
        one_mb=round(one[0] / MB, 1),
        several_mb=round(several[0] / MB, 1),
        at_once=at_once,
        seconds=round(seconds, 3),
        cpu_seconds=round(cpu, 3),
    )


def _random_image(card: "ModelCard", shape: Sequence[int]) -> list[bytes]:
    """A file a channel, as large as the largest image of the training."""
    from seg.model_package.provenance import ANY_INTENSITY

    rng = np.random.default_rng(0)
    files = []
    for ends in card.fingerprint.intensity:
        low, high = (0, 255) if ends == ANY_INTENSITY else ends
        file = io.BytesIO()
        np.save(file, rng.uniform(low, high, tuple(shape)).astype(np.float32))
        files.append(file.getvalue())
    return files


@contextmanager
def _service(package: Path, at_once: int) -> Iterator[tuple[str, psutil.Process]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="seg-size-") as folder:
        environment = {
            **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
            "SEG_PACKAGE": str(package.absolute()),
            "SEG_MODELS": "",
            "SEG_KEYS": "auto",
            "SEG_PROXY": "",
            "SEG_AUDIT_LOG": "",
            "SEG_JOBS_DATABASE": "",
            "SEG_JOBS_FILES": f"{folder}/jobs",
            "SEG_MAX_BODY_MB": "100000",
            "SEG_TIMEOUT_S": str(ANSWER_S),
            "SEG_THREADS": str(at_once),
            "BENTOML_HOME": f"{folder}/bentoml",
            "BENTOML_DO_NOT_TRACK": "True",
        }
        target = f"{Path(__file__).parents[1]}"
        command = [sys.executable, "-m", "bentoml", "serve", "--host", "127.0.0.1"]
        with (Path(folder) / "log").open("wb") as log:
            server = subprocess.Popen(
                [*command, "--port", str(port)],
                cwd=target,
                env=environment,
                stdout=log,
                stderr=log,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            _await_ready(url, server, Path(folder) / "log")
            yield url, psutil.Process(server.pid)
        finally:
            server.terminate()
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()


def _await_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_S
    said = "it did not answer"
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            answer = httpx.get(f"{url}/readyz", timeout=10)
            if answer.status_code == 200:
                return
            said = answer.text
        time.sleep(0.2)
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise ConfigError(f"the service is not ready: {said.strip()} {' '.join(last)}")


def _cpu_seconds(process: psutil.Process) -> float:
    total = 0.0
    for each in family_of(process):
        with suppress(psutil.Error):
            times = each.cpu_times()
            total += times.user + times.system
    return total


@contextmanager
def _peak(process: psutil.Process) -> Iterator[list[int]]:
    """The most memory while the block runs, in bytes, in a list of one."""
    peak = [family_bytes(process)]
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_S):
            peak[0] = max(peak[0], family_bytes(process))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def report(measured: MeasuredService, given: Advice, per_second: float) -> str:
    """What was measured and what follows, for people."""
    size = " x ".join(map(str, measured.shape)) or "the file that was given"
    return f"""\
measured here, with images of {size}
  idle                  {measured.idle_mb:8.0f} MB
  one image             {measured.one_mb:8.0f} MB at most
  {measured.at_once} images at once      {measured.several_mb:8.0f} MB at most
  an image              {measured.seconds:8.2f} s, {measured.cpu_seconds:.2f} s of CPU

for {per_second:g} images a second, {given.threads} in memory at the same time
  memory                {given.memory_mb:8d} MB a replica
  cores                 {given.cores:8.1f} of all replicas together, as fast as those here
  SEG_THREADS={given.threads}

resources:  # Kubernetes
  requests: {{cpu: "{given.cores:g}", memory: {given.memory_mb}M}}
  limits: {{memory: {given.memory_mb}M}}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when it was measured, 2 when a user must repair something."""
    parser = argparse.ArgumentParser(
        prog=called("service.size"),
        description=(
            "The memory and cores that serving a package needs for a load. Nothing is guessed "
            "from the network: the service is started with it on this machine, asked for masks "
            "one at a time and several at once, and watched. What is told holds for images of one "
            "size: yours with --image."
        ),
    )
    parser.add_argument("package", type=path_named, metavar="PACKAGE", help="folder")
    parser.add_argument(
        "--image",
        type=path_named,
        metavar="FILE",
        help="an image; else one as large as in training",
    )
    parser.add_argument(
        "--per-second", type=positive, default=1.0, metavar="N", help="images a second: 1"
    )
    parser.add_argument("--at-once", type=int, choices=range(2, 65), default=4, metavar="N",
                        help="images in memory at the same time, 2 to 64: 4")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="for programs")
    return exit_status(partial(_run, parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    measured = measure(options.package, options.image, options.at_once)
    given = advice(measured, options.per_second, options.at_once)
    if options.json:
        text = json.dumps({"measured": asdict(measured), "advice": asdict(given)}, indent=2) + "\n"
    else:
        text = report(measured, given, options.per_second)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
