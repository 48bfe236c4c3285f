"""Stages of a pipeline that overlap."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from seg.leavable_pool import leavable_pool

T = TypeVar("T")


def ahead(
    items: Iterator[T], depth: int = 2, stop: Callable[[], None] = lambda: None
) -> Iterator[T]:
    """The items in their order, made in a thread of their own while earlier ones are used.

    Args:
        items: made one after the other; an error in one reaches the caller in its turn.
        depth: items that are made or wait at any time; bounds their memory.
        stop: called when no more items are wanted, before the one in work is waited for.
    """
    end = object()
    waiting: deque[Future[object]] = deque()
    with leavable_pool(1, "ahead") as pool:
        try:
            waiting.extend(pool.submit(next, items, end) for _ in range(depth))
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, items, end))
                yield item  # type: ignore[misc]  # whatever is not the end is an item
        finally:
            stop()
