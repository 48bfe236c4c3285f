"""Work in a thread for as long as somebody waits for it."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync
from starlette.requests import ClientDisconnect, Request

from service.errors import RequestCancelledError, keeping_nothing
from service.observability.logs import LOGGER
from service.problems.response import Problem

T = TypeVar("T")


STOP_S = 2.0
"""Seconds in which work that was cancelled ends, as it does at the next patch. A network or a
driver that hangs never does: its client is answered all the same."""


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

    Work that does not stop is left to itself, and keeps its place among the threads until it ends.

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
    begun = False

    def done() -> T:
        nonlocal begun
        begun = True
        with keeping_nothing():
            return work()

    useless = asyncio.create_task(_has_left(request, timeout_s))
    working = asyncio.create_task(run_sync(done, limiter=limiter))
    try:
        await asyncio.wait({working, useless}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            cancel()
            if begun:
                await asyncio.wait({working}, timeout=STOP_S)
            if not working.done():
                raise RequestCancelledError
        return working.result()
    except RequestCancelledError:
        if begun and not working.done():
            LOGGER.error("hanging", extra={"fields": {"seconds": round(timeout_s + STOP_S, 1)}})
        if await useless:
            raise ClientDisconnect from None
        raise Problem(504, too_late) from None
    finally:
        useless.cancel()
        if not working.done():
            cancel()
            working.add_done_callback(_forget)
            if not begun:
                working.cancel()


def _forget(working: "asyncio.Task[T]") -> None:
    """Nobody asks what became of it."""
    if not working.cancelled():
        working.exception()


async def _has_left(request: Request, timeout_s: float) -> bool:
    """Whether the client has, before the time was up; returns as soon as nobody waits."""
    with anyio.move_on_after(timeout_s):
        while (await request.receive())["type"] != "http.disconnect":
            pass
        return True
    return False
