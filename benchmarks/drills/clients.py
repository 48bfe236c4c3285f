"""Clients that are many, slow, or send what is no image."""

import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psutil

from benchmarks import servers
from benchmarks.drills.drill import Drill
from benchmarks.drills.pictures import picture
from benchmarks.load import Outcome, closed_loop, form, get, post
from benchmarks.servers import Server
from tests.seg.images.storage.damage import damaged, small_files

FORMS = [form(picture(size, n)) for n, size in enumerate([(64, 64), (40, 90), (130, 130)])]
WARM, REQUESTS = 2000, 10_000
CROWD = 200
SLOW_CONNECTIONS = 300
HEAD_S, IDLE_S = 10, 5
FUZZ_CLIENTS = 8
PARTS = 10
"""After each of them resident memory is looked at."""


def memory(drill: Drill) -> None:
    """Resident memory over 10,000 requests."""
    with servers.seg(drill.package(), **drill.jobs()) as server:
        closed_loop(server.port, FORMS, 4, 600, WARM)
        before = _rss_mb(server)
        outcome = closed_loop(server.port, FORMS, 4, 600, REQUESTS)
        after = _rss_mb(server)
    drill.saw(requests=len(outcome.answers), rate=outcome.rate(), before_mb=before, after_mb=after)
    drill.at_least("requests answered", sum(a.status == 200 for a in outcome.answers), REQUESTS)
    drill.at_most("growth of resident memory, %", 100 * (after / before - 1), 5)


def crowd(drill: Drill) -> None:
    """200 clients at once, as one address may and as many addresses may."""
    for most in (None, 2 * CROWD):
        settings = {} if most is None else {"SEG_MAX_CLIENT_REQUESTS": str(most)}
        name = "one address" if most is None else "many addresses"
        with servers.seg(drill.package(), **drill.jobs(), **settings) as server:
            with ThreadPoolExecutor(1) as pool:
                load = pool.submit(closed_loop, server.port, FORMS, CROWD, 10)
                alive = closed_loop(server.port, [get("/livez")], 1, 10)
                outcome = load.result()
            statuses = Counter(str(answer.status) for answer in outcome.answers)
        drill.saw(limits=name, livez_p99_ms=alive.percentile_ms(99), **statuses)
        drill.at_most(f"{name}: neither success nor refusal", outcome.failed, 0)
        drill.at_least(f"{name}: answered", statuses["200"], 1)
        drill.at_most(f"{name}: /livez that failed", alive.failed, 0)


def slow_loris(drill: Drill) -> None:
    """Clients that never end their headers, and others that never end their bodies."""
    settings = {
        "SEG_UPLOAD_IDLE_S": str(IDLE_S),
        "SEG_MAX_CLIENT_REQUESTS": "1000",  # as if they came from many addresses
    }
    with servers.seg(drill.package(), **drill.jobs(), **settings) as server:
        heads = {
            "says nothing": b"",
            "headers without an end": b"POST /segment HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        }
        for name, head in heads.items():
            _besieged(drill, server, name, head, HEAD_S)
        body = post(bytes(1000), "/segment", "image/png")[:-900]
        _besieged(drill, server, "a body that stands still", body, IDLE_S)
        drill.at_most("bytes of header taken, MB", _endless_header_mb(server), 1)


def fuzzed(drill: Drill) -> None:
    """Damaged images of every format over HTTP, and damaged forms."""
    log = drill.folder / "log"
    settings = {"SEG_MAX_PIXELS": "4000000", "SEG_MAX_BODY_MB": "2"}
    with servers.seg(drill.package(), log=log, **drill.jobs(), **settings) as server:
        # One of each format at least, so that what reads them is in memory.
        warm = closed_loop(server.port, _Uploads(drill.seed + 10**6), FUZZ_CLIENTS, 600, WARM)
        worker, answers, memory_mb = server.worker().pid, warm.answers, [_rss_mb(server)]
        part = -(-(drill.uploads - WARM) // PARTS)
        for number in range(PARTS):
            uploads = _Uploads(drill.seed + number * part)
            answers += closed_loop(server.port, uploads, FUZZ_CLIENTS, 3600, part).answers
            memory_mb.append(_rss_mb(server))
        statuses = Counter(str(answer.status) for answer in answers)
        survived = server.worker().pid == worker
        grown = memory_mb[-1] / memory_mb[PARTS // 2] - 1
        good = httpx.post(
            f"http://127.0.0.1:{server.port}/segment", content=picture((64, 64), 0), timeout=60
        )
    errors = [line for line in log.read_text().splitlines() if '"level": "error"' in line]
    for line in errors[:20]:
        print(line)
    slowest = max(answer.seconds for answer in answers)
    drill.saw(uploads=len(answers), seed=drill.seed, slowest_s=slowest, **statuses)
    drill.saw(memory_mb=[round(each) for each in memory_mb])
    broken = sum(count for status, count in statuses.items() if status[0] in "05")
    drill.at_least("uploads", len(answers), drill.uploads)
    drill.at_most("answers of 5xx, or none", broken, 0)
    drill.at_least("the same process serves at the end", survived and good.is_success, 1)
    drill.at_most("growth of resident memory over the second half, %", 100 * grown, 5)
    drill.at_most("slowest answer, s", slowest, 20)


class _Uploads(Sequence[bytes]):
    """Requests that can be drawn again by their number; every eighth is a damaged form."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._names = sorted(small_files())

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, number):  # type: ignore[no-untyped-def]
        seed = self._seed + number
        name = self._names[number % len(self._names)]
        content = damaged(name, seed)
        if number % 8:
            return post(content, "/segment", "image/x", X_Request_ID=f"fuzz-{seed}")
        whole = form(content)
        head, _, body = whole.partition(b"\r\n\r\n")
        kind = head.partition(b"Content-Type: ")[2].partition(b"\r\n")[0].decode()
        at = (seed * 7919) % len(body)
        cut = body[:at] + (b"" if seed % 3 else b"\r\n--") + body[at + seed % 5 :]
        return post(cut, "/segment", kind, X_Request_ID=f"fuzz-{seed}")


def _besieged(drill: Drill, server: Server, name: str, said: bytes, limit_s: float) -> None:
    """Ordinary clients are served beside slow ones, and the slow ones are sent away."""
    with _connections(server, said) as slow:
        began = time.perf_counter()
        outcome: Outcome = closed_loop(server.port, FORMS, 4, 3)
        gone = [_seconds_until_closed(each, began, 4 * limit_s) for each in slow]
    ok = sum(answer.status == 200 for answer in outcome.answers)
    longest = max(gone)
    drill.saw(slow=name, connections=len(slow), served_beside=ok, longest_held_s=longest)
    failed = len(outcome.answers) - ok
    drill.at_most(f"{name}: ordinary requests that were not served", failed, 0)
    drill.at_most(f"{name}: seconds until they are cut", longest, 2 * limit_s)


@contextmanager
def _connections(server: Server, said: bytes) -> Iterator[list[socket.socket]]:
    opened = []
    try:
        for _ in range(SLOW_CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.sendall(said)
            opened.append(connection)
        yield opened
    finally:
        for connection in opened:
            connection.close()


def _seconds_until_closed(connection: socket.socket, began: float, most_s: float) -> float:
    while (left := began + most_s - time.perf_counter()) > 0:
        connection.settimeout(left)
        try:
            if not connection.recv(4096):
                return time.perf_counter() - began
        except TimeoutError:
            break
        except OSError:
            return time.perf_counter() - began
    return most_s


def _endless_header_mb(server: Server, most_mb: int = 32) -> float:
    """How much of a header without an end is taken before the connection is closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
        sent, block = 0, b"X-Filler: " + b"x" * 8000 + b"\r\n"
        try:
            while sent < most_mb * 10**6:
                connection.sendall(block)
                sent += len(block)
        except OSError:
            pass
    return sent / 1e6


def _rss_mb(server: Server) -> float:
    return max(map(_process_mb, server.processes()[1:]))


def _process_mb(process: psutil.Process) -> float:
    return process.memory_info().rss / 1e6
