"""The service against raw onnxruntime, LitServe and a plain FastAPI endpoint, over HTTP.

All stand on one ONNX file, decode and encode alike, and are asked in turns, round after round;
ratios are medians over the rounds. "Raw" is onnxruntime alone: as many threads as there are cores,
each with one patch. The service runs as it comes, where it takes the fastest runtime that is
installed, and on onnxruntime as all others do.
The peers need their own environment once: benchmarks/peers/serving/make.sh.
Usage: python benchmarks/service.py [--only SCENARIO ...] [--rounds N] [--seconds S] [--json FILE]
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import imagecodecs
import numpy as np
import onnxruntime as ort
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import servers, yardsticks
from benchmarks.convolutions import Convolutions
from benchmarks.floor import Floor
from benchmarks.load import Outcome, closed_loop, form, get, open_loop, post
from benchmarks.result import bar, show, write
from benchmarks.servers import Server
from benchmarks.small_package import write_package
from seg.machine import cores

PATCH = (256, 256)
FAST = Convolutions(PATCH, 3, width=24, layers=2)
SLOW = Convolutions(PATCH, 3, width=48, layers=6)
"""About 10 and 100 ms an image on one core."""
CLIENTS = 4
MANY = 8
LIBRARIES = ("bentoml", "onnxruntime-gpu", "openvino", "numpy", "uvicorn", "starlette")
OURS, ON_ONNX = "seg", "seg on onnxruntime"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Bench:
    """What a scenario works with."""

    folder: Path
    rounds: int
    seconds: float
    rows: Rows
    bars: Rows

    def package(self, name: str, network: Convolutions) -> Path:
        """A package whose network has that size."""
        folder = self.folder / name
        if not folder.exists():
            write_package(folder, PATCH, 1, 3, network=network)
        return folder

    def add(self, **row: Any) -> None:
        """Show a row and keep it."""
        self.rows.append(row)
        shown = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
        print("  ".join(shown), flush=True)


def picture(shape: Sequence[int], seed: int) -> bytes:
    """A PNG of blobs under a little noise, about as compressible as a micrograph."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), 6)
    pixels = 110 + 700 * blobs + rng.normal(scale=2, size=shape)
    return bytes(imagecodecs.png_encode(pixels.clip(0, 255).astype(np.uint8), level=6))


PICTURES = [picture(PATCH, seed) for seed in range(8)]
FORMS = [form(each) for each in PICTURES]


def raw_rate(network: Path, seconds: float) -> float:
    """Patches a second of onnxruntime alone."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    patch = np.random.default_rng(0).uniform(size=(1, 1, *PATCH)).astype(np.float32)
    end = time.perf_counter() + seconds

    def run() -> int:
        done = 0
        while time.perf_counter() < end:
            session.run(None, {"patches": patch})
            done += 1
        return done

    start = time.perf_counter()
    with ThreadPoolExecutor(cores()) as pool:
        done = sum(each.result() for each in [pool.submit(run) for _ in range(cores())])
    return done / (time.perf_counter() - start)


def _both(package: Path, stack: contextlib.ExitStack) -> tuple[Server, Server]:
    """The service as it comes, and on onnxruntime."""
    return (
        stack.enter_context(servers.seg(package, OURS)),
        stack.enter_context(servers.seg(package, ON_ONNX, SEG_PROVIDER="cpu")),
    )


def _peers(package: Path, stack: contextlib.ExitStack) -> list[Server]:
    network = package / "network.onnx"
    plain, tuned = partial(servers.fastapi, network), {"THREADS": "1"}
    return [
        *_both(package, stack),
        stack.enter_context(plain(name="fastapi")),
        stack.enter_context(plain(name="fastapi, a thread a run", **tuned)),
        stack.enter_context(servers.litserve(network, cores())),
    ]


def throughput(
    bench: Bench, name: str, network: Convolutions, bound: float, seconds: float
) -> None:
    """Images a second of everybody, in turns."""
    package = bench.package(name, network)
    rates: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        systems = _peers(package, stack)
        for system in systems:  # warm
            closed_loop(system.port, FORMS, CLIENTS, 1)
        for number in range(bench.rounds):
            raw = raw_rate(package / "network.onnx", seconds)
            rates.setdefault("raw", []).append(raw)
            bench.add(scenario=name, round=number, system="onnxruntime", rate=raw)
            for system in systems:
                before = system.cpu_seconds()
                outcome = closed_loop(system.port, FORMS, CLIENTS, seconds)
                rates.setdefault(system.name, []).append(outcome.rate())
                cpu = (system.cpu_seconds() - before) / max(1, len(outcome.answers)) * 1e3
                _add(bench, name, system.name, outcome, cpu, round=number)
    peers = [each for each in rates if each not in ("raw", OURS, ON_ONNX)]
    for peer in peers:
        bench.add(scenario=name, system=peer, over_raw=_ratio(rates[peer], rates["raw"]))
    for ours in (OURS, ON_ONNX):
        ratio = _ratio(rates[ours], rates["raw"])
        bench.bars.append(bar(f"{name}: images/s of {ours} over raw", ratio, bound, at_most=False))
        for peer in peers:
            ratio = _ratio(rates[ours], rates[peer])
            what = f"{name}: images/s of {ours} over {peer}"
            bench.bars.append(bar(what, ratio, 1.0, at_most=False))


def raw_tensors(bench: Bench) -> None:
    """Arrays in and out: nothing to decode."""
    package = bench.package("10 ms", FAST)
    requests = [array_request(seed) for seed in range(8)]
    ratios: dict[str, list[float]] = {OURS: [], ON_ONNX: []}
    with contextlib.ExitStack() as stack:
        ours, on_onnx = _both(package, stack)
        for system in (ours, on_onnx):
            closed_loop(system.port, requests, CLIENTS, 2)
        for number in range(bench.rounds):
            raw = raw_rate(package / "network.onnx", bench.seconds)
            for system in (ours, on_onnx):
                outcome = closed_loop(system.port, requests, CLIENTS, bench.seconds)
                ratios[system.name].append(outcome.rate() / raw)
                _add(bench, "raw tensors", system.name, outcome, float("nan"), round=number)
    for name, found in ratios.items():
        what = f"10 ms, raw tensors: images/s of {name} over raw"
        bench.bars.append(bar(what, median(found), 0.9, at_most=False))


def array_request(seed: int) -> bytes:
    """A request with the pixels as a NumPy array, for a mask of the same kind."""
    array = io.BytesIO()
    np.save(array, np.random.default_rng(seed).integers(0, 256, PATCH, np.uint8))
    return post(array.getvalue(), "/segment?format=npy", "application/octet-stream")


def latency(bench: Bench) -> None:
    """Tail at 8 clients; framework's CPU; routes that do nothing."""
    package = bench.package("10 ms", FAST)
    ratios: dict[str, list[float]] = {OURS: [], ON_ONNX: []}
    taxes, floor = [], Floor(package)
    with contextlib.ExitStack() as stack:
        ours, on_onnx = _both(package, stack)
        for system in (ours, on_onnx):
            closed_loop(system.port, FORMS, MANY, 2)
        for number in range(bench.rounds):
            for system in (ours, on_onnx):
                outcome = closed_loop(system.port, FORMS, MANY, bench.seconds)
                tail = outcome.percentile_ms(99) / outcome.percentile_ms(50)
                ratios[system.name].append(tail)
                _add(bench, "8 clients", system.name, outcome, float("nan"), round=number)
            spent = floor.milliseconds(PICTURES, 40)  # on onnxruntime as well
            before = on_onnx.cpu_seconds()
            alone = closed_loop(on_onnx.port, FORMS, 1, bench.seconds)
            cpu = (on_onnx.cpu_seconds() - before) / len(alone.answers) * 1e3
            taxes.append(cpu - sum(spent.values()))
            bench.add(scenario="cpu", round=number, service=cpu, **spent, framework=taxes[-1])
        nothing = closed_loop(ours.port, [get("/livez")], 1, 3)
        _add(bench, "livez", OURS, nothing, float("nan"))
    for name, found in ratios.items():
        what = f"p99 over p50 at 8 clients of {name}"
        bench.bars.append(bar(what, median(found), 1.5, at_most=True))
    what = "CPU over decode, onnxruntime and encode, ms a request"
    bench.bars.append(bar(what, median(taxes), 1.0, at_most=True))
    bench.bars.append(bar("livez p50, ms", nothing.percentile_ms(50), 1.0, at_most=True))
    bench.bars.append(bar("livez p99, ms", nothing.percentile_ms(99), 10.0, at_most=True))


def mixed(bench: Bench) -> None:
    """Sizes from a quarter of a patch to nine overlapping ones."""
    package = bench.package("10 ms", FAST)
    sizes, windows = [(128, 128), (256, 256), (384, 384), (512, 512)], (1, 1, 4, 9)
    requests = [form(picture(size, n)) for n, size in enumerate(sizes)]
    with servers.seg(package) as system:
        closed_loop(system.port, requests, CLIENTS, 2)
        ratios, failed = [], 0
        for number in range(bench.rounds):
            raw = raw_rate(package / "network.onnx", bench.seconds)
            outcome = closed_loop(system.port, requests, MANY, 2 * bench.seconds)
            ratios.append(outcome.rate() * sum(windows) / len(windows) / raw)
            failed += outcome.failed
            _add(bench, "mixed sizes", "seg", outcome, float("nan"), round=number)
    what = "mixed sizes: patches/s over raw"
    bench.bars.append(bar(what, median(ratios), 0.7, at_most=False))
    bench.bars.append(bar("mixed sizes: failures", failed, 0, at_most=True))


def overload(bench: Bench) -> None:
    """Ten times as many requests as can be served."""
    package = bench.package("100 ms", SLOW)
    with servers.seg(package) as system:
        peak = median(
            closed_loop(system.port, FORMS, CLIENTS, bench.seconds).rate()
            for _ in range(bench.rounds)
        )
        outcome = open_loop(system.port, FORMS, 10 * peak, 4 * bench.seconds)
    refused = [answer for answer in outcome.answers if answer.status != 200]
    bench.add(
        scenario="overload",
        peak=peak,
        offered=10 * peak,
        goodput=outcome.rate(),
        refused=len(refused),
        refused_p50_ms=outcome.percentile_ms(50, good=False),
        refused_p99_ms=outcome.percentile_ms(99, good=False),
        served_p99_ms=outcome.percentile_ms(99),
    )
    what = "overload: goodput over peak"
    bench.bars.append(bar(what, outcome.rate() / peak, 0.9, at_most=False))
    slowest = outcome.percentile_ms(99, good=False)
    bench.bars.append(bar("overload: p99 of refusals, ms", slowest, 20, at_most=True))
    what = "overload: answers without success or Retry-After"
    bench.bars.append(bar(what, outcome.failed, 0, at_most=True))


SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "fast": lambda bench: throughput(bench, "10 ms", FAST, 0.70, bench.seconds),
    # longer: while the last answers are waited for, cores are idle
    "slow": lambda bench: throughput(bench, "100 ms", SLOW, 0.95, 3 * bench.seconds),
    "raw": raw_tensors,
    "latency": latency,
    "mixed": mixed,
    "overload": overload,
    "bursts": lambda bench: yardsticks.bursts(bench, bench.package("10 ms", FAST), FORMS),
    "upload": lambda bench: yardsticks.upload(bench, bench.package("10 ms", FAST)),
    "bomb": lambda bench: yardsticks.bomb(bench, bench.package("10 ms", FAST)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with _folder() as folder:
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # nothing is remembered from before
        bench = Bench(folder, arguments.rounds, arguments.seconds, [], [])
        for name in arguments.only:
            SCENARIOS[name](bench)
            if arguments.json:
                write("service", bench.rows, bench.bars, LIBRARIES, arguments.json)
    show(bench.bars)
    sys.exit(not all(each["holds"] for each in bench.bars))


def _add(
    bench: Bench, scenario: str, system: str, outcome: Outcome, cpu_ms: float, **more: int
) -> None:
    bench.add(
        scenario=scenario,
        **more,
        system=system,
        rate=outcome.rate(),
        p50_ms=outcome.percentile_ms(50),
        p99_ms=outcome.percentile_ms(99),
        cpu_ms=cpu_ms,
        failed=outcome.failed,
    )


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return median(a / b for a, b in zip(ours, theirs, strict=True))


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        yield Path(name)


if __name__ == "__main__":
    main()
