"""How much memory there is, and how much a piece of work takes at its peak."""

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from seg.control_groups import memory_left
from seg.errors import ConfigError

SHARE_TO_FILL = 0.8
"""Of what is free now: other programs and whole images want some of it later."""
WORKER_BYTES = 400 * 2**20
"""A process that makes patches, beside the patches."""
_STATUS, _CLEAR, _RESET_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs"), "5"


class TooLittleMemoryError(ConfigError):
    """A device's memory is too small for a step of a plan."""


def in_gib(size: float) -> str:
    """``1.5 GiB``."""
    return f"{size / 2**30:.1f} GiB"


def free_bytes(kind: str) -> int:
    """What training may fill of a device's memory: most of what is free now."""
    if kind == "cuda":
        give_back(kind)  # what torch keeps for later does not count as free
        return int(SHARE_TO_FILL * torch.cuda.mem_get_info()[0])
    left = memory_left()
    available = int(psutil.virtual_memory().available)
    return int(SHARE_TO_FILL * (available if left is None else min(available, left)))


def held_bytes() -> int:
    """What this process has in memory now."""
    return int(psutil.Process().memory_info().rss)


@dataclass
class Peak:
    """Filled in when the work is done."""

    before: int = 0
    """Bytes in use when the work began: on a CPU the program itself."""
    bytes: int = 0
    """At the highest point."""


@contextlib.contextmanager
def peak_of(kind: str) -> Iterator[Peak]:
    """The peak of the memory of this process, or of its CUDA device, while the block runs.

    Of a CUDA device what torch has allocated counts, not what it keeps reserved: blocks that are
    freed stay reserved, so that work which follows larger work would seem to need nothing. Where
    the kernel cannot tell (outside of Linux), the end of the block counts.
    """
    give_back(kind)
    peak = Peak(before=_in_use(kind))
    forget_peak(kind)
    try:
        yield peak
        peak.bytes = max(_in_use(kind), _highest(kind))
    finally:
        give_back(kind)


def forget_peak(kind: str) -> None:
    """Count from now on: what a first run tries out, with memory to spare, is not what it needs."""
    if kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):
            _CLEAR.write_text(_RESET_PEAK, encoding="ascii")


def give_back(kind: str) -> None:
    """What earlier work left behind on a CUDA device, for whatever is not torch."""
    if kind == "cuda":
        gc.collect()  # an error that was caught may still hold a step's tensors
        torch.cuda.empty_cache()


def _in_use(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.memory_allocated()
    return held_bytes()


def _highest(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.max_memory_allocated()
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    return 0
