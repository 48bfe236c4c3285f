"""A service that is attacked: memory held, /livez meanwhile, time to recover."""

import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.drills.drill import Drill
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


def suffered(
    drill: Drill,
    server: Server,
    name: str,
    attack: Callable[[], str],
    key: Mapping[str, str] = {},
) -> None:
    """Several clients attack for some seconds; what is seen is a row, and is judged.

    Args:
        drill: that keeps it.
        server: is attacked.
        name: of the attack.
        attack: is done again and again; what came of it.
        key: headers of an ordinary request.
    """
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
        while not _answers_soon(server, key):
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


def _answers_soon(server: Server, key: Mapping[str, str]) -> bool:
    begun = time.monotonic()
    url = f"http://127.0.0.1:{server.port}/segment"
    with suppress(httpx.TransportError):
        status = httpx.post(url, content=SMALL, headers=key, timeout=30).status_code
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
