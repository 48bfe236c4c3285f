"""Work in a thread for as long as somebody waits for it."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync
from starlette.requests import ClientDisconnect, Request

from service.errors import RequestCancelledError, keeping_nothing
from service.problems.response import Problem

T = TypeVar("T")


async def until_useless(
    request: Request,
    work: Callable[[], T],
    *,
    cancel: Callable[[], None],
    timeout_s: float,
    too_late: str,
    limiter: anyio.CapacityLimiter,
) -> T:
    """What ``work`` returns, in a thread.

    Args:
        request: whose body has come.
        work: raises `RequestCancelledError` soon after ``cancel`` was called.
        cancel: is called when the client leaves or the time is up.
        timeout_s: seconds for all of it, the wait for a thread included.
        too_late: what is said then.
        limiter: of threads.

    Raises:
        ClientDisconnect: the client has left.
        Problem: 504, the time is up.
    """

    def done() -> T:
        with keeping_nothing():
            return work()

    watch = asyncio.create_task(_cancel_when_useless(request, cancel, timeout_s))
    try:
        return await run_sync(done, limiter=limiter)
    except RequestCancelledError:
        if await watch:
            raise ClientDisconnect from None
        raise Problem(504, too_late) from None
    finally:
        watch.cancel()


async def _cancel_when_useless(
    request: Request, cancel: Callable[[], None], timeout_s: float
) -> bool:
    """Whether it was the client."""
    left = False
    with anyio.move_on_after(timeout_s):
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left = True
    cancel()
    return left
