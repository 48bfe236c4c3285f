"""A service under an open-loop load, with and without elasticity.

    python benchmarks/elastic.py PACKAGE [--seconds 60] [--loads 0.5 1 1.5 2 3] [--json FILE]
                                 [--after FILE]

Requests come at random times, at a multiple of the rate that the whole network can answer, whether
earlier ones are answered or not, as clients of a hospital do. PACKAGE is one with variants
(``python -m training.export RUN --variants``). At each load the same service answers with and
without elasticity, one right after the other. Shown are the share of all requests that were
answered within the deadline (one that was turned away was not), the median and the 99th percentile
of the time to an answer, the share that was turned away, how many were answered a second, the mean
validation Dice of the answers, and who answered.

The capacity is what the whole network answers a second while more clients than it can serve ask as
soon as they are answered. Whether it was right shows in the rows without elasticity: from load 1 on
they answer about as many a second, and no more at load 2. ``--after`` goes on with the capacity of
an earlier part, so that the parts are multiples of one rate.
"""

import argparse
import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import numpy as np
import tifffile

from benchmarks.result import bar, report, write
from seg.model_package import ModelPackage

ROOT = Path(__file__).parents[1]
VARIANT_HEADER = "X-Segmentation-Variant"
PATIENCE_S = 120
CLIENTS = 32
"""That flood the service while its capacity is measured."""
REFUSED_PAUSE_S = 0.2
LATENCIES_OF_DEADLINE = 10
"""A deadline is this many times what one request takes on an idle service."""
WAIT_SHARE = 0.25
"""Of the deadline that the elastic service may expect a request to wait."""
MANY_CLIENTS = {"SEG_MAX_CLIENT_REQUESTS": "1000"}
"""The load stands for many clients, though it comes from one address."""
TURNED_AWAY = (429, 503)
PROMISED, AT_LOAD = 0.99, 2.0
"""Share answered in time, at how many times the capacity."""
CAPACITY_SECONDS = 30.0
"""For which the capacity is measured."""
MOST_ABOVE_CAPACITY = 1.1
"""Of what a flooded service answers; more, and the capacity was measured too low."""
LIBRARIES = ("onnxruntime-gpu", "bentoml")


@dataclass(frozen=True)
class Answer:
    """What became of one request."""

    status: int
    seconds: float
    variant: str = ""
    dice: float = float("nan")


@contextmanager
def serving(package: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """The URL of a ready service."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, **MANY_CLIENTS, **settings, "SEG_PACKAGE": str(package.resolve())}
    environment |= {"BENTOML_DO_NOT_TRACK": "True", "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        [sys.executable, "-m", "bentoml", "serve", "--port", str(port)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _until_ready(url)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def _until_ready(url: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("the service did not get ready")


def image_of(package: Path) -> bytes:
    """A real patch that travels with the package, as a file."""
    patch = ModelPackage.load(package).golden().patches[0]
    low, high = patch.min(), patch.max()
    file = io.BytesIO()
    scaled = ((patch - low) / (high - low) * 60000).astype(np.uint16)
    tifffile.imwrite(file, scaled, metadata={"axes": "CYX" if patch.ndim == 3 else "CZYX"})
    return file.getvalue()


async def ask(client: httpx.AsyncClient, image: bytes) -> Answer:
    """One request, timed."""
    start = time.perf_counter()
    try:
        response = await client.post("/segment", content=image)
    except httpx.HTTPError:
        return Answer(0, time.perf_counter() - start)
    variant, _, dice = response.headers.get(VARIANT_HEADER, "").partition("; dice=")
    return Answer(response.status_code, time.perf_counter() - start, variant, float(dice or "nan"))


async def capacity_of(url: str, image: bytes, seconds: float) -> tuple[float, float]:
    """Requests a second with enough always waiting to fill every batch, and seconds of one alone.

    A service that is flooded answers more a second than one that has just enough to do: its
    batches are full.
    """
    async with _client(url) as client:
        alone = sorted([(await ask(client, image)).seconds for _ in range(5)])[2]
        end = time.perf_counter() + seconds
        start = time.perf_counter()

        async def keep_asking() -> int:
            count = 0
            while time.perf_counter() < end:
                answer = await ask(client, image)
                if answer.status in TURNED_AWAY:
                    await asyncio.sleep(REFUSED_PAUSE_S)
                elif answer.status != 200:
                    raise SystemExit(f"the service answered {answer.status}")
                else:
                    count += 1
            return count

        done = sum(await asyncio.gather(*(keep_asking() for _ in range(CLIENTS))))
        return done / (time.perf_counter() - start), alone


async def open_loop(
    url: str, image: bytes, rate: float, seconds: float
) -> tuple[list[Answer], float]:
    """Requests at random times (Poisson), whether earlier ones are answered or not.

    The seconds from the first one to the last answer stand beside.
    """
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.exponential(1 / rate, int(2 * rate * seconds) + 10))
    async with _client(url) as client:
        start = time.perf_counter()
        tasks = []
        for at in times[times < seconds]:
            await asyncio.sleep(max(0.0, start + at - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(client, image)))
        answers = await asyncio.gather(*tasks)
        return list(answers), time.perf_counter() - start


def _client(url: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, limits=limits)


def row_of(
    service: str, load: float, answers: list[Answer], took_s: float, deadline_s: float
) -> dict[str, Any]:
    """One line of the table."""
    good = [each for each in answers if each.status == 200]
    seconds = [each.seconds for each in good] or [float("nan")]
    shares = Counter(each.variant for each in good)
    return {
        "service": service,
        "load": load,
        "requests": len(answers),
        "in_time": sum(each.seconds <= deadline_s for each in good) / max(1, len(answers)),
        "p50_ms": 1000 * float(np.median(seconds)),
        "p99_ms": 1000 * float(np.percentile(seconds, 99)),
        "rejected": sum(each.status in TURNED_AWAY for each in answers) / max(1, len(answers)),
        "failed": sum(each.status not in (200, *TURNED_AWAY) for each in answers),
        "answered_a_second": len(good) / took_s,
        "dice": float(np.mean([each.dice for each in good])) if good else float("nan"),
        "variants": {name: n / len(good) for name, n in shares.most_common()},
    }


def show(row: Mapping[str, Any]) -> None:
    """Print a line of the table."""
    who = ", ".join(f"{name} {share:.0%}" for name, share in row["variants"].items())
    print(
        f"{row['service']:8} {row['load']:5.1f} {row['requests']:8d} {row['in_time']:8.1%} "
        f"{row['p50_ms']:8.0f} {row['p99_ms']:8.0f} {row['rejected']:9.1%} "
        f"{row['answered_a_second']:9.2f} {row['dice']:7.4f}  {who}",
        flush=True,
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, metavar="PACKAGE")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load")
    parser.add_argument("--loads", type=float, nargs="+", default=[0.5, 1, 1.5, 2, 3])
    parser.add_argument("--services", nargs="+", choices=("fixed", "elastic"),
                        default=["fixed", "elastic"])  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--after", type=Path, metavar="FILE",
                        help="result of an earlier part, whose rows are kept")  # fmt: skip
    options = parser.parse_args()
    image = image_of(options.package)
    rows = json.loads(options.after.read_text())["rows"] if options.after else []
    if rows:
        rate, alone = rows[0]["capacity"], rows[0]["alone_ms"] / 1000
    else:
        with serving(options.package, {}) as url:
            seconds = min(CAPACITY_SECONDS, options.seconds)
            rate, alone = asyncio.run(capacity_of(url, image, seconds))
    deadline_s = LATENCIES_OF_DEADLINE * alone
    print(f"capacity of full: {rate:.2f} images/s; one alone {1000 * alone:.0f} ms; deadline "
          f"{1000 * deadline_s:.0f} ms")  # fmt: skip
    print("service   load requests  in time   p50 ms   p99 ms  rejected answers/s    Dice  by")
    elastic = {"SEG_LOWEST_QUALITY": "fast", "SEG_MAX_WAIT_S": str(WAIT_SHARE * deadline_s)}
    about = {"seconds": options.seconds, "capacity": rate, "alone_ms": 1000 * alone,
             "deadline_ms": 1000 * deadline_s}  # fmt: skip
    for load in options.loads:
        for service in options.services:
            # a service of its own, so that no load begins with the queue of another one
            with serving(options.package, elastic if service == "elastic" else {}) as url:
                answers, took_s = asyncio.run(open_loop(url, image, load * rate, options.seconds))
            rows.append(row_of(service, load, answers, took_s, deadline_s) | about)
            show(rows[-1])
            if options.json:  # what was measured is kept, whatever comes
                write("elastic", rows, [], LIBRARIES, options.json)
    rows.sort(key=lambda row: (row["load"], row["service"]))
    report("elastic", rows, bars_of(rows), LIBRARIES, options.json)


def bars_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was promised at that load, and whether the load was what it is called."""
    found = []
    for row in (row for row in rows if row["load"] == AT_LOAD):
        if row["service"] == "elastic":
            found.append(bar(f"elastic, {AT_LOAD:g} times the capacity: share in time",
                             row["in_time"], PROMISED, at_most=False))  # fmt: skip
        else:
            found.append(bar(f"fixed, {AT_LOAD:g} times the capacity: answers a second over the "
                             "capacity", row["answered_a_second"] / row["capacity"],
                             MOST_ABOVE_CAPACITY, at_most=True))  # fmt: skip
    return found


if __name__ == "__main__":
    main()
