"""Threads that work for a generator, which may be left at any time."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LET_GO_S = 5.0
"""Seconds that what is at work has to end when nobody wants it any more."""


class LeavablePool:
    """Runs calls in threads of its own; ``leave`` joins none of them.

    Python closes an abandoned generator wherever it collects garbage: in any thread, also within
    ``threading`` itself, whose lock joining needs. A ``ThreadPoolExecutor`` as a context within a
    generator made the whole process stand still so.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._asked: set[Future[Any]] = set()

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call it in a thread."""
        future = self._pool.submit(call, *args, **kwargs)
        self._asked.add(future)
        future.add_done_callback(self._asked.discard)
        return future

    def leave(self) -> None:
        """Begin nothing more, and let what is at work end, for some seconds at most."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(list(self._asked), LET_GO_S)


@contextmanager
def leavable_pool(threads: int, name: str) -> Iterator[LeavablePool]:
    """A pool for as long as the block takes."""
    pool = LeavablePool(threads, name)
    try:
        yield pool
    finally:
        pool.leave()
