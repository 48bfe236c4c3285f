"""Damaged files of every format through the readers: nothing but ``ImageError`` may come out.

Each input is read in a child process with a limit of address space and of time, so that crashes of
native code, hangs and memory are seen. An input is told by its format and number and can be drawn
again: tests/seg/images/storage/damage.py.

Usage: python benchmarks/fuzz.py [--inputs 100000] [--seed 0]
[--json FILE]
"""

import argparse
import multiprocessing
import multiprocessing.connection
import os
import resource
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.result import bar, report

TIME_LIMIT_S = 20.0
"""For one input; the slowest whole file takes a few hundredths of a second."""

MEMORY_LIMIT = 2**29
"""Bytes of address space above what the process takes once all formats were read."""

DECODED_LIMIT = 2**22
"""Bytes that an image may have, by ``Limits``: far below what the process may take."""

VERSIONS = ("numpy", "pillow", "tifffile", "imagecodecs", "nibabel", "pydicom", "zarr")
FINE = ("image", "refused")


@dataclass
class Row:
    """What became of the inputs of one format."""

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="number of the first input")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", help="formats whose name contains this")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    names = sorted(name for name in formats() if (arguments.only or "") in name)
    inputs = [(names[i % len(names)], arguments.seed + i) for i in range(arguments.inputs)]
    rows: dict[str, Row] = defaultdict(Row)
    findings: list[str] = []
    start = time.perf_counter()
    peak_mb = run(inputs, arguments.workers, rows, findings)
    print_table(rows, findings, time.perf_counter() - start)
    bars = bars_of(rows, findings, peak_mb)
    shown = [
        {"format": name, "inputs": row.inputs, **row.outcomes, "slowest_s": row.slowest_s}
        for name, row in sorted(rows.items())
    ]
    told = [{"finding": finding} for finding in findings]
    report("fuzz", [*shown, *told], bars, VERSIONS, arguments.json)
    sys.exit(not all(each["holds"] for each in bars))


def formats() -> list[str]:
    from tests.seg.images.storage.damage import small_files

    return list(small_files())


class Worker:
    """A child process, and the input that it has now."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=child, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.input: tuple[str, int] | None = None
        self.since = 0.0
        if not self.pipe.poll(120) or self.pipe.recv() != "ready":
            raise SystemExit("a child process did not start")

    def give(self, item: tuple[str, int]) -> None:
        """Let it read the next input."""
        self.input, self.since = item, time.perf_counter()
        self.pipe.send(item)

    def answer(self) -> tuple[str, str, float, float] | None:
        """Outcome, what it was, seconds and peak MB; None while the child is at work."""
        try:
            if self.pipe.poll(0):
                answered: tuple[str, str, float, float] = self.pipe.recv()
                return answered
        except (EOFError, OSError):
            self.process.join()
            return "crash", f"exit code {self.process.exitcode}", 0.0, 0.0
        if time.perf_counter() - self.since > TIME_LIMIT_S:
            self.stop()
            return "hang", f"more than {TIME_LIMIT_S:g} s", TIME_LIMIT_S, 0.0
        return None

    def stop(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.join()


def run(
    inputs: list[tuple[str, int]], count: int, rows: dict[str, Row], findings: list[str]
) -> float:
    """Spread the inputs over workers; the largest peak of memory of one, in MB above its start."""
    waiting = iter(inputs)
    workers = [Worker() for _ in range(count)]
    peak_mb, done = 0.0, 0
    for worker in workers:
        give_next(worker, waiting)
    while any(worker.input for worker in workers):
        multiprocessing.connection.wait([w.pipe for w in workers if w.input], timeout=0.5)
        for i, worker in enumerate(workers):
            if worker.input is None or (answer := worker.answer()) is None:
                continue
            outcome, what, seconds, mb = answer
            name, seed = worker.input
            row = rows[name]
            row.inputs += 1
            row.outcomes[outcome] += 1
            row.slowest_s = max(row.slowest_s, seconds)
            peak_mb = max(peak_mb, mb)
            if outcome not in FINE:
                findings.append(f"{name!r}, {seed}: {outcome}: {what}")
                print(findings[-1], flush=True)
            if outcome in ("crash", "hang"):
                workers[i] = worker = Worker()
            give_next(worker, waiting)
            done += 1
            if done % 5000 == 0:
                print(f"{done:,} inputs", file=sys.stderr, flush=True)
    for worker in workers:
        worker.pipe.send(None)
        worker.process.join()
    return peak_mb


def give_next(worker: Worker, waiting: Any) -> None:
    item = next(waiting, None)
    if item is None:
        worker.input = None
    else:
        worker.give(item)


def child(pipe: Connection) -> None:
    """Read what comes through the pipe, under limits, and answer."""
    import logging
    import warnings

    from seg.errors import ImageError
    from seg.images import Limits, read_image, read_mask
    from tests.seg.images.storage.damage import damaged, whole

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # native libraries write their remarks there
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    limits = Limits(max_pixels=2**20, max_voxels=2**20, max_bytes=DECODED_LIMIT)

    def outcome_of(content: bytes, dims: int | None) -> tuple[str, str]:
        outcome, what = "refused", ""
        for read in (read_image, read_mask):
            try:
                read(content, dims=dims, limits=limits)
                outcome = "image"
            except ImageError as error:
                if out_of_memory(error):
                    return "memory", "out of memory, told as an ImageError"
            except MemoryError:
                return "memory", "out of memory"
            except Exception as error:  # what else comes out is what is looked for
                frame = error.__traceback__
                while frame is not None and frame.tb_next is not None:
                    frame = frame.tb_next
                place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else ""
                return "other", f"{type(error).__name__} at {place}"
        return outcome, what

    for name in formats():
        outcome_of(whole(name), None)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + MEMORY_LIMIT,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak starts anew
    before = peak_rss_mb()
    pipe.send("ready")
    while (item := pipe.recv()) is not None:
        name, seed = item
        content = damaged(name, seed)
        start = time.perf_counter()
        outcome, what = outcome_of(content, (None, 2, 3)[seed // 7 % 3])
        seconds = time.perf_counter() - start
        pipe.send((outcome, what, seconds, peak_rss_mb() - before))


def out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def address_space() -> int:
    """Bytes of virtual memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    return pages * resource.getpagesize()


def peak_rss_mb() -> float:
    """Most physical memory that this process had."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def print_table(rows: dict[str, Row], findings: list[str], seconds: float) -> None:
    columns = ("image", "refused", "other", "memory", "hang", "crash")
    print(f"{'format':32} {'inputs':>8} " + " ".join(f"{c:>8}" for c in columns) + "  slowest s")
    for name, row in sorted(rows.items()):
        counts = " ".join(f"{row.outcomes[column]:>8}" for column in columns)
        print(f"{name:32} {row.inputs:>8} {counts} {row.slowest_s:>10.3f}")
    total = sum(row.inputs for row in rows.values())
    print(f"{total:,} inputs in {seconds:.0f} s, {len(findings)} findings")


def bars_of(rows: dict[str, Row], findings: list[str], peak_mb: float) -> list[dict[str, Any]]:
    bound_mb = MEMORY_LIMIT / 2**20 / 2
    slowest = max(row.slowest_s for row in rows.values())
    return [
        bar(
            "inputs that gave anything but an image or an ImageError",
            len(findings),
            0,
            at_most=True,
        ),
        bar("peak memory above the start, MB", peak_mb, bound_mb, at_most=True),
        bar("slowest input, s", slowest, TIME_LIMIT_S, at_most=True),
    ]


if __name__ == "__main__":
    main()
