"""Work on many cases, on several processes where there is so much of it that this pays."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from seg.machine import cores
from training.dataset.cases import Case

MOST_PROCESSES = 8
"""Each holds one case in memory."""
BYTES_FOR_PROCESSES = 200_000_000
"""Size of all files from which it pays to start processes, which takes seconds itself."""

_Result = TypeVar("_Result")


def spread(work: Callable[[Case], _Result], cases: Sequence[Case]) -> Iterator[_Result]:
    """The result for each case, in their order.

    Args:
        work: a function that other processes can import, with what it needs (``partial``).
        cases: to work on.
    """
    processes = min(cores(), MOST_PROCESSES, len(cases))
    if processes < 2 or _size(cases) < BYTES_FOR_PROCESSES:
        yield from map(work, cases)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(work, cases)


def _size(cases: Sequence[Case]) -> int:
    return sum(path.stat().st_size for c in cases for path in c.files() if path.exists())
