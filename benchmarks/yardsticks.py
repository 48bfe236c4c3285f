"""Scenarios of the service that no peer stands in: bursts, a large upload, a pixel bomb."""

import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from struct import pack
from typing import Any, Protocol

import psutil

from benchmarks import servers
from benchmarks.load import closed_loop, get, post
from benchmarks.result import bar
from benchmarks.servers import Server

BURSTS, IN_A_BURST = 3, 64
UPLOAD_MB = 600
BOMB_SIDE = 12_000


class Scene(Protocol):
    """What a scenario works with."""

    bars: list[dict[str, Any]]

    def add(self, **row: Any) -> None:
        """Show a row and keep it."""


def bursts(scene: Scene, package: Path, requests: Sequence[bytes]) -> None:
    """Latency of single requests before and after bursts of 64."""
    with servers.seg(package, SEG_MAX_CLIENT_REQUESTS="1000") as system:
        closed_loop(system.port, requests, 1, 2)
        before = closed_loop(system.port, requests, 1, 60, 50).percentile_ms(50)
        for _ in range(BURSTS):
            closed_loop(system.port, requests, IN_A_BURST, 60, IN_A_BURST)
        after = closed_loop(system.port, requests, 1, 60, 50).percentile_ms(50)
    scene.add(scenario="bursts", before_ms=before, after_ms=after)
    what = "p50 of single requests after bursts over before"
    scene.bars.append(bar(what, after / before, 1.2, at_most=True))


def upload(scene: Scene, package: Path) -> None:
    """600 MB that are no image: liveness and memory while they come."""
    body = post(bytes(UPLOAD_MB * 10**6), "/segment", "application/octet-stream")
    with servers.seg(package, SEG_MAX_BODY_MB=str(UPLOAD_MB + 1)) as system:
        closed_loop(system.port, [get("/livez")], 1, 0.5)
        before = system.worker().memory_info().rss / 1e6
        with _peak_mb(system) as peaks:
            sending = threading.Thread(target=closed_loop, args=(system.port, [body], 1, 60, 1))
            sending.start()
            slowest = 0.0
            while sending.is_alive():
                alive = closed_loop(system.port, [get("/livez")], 1, 0.2)
                slowest = max(slowest, *(answer.seconds for answer in alive.answers))
            sending.join()
    grown = max(peaks) - before
    scene.add(scenario="upload", megabytes=UPLOAD_MB, livez_max_s=slowest, grown_mb=grown)
    scene.bars.append(bar("600 MB upload: slowest /livez, s", slowest, 0.1, at_most=True))
    scene.bars.append(bar("600 MB upload: memory grown by, MB", grown, 64, at_most=True))


def bomb(scene: Scene, package: Path) -> None:
    """A PNG of a few kilobytes and 144 million pixels is refused by its header."""
    requests = [post(_png_of_zeros(BOMB_SIDE), "/segment", "image/png")]
    with servers.seg(package) as system:
        closed_loop(system.port, [get("/livez")], 1, 0.5)
        before = system.worker().memory_info().rss / 1e6
        with _peak_mb(system) as peaks:
            outcome = closed_loop(system.port, requests, 1, 60, 20)
    slowest = median(answer.seconds for answer in outcome.answers) * 1e3
    refused = sum(answer.status == 413 for answer in outcome.answers) / len(outcome.answers)
    grown = max(peaks) - before
    scene.add(scenario="bomb", p50_ms=slowest, refused=refused, grown_mb=grown)
    scene.bars.append(bar("pixel bomb: refused with 413", refused, 1, at_most=False))
    scene.bars.append(bar("pixel bomb: p50, ms", slowest, 50, at_most=True))
    scene.bars.append(bar("pixel bomb: memory grown by, MB", grown, 10, at_most=True))


def _png_of_zeros(side: int) -> bytes:
    """One bit a pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return pack(">I", len(content)) + kind + content + pack(">I", zlib.crc32(kind + content))

    pixels = zlib.compress(bytes((side // 8 + 1) * side), 9)
    head = pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@contextmanager
def _peak_mb(system: Server) -> Iterator[list[float]]:
    """Resident memory of the process that answers, again and again."""
    process: psutil.Process = system.worker()
    seen, over = [process.memory_info().rss / 1e6], threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            seen.append(process.memory_info().rss / 1e6)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        time.sleep(0.1)  # what is freed late counts as well
        over.set()
        watching.join()
