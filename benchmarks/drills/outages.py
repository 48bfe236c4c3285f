"""Processes that die, stop, share a machine, or live through a clock that jumps."""

import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from benchmarks import servers
from benchmarks.drills.drill import PATCH, Drill
from benchmarks.drills.pictures import picture, plain
from benchmarks.servers import Server
from benchmarks.small_package import write_endless

KILLS = 3
CLIENTS = 8
LARGE = picture((3000, 3000), 0)
"""Takes long enough to be met in the middle."""
SMALL = picture((64, 64), 0)
JUMPS_S = (3600, -3600, 30 * 86400, -30 * 86400)


def worker_killed(drill: Drill) -> None:
    """SIGKILL to the process that answers while clients wait for it."""
    with servers.seg(drill.package(), **drill.jobs()) as server:
        for kill in range(KILLS):
            with asking(server, LARGE) as seen:
                until(lambda seen=seen: seen["200"] >= CLIENTS)
                killed = time.perf_counter()
                server.worker().kill()
                ready = killed + _seconds_to_ready(server)
                answered = seen["200"]
                until(lambda seen=seen, before=answered: seen["200"] >= before + CLIENTS)
            lost = seen["closed"]
            drill.saw(kill=kill, ready_s=ready - killed, **seen)
            drill.at_most(f"kill {kill}: requests lost, of {CLIENTS} in flight", lost, CLIENTS)
            drill.at_most(f"kill {kill}: connections refused", seen["refused"], 0)
            drill.at_most(f"kill {kill}: seconds until ready", ready - killed, 10)


def stopped(drill: Drill) -> None:
    """SIGTERM while images are segmented."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        with servers.seg(drill.package(), **drill.jobs()) as server:
            url = f"http://127.0.0.1:{server.port}/segment"
            waiting = [pool.submit(httpx.post, url, content=LARGE, timeout=60) for _ in range(4)]
            until(lambda: _metric(server, "seg_requests_active") == len(waiting))
            began = time.perf_counter()
        seconds = time.perf_counter() - began
    statuses = Counter(answer.result().status_code for answer in waiting)
    drill.saw(seconds=seconds, answers=dict(statuses))
    drill.at_least("answered of 4 in flight", statuses[200], 4)
    drill.at_most("seconds until the process has ended", seconds, 30)


def hanging(drill: Drill) -> None:
    """A network that never comes back over some image, whose client leaves; then SIGTERM."""
    folder, bright = drill.folder / "endless", plain(PATCH, 255)
    write_endless(folder, PATCH)
    limit = {"SEG_TIMEOUT_S": "2", "SEG_PROVIDER": "cpu"}
    with servers.seg(folder, **drill.jobs(), **limit) as server:
        url = f"http://127.0.0.1:{server.port}"
        began = time.perf_counter()
        status = httpx.post(f"{url}/segment", content=bright, timeout=60).status_code
        answered = time.perf_counter() - began
        with suppress(httpx.ReadTimeout):
            httpx.post(f"{url}/segment", content=bright, timeout=0.5)
        until(lambda: httpx.get(f"{url}/readyz", timeout=10).status_code == 503)
        unready = time.perf_counter() - began
        alive = httpx.get(f"{url}/livez", timeout=10).status_code
        worker = server.worker()
        began = time.perf_counter()
        worker.terminate()
        worker.wait(60)
        ended = time.perf_counter() - began
    drill.saw(answer=status, answered_s=answered, unready_s=unready, livez=alive, ended_s=ended)
    drill.at_least("answered with 504", status == 504, 1)
    drill.at_most("seconds until that answer, of 2 allowed", answered, 5)
    drill.at_most("seconds until not ready", unready, 65)
    drill.at_most("seconds until the process had ended by itself", ended, 29)


def two_services(drill: Drill) -> None:
    """Two services started together on one machine, with one folder of jobs; one is killed."""
    package, jobs = drill.package(), drill.jobs()
    with servers.seg(package, "one", **jobs) as one:
        with servers.seg(package, "two", **jobs) as two:
            sent = [_job(server) for server in (one, two) for _ in range(20)]
            two.worker().kill()
            with asking(one, SMALL) as seen:
                until(lambda: seen["200"] >= 200)
            until(lambda: all(_job_state(one, job) in ("done", "failed") for job in sent))
            states = Counter(_job_state(one, job) for job in sent)
        ended = httpx.get(f"http://127.0.0.1:{one.port}/readyz", timeout=10).status_code
    drill.saw(requests=dict(seen), jobs=dict(states), after_the_other_ended=ended)
    drill.at_most("requests of the living one that failed", sum(seen.values()) - seen["200"], 0)
    drill.at_least("jobs done, of 40 sent to both", states["done"], 40)


def clock_jumps(drill: Drill) -> None:
    """The wall clock jumps by an hour and by a month, ahead and back, while the service works."""
    clock, library = drill.folder / "clock", drill.folder / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    clock.write_bytes(bytes(8))
    moved = {"LD_PRELOAD": str(library), "SEG_CLOCK": str(clock)}
    with servers.seg(drill.package(), **drill.jobs(), **moved) as server:
        for seconds in JUMPS_S:
            with asking(server, SMALL) as seen:
                until(lambda seen=seen: seen["200"] >= 50)
                before = _job(server, LARGE)
                _jump(clock, seconds)
                after = _job(server)
                until(lambda seen=seen, done=seen["200"]: seen["200"] >= done + 200)
                until(lambda a=after: _job_state(server, a) in ("done", "failed"))
                until(lambda b=before: _job_state(server, b) not in ("queued", "running"))
            states = [_job_state(server, job) for job in (before, after)]
            drill.saw(jump_s=seconds, requests=dict(seen), jobs=states)
            failed = sum(seen.values()) - seen["200"]
            drill.at_most(f"jump of {seconds} s: requests that failed", failed, 0)
            drill.at_least(f"jump of {seconds} s: job sent after it done", states[1] == "done", 1)
            _jump(clock, 0)
        drill.at_least("ready at the end", _ready(server), 1)


def _jump(clock: Path, seconds: int) -> None:
    with clock.open("r+b") as file:  # the same file: it is mapped
        file.write(struct.pack("=q", seconds))


@contextmanager
def asking(server: Server, body: bytes) -> Iterator[Counter[str]]:
    """Clients that ask again and again, and what became of their requests."""
    seen: Counter[str] = Counter()
    over = threading.Event()
    url = f"http://127.0.0.1:{server.port}/segment"

    def client() -> None:
        while not over.is_set():
            try:  # a connection each: none is lost that was only kept
                outcome = str(httpx.post(url, content=body, timeout=60).status_code)
            except httpx.ConnectError:
                outcome = "refused"
            except httpx.TransportError:
                outcome = "closed"
            seen[outcome] += 1
            if outcome != "200":
                over.wait(0.2)

    with ThreadPoolExecutor(CLIENTS) as pool:
        try:
            clients = [pool.submit(client) for _ in range(CLIENTS)]
            yield seen
        finally:
            over.set()
    for each in clients:
        each.result()


def _seconds_to_ready(server: Server) -> float:
    # The port is the supervisor's and stays open: who asks meanwhile waits for the next worker.
    return servers.wait_for(server.port, "/readyz")


def _ready(server: Server) -> bool:
    return httpx.get(f"http://127.0.0.1:{server.port}/readyz", timeout=10).status_code == 200


def _job(server: Server, body: bytes = SMALL) -> str:
    answer = httpx.post(f"http://127.0.0.1:{server.port}/jobs", content=body, timeout=60)
    return str(answer.raise_for_status().json()["id"])


def _job_state(server: Server, job: str) -> str:
    answer = httpx.get(f"http://127.0.0.1:{server.port}/jobs/{job}", timeout=60)
    return str(answer.json()["state"]) if answer.status_code == 200 else "gone"


def _metric(server: Server, name: str) -> float:
    text = httpx.get(f"http://127.0.0.1:{server.port}/metrics", timeout=60).text
    found = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(found[0].split()[1])


def until(holds, seconds: float = 120) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise SystemExit("the drill got stuck: what it waits for does not come")
        time.sleep(0.02)
