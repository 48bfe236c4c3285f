"""Clients that try to take the service down: memory held, /livez meanwhile, time to recover."""

import gzip
import io
import math
import re
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks import servers
from benchmarks.drills import requests
from benchmarks.drills.drill import Drill
from benchmarks.drills.limits import header
from benchmarks.drills.pictures import picture
from benchmarks.servers import Server

BUDGET_MB = 300
SETTINGS = {
    "SEG_MAX_DECODING_MB": str(BUDGET_MB),
    "SEG_TIMEOUT_S": "5",
    "SEG_THREADS": "2",
    "SEG_JOB_TIMEOUT_S": "10",
}
SPARE_MB = 150
"""What uploads, buffers and the decoders themselves may take beside the budget."""
ATTACK_S = 8.0
CLIENTS = 4
LIVE_MS, SLOW_S = 100, 1.0
CONNECTIONS = ("kept", "new")
SMALL = picture((64, 64), 0)
RECOVERED_S = 1.0
"""Within which an ordinary image is answered by a service that has recovered."""


def attacks(drill: Drill) -> None:
    """Each attack for some seconds, by several clients at once."""
    with servers.seg(drill.package(), **drill.jobs(), **SETTINGS) as server:
        base = f"http://127.0.0.1:{server.port}"
        for _ in range(20):
            httpx.post(base + "/segment", content=SMALL, timeout=60)
        for name, attack in _attacks(server, base, drill.folder / "jobs").items():
            _suffered(drill, server, name, attack)


def _attacks(server: Server, base: str, jobs: Path) -> dict[str, Callable[[], str]]:
    stuck, grown = zeros_in_zip(64), deflated(512 << 20)
    large = zeros_in_zip(512)
    nested = nested_elements(16)
    lists = b'{"patches":[' + b"[]," * 16_000_000 + b"[]]}"
    boundaries = b"\r\n--X" * 4_000_000

    def post(path: str, body: bytes, kind: str = "application/octet-stream") -> Callable[[], str]:
        def ask() -> str:
            headers = {"Content-Type": kind}
            return str(
                httpx.post(base + path, content=body, headers=headers, timeout=30).status_code
            )

        return ask

    job = httpx.post(base + "/jobs", content=SMALL, timeout=60).json()["id"]

    def locked() -> str:
        with closing(sqlite3.connect(jobs / "jobs.sqlite", isolation_level=None)) as other:
            with suppress(sqlite3.OperationalError):
                other.execute("begin exclusive")
            return str(httpx.get(f"{base}/jobs/{job}", timeout=30).status_code)

    return {
        "nobody": lambda: time.sleep(0.2) or "-",
        "64 MiB of zeros in a ZIP": post("/segment", stuck),
        "the same for /picture": post("/picture", stuck),
        "the same as a job": post("/jobs", stuck),
        "elements within elements": post("/segment", nested),
        "512 MiB in a deflated DICOM": post("/segment", grown),
        "512 MiB in a ZIP": post("/segment", large),
        "256 MB in a NIfTI": post("/segment", header_and_zeros(16384, 8192)),
        "lists in JSON": post("/infer_patches", lists, "application/json"),
        "half boundaries in a form": post(
            "/segment", boundaries, "multipart/form-data; boundary=XY"
        ),
        "trailers without an end": lambda: endless(server, b"0\r\n", b"a:b\r\n" * 10_000),
        "an extension without an end": lambda: endless(server, b"1;", b"x" * 60_000),
        "a body that nobody reads": lambda: endless(server, b"", b"ff\r\n" + bytes(255) + b"\r\n"),
        "uploads that are left": lambda: left(server),
        "chunked uploads that are left": lambda: left(server, b"Transfer-Encoding: chunked"),
        "15,000 options in an address": lambda: requests.options(server),
        "15,000 headers": lambda: requests.headers(server),
        "30,000 types in Accept": lambda: requests.types(server),
        "chunks of a byte": lambda: requests.small_chunks(server),
        "20,000 requests on a connection": lambda: requests.pipelined(server),
        "answers that are not read": lambda: requests.unread(server),
        "a locked database": locked,
    }


def _suffered(drill: Drill, server: Server, name: str, attack: Callable[[], str]) -> None:
    with _watched(server) as seen:
        until = time.monotonic() + ATTACK_S

        def client() -> Counter[str]:
            outcomes: Counter[str] = Counter()
            while time.monotonic() < until:
                try:
                    outcomes[attack()] += 1
                except httpx.TransportError:
                    outcomes["closed"] += 1
            return outcomes

        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(client) for _ in range(CLIENTS)]
            outcomes = sum((each.result() for each in clients), Counter[str]())
        ended = time.monotonic()
        while not _answers_soon(server):
            assert time.monotonic() < ended + 120, "it does not recover"
        recovered = time.monotonic() - ended
    p99, slow = seen.p99_ms("kept"), seen.longest_slow_s()
    grown = max(seen.memory_mb) - seen.memory_mb[0]
    drill.saw(
        attack=name,
        grown_mb=grown,
        livez_p99_ms=p99,
        livez_new_p99_ms=seen.p99_ms("new"),
        longest_slow_s=slow,
        recovered_s=recovered,
        answers=dict(outcomes),
    )
    broken = sum(count for status, count in outcomes.items() if status == "500")
    drill.at_most(f"{name}: growth of memory, MB", grown, BUDGET_MB + SPARE_MB)
    drill.at_most(f"{name}: /livez p99, ms", p99, LIVE_MS)
    drill.at_most(f"{name}: seconds without /livez in {LIVE_MS} ms", slow, SLOW_S)
    drill.at_most(f"{name}: seconds until an image is answered at once", recovered, 5 + 1)
    drill.at_most(f"{name}: answers of 500", broken, 0)


def _answers_soon(server: Server) -> bool:
    begun = time.monotonic()
    url = f"http://127.0.0.1:{server.port}/segment"
    with suppress(httpx.TransportError):
        status = httpx.post(url, content=SMALL, timeout=30).status_code
        return status == 200 and time.monotonic() - begun < RECOVERED_S
    return False


ALIVE = """
import socket, sys, time
port, is_new = int(sys.argv[1]), sys.argv[2] == "new"
head = b"GET /livez HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"
connection = None
while True:
    begun = time.perf_counter()
    try:
        if connection is None or is_new:
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.sendall(head)
        connection.recv(4096)
    except OSError:
        connection = None
    print(begun, time.perf_counter() - begun, flush=True)
    time.sleep(0.02)
"""
"""Asks in a process of its own: one that attacks at the same time would wait for itself. On one
connection, as a proxy does, or on a new one each time, as Kubernetes does."""


class _Seen:
    def __init__(self) -> None:
        self.memory_mb: list[float] = []
        self.live: dict[str, list[tuple[float, float]]] = {}
        """When ``/livez`` was asked, and for how many seconds; on what connections."""

    def p99_ms(self, connections: str) -> float:
        return 1000 * float(np.percentile([took for _, took in self.live[connections]], 99))

    def longest_slow_s(self) -> float:
        """Within which no answer came soon, on either kind of connection."""
        longest = 0.0
        for asked in self.live.values():
            since = None
            for begun, took in asked:
                since = (since or begun) if 1000 * took > LIVE_MS else None
                longest = max(longest, begun + took - since if since else 0.0)
        return longest


@contextmanager
def _watched(server: Server) -> Iterator[_Seen]:
    """Memory of all processes of the service, and how soon /livez answers."""
    seen, over = _Seen(), threading.Event()

    def memory() -> None:
        while not over.is_set():
            seen.memory_mb.append(_taken_mb(server))
            over.wait(0.05)

    asking = {
        kind: subprocess.Popen(
            [sys.executable, "-c", ALIVE, str(server.port), kind], stdout=subprocess.PIPE, text=True
        )
        for kind in CONNECTIONS
    }
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(memory)
        over.wait(0.5)
        try:
            yield seen
        finally:
            over.set()
            for kind, process in asking.items():
                process.terminate()
                said, _ = process.communicate()
                pairs = (line.split() for line in said.splitlines())
                seen.live[kind] = [(float(b), float(t)) for b, t in pairs]
        watching.result()


def _taken_mb(server: Server) -> float:
    """Memory of all processes of the service, and files without a name.

    What a decoder shares with the process that it was forked from counts once.
    """
    total, files = 0.0, {}
    for process in server.processes():
        with suppress(psutil.Error, OSError):
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
            total += 1024 * int(re.findall(r"^Pss_Anon: +(\d+) kB$", rollup, re.M)[0])
            for file in Path(f"/proc/{process.pid}/fd").iterdir():
                with suppress(OSError):
                    status = file.stat()
                    if not status.st_nlink:
                        files[status.st_dev, status.st_ino] = status.st_blocks * 512
    return (total + sum(files.values())) / 1e6


def endless(server: Server, begin: bytes, more: bytes) -> str:
    """A chunked body to /livez, without a key, that goes on until the connection is closed."""
    head = (
        b"POST /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
    )
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        try:
            connection.sendall(head + begin)
            while sent < 60e6:
                connection.sendall(more)
                sent += len(more)
        except OSError:
            return "closed"
    return "taken"


def left(server: Server, framing: bytes = b"Content-Length: 900000") -> str:
    """An upload whose client leaves in the middle."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        head = b"POST /segment HTTP/1.1\r\nHost: localhost\r\n" + framing + b"\r\n\r\n"
        connection.sendall(head + b"ffffff\r\n" + bytes(100_000))
    return "left"


def header_and_zeros(*shape: int) -> bytes:
    """A flat NIfTI image of 16 bits, without values."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    out = packer.compress(gzip.decompress(header(*shape, 1)))
    for _ in range(2 * math.prod(shape) >> 20):
        out += packer.compress(bytes(1 << 20))
    return out + packer.flush()


def zeros_in_zip(mebibytes: int) -> bytes:
    """What begins as DICOM and goes on with zeros."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("a.dcm", "w", force_zip64=True) as file,
    ):
        file.write(bytes(128) + b"DICM")
        for _ in range(mebibytes):
            file.write(bytes(1 << 20))
    return buffer.getvalue()


def _element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    if vr in (b"OW", b"SQ", b"UN"):
        return struct.pack("<HH2sHI", group, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def _file(syntax: bytes, body: bytes) -> bytes:
    meta = _element(2, 0x10, b"UI", syntax)
    return bytes(128) + b"DICM" + _element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta + body


def deflated(size: int) -> bytes:
    """A picture of 64 x 64 in Deflated Explicit VR whose pixels have ``size`` bytes."""
    numbers = ((2, 1), (0x10, 64), (0x11, 64), (0x100, 16), (0x101, 16), (0x102, 15), (0x103, 0))
    body = _element(0x28, 4, b"CS", b"MONOCHROME2 ")
    body += b"".join(_element(0x28, n, b"US", struct.pack("<H", v)) for n, v in sorted(numbers))
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    out = squeeze.compress(body + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, size))
    for _ in range(size >> 20):
        out += squeeze.compress(bytes(1 << 20))
    return _file(b"1.2.840.10008.1.2.1.99", out + squeeze.flush())


def nested_elements(mebibytes: int) -> bytes:
    """Zeros within an item of a sequence without a length, in a ZIP."""
    undefined = 0xFFFFFFFF
    begin = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, undefined)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, undefined)
    empty = _element(8, 0x16, b"UI", b"") * (mebibytes << 17)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a.dcm", _file(b"1.2.840.10008.1.2.1\0", begin + item + empty))
    return buffer.getvalue()
