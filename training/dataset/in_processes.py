"""Work on many cases, on several processes where there is so much of it that this pays."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

from seg.machine import cores, end_with_parent
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
    # the work holds the dataset: sent with each case, it would grow as the square of the cases
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _take, (work,))
    is_done = False
    try:
        yield from pool.map(_do, cases)
        is_done = True
    finally:  # who left may be a collection of garbage, which must wait for no thread
        pool.shutdown(wait=is_done, cancel_futures=True)


_taken: list[Callable[[Case], Any]] = []


def _take(work: Callable[[Case], Any]) -> None:
    end_with_parent()
    _taken[:] = [work]


def _do(case: Case) -> Any:
    return _taken[0](case)


def _size(cases: Sequence[Case]) -> int:
    return sum(path.stat().st_size for c in cases for path in c.files() if path.exists())
