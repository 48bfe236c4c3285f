"""Seconds from the start of `bentoml serve` to the first 200 of /readyz.

Wall-clock seconds grow with whatever else the machine does; the seconds of CPU and the load beside
them tell by how much. Usage: python benchmarks/startup.py PACKAGE [--runs 5] [--json FILE]
"""

import argparse
import json
import os
import platform
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import httpx

BOUND_S = 5.0
GIVE_UP_S = 60.0
ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, help="folder of the model package")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    rows = []
    for run in range(1, arguments.runs + 1):
        row = {"run": run, **start_and_stop(arguments.package.resolve())}
        rows.append(row)
        if run == 1:
            print(" ".join(f"{name:>8}" for name in row))
        print(f"{run:>8} " + " ".join(f"{row[name]:>8.2f}" for name in list(row)[1:]), flush=True)

    median = statistics.median(row["ready_s"] for row in rows)
    holds = median < BOUND_S
    print(f"median to ready {median:.2f} s, bound {BOUND_S:g} s: {'holds' if holds else 'MISSED'}")
    if arguments.json:
        what = "median seconds from process start to /readyz 200"
        result = {
            "name": "startup",
            "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}",
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("bentoml", "onnxruntime-gpu", "numpy")},
            },
            "rows": rows,
            "bars": [{"what": what, "value": median, "bound": BOUND_S, "holds": holds}],
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.exit(not holds)


def start_and_stop(package: Path) -> dict[str, float]:
    """Seconds to /livez 200, to /readyz 200, and from SIGTERM to the end; CPU in all; the load."""
    load = os.getloadavg()[0]
    before = cpu_seconds()
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "bentoml", "serve", "--port", url.rpartition(":")[2]]
    environment = {**os.environ, "SEG_PACKAGE": str(package), "BENTOML_DO_NOT_TRACK": "True"}
    start = time.perf_counter()
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        alive_s = wait_for(url + "/livez", server) - start
        ready_s = wait_for(url + "/readyz", server) - start
    finally:
        stop = time.perf_counter()
        server.send_signal(signal.SIGTERM)
        server.wait(GIVE_UP_S)
    return {
        "alive_s": alive_s,
        "ready_s": ready_s,
        "stop_s": time.perf_counter() - stop,
        "cpu_s": cpu_seconds() - before,
        "load": load,
    }


def cpu_seconds() -> float:
    """CPU that ended children have used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def wait_for(url: str, server: subprocess.Popen[bytes]) -> float:
    """The moment at which ``url`` answers 200."""
    deadline = time.perf_counter() + GIVE_UP_S
    while time.perf_counter() < deadline and server.poll() is None:
        try:
            if httpx.get(url, timeout=1).status_code == 200:
                return time.perf_counter()
        except httpx.HTTPError:
            pass
        time.sleep(0.01)
    raise SystemExit(f"{url} did not answer 200 within {GIVE_UP_S:g} s")


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
