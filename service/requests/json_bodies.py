"""JSON bodies of some size, which other programs send: within bounds before they are parsed.

Sixteen megabytes of empty lists are gigabytes of them, and a parser lets nobody else run.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from os import SEEK_END
from typing import BinaryIO

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request

from service.problems.response import Problem
from service.requests.bodies import require_fits, spooled
from service.requests.uploads import IN_MEMORY

MOST_BYTES = 16_000_000
MOST_LISTS = 100_000
"""Of a body, and as many objects."""
MOST_TEXTS = 200_000
MOST_VALUES = 1_000_000
SIDE_BY_SIDE = 2
"""Bodies larger than `IN_MEMORY` that are in memory at the same time."""


class JsonBodies:
    """Those of one front end.

    Args:
        seconds: that a long one waits for others.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._places: anyio.CapacityLimiter | None = None

    @asynccontextmanager
    async def whole(self, request: Request) -> AsyncIterator[bytes]:
        """A body for as long as the block lasts; of long ones two at a time, others wait on disk.

        Raises:
            Problem: 413, it is too long, or holds too much; 503, others that are long take their
                time.
        """
        async with spooled(partial(_receive, request)) as file:
            is_long = file.seek(0, SEEK_END) > IN_MEMORY
            file.seek(0)
            if not is_long:
                body = file.read()
                _check_counts(body)
                yield body
                return
            places = self._places = self._places or anyio.CapacityLimiter(SIDE_BY_SIDE)
            with anyio.move_on_after(self._seconds) as waiting:
                await places.acquire_on_behalf_of(request)
            if waiting.cancelled_caught:
                raise Problem(503, "other long requests take their time", {"Retry-After": "10"})
            try:
                body = await run_sync(file.read)
                await run_sync(_check_counts, body)
                yield body
            finally:
                places.release_on_behalf_of(request)


async def _receive(request: Request, target: BinaryIO) -> None:
    too_long = f"a request has {MOST_BYTES / 1e6:g} MB of JSON at most"
    async for chunk in request.stream():
        require_fits(chunk, target, MOST_BYTES, too_long)
        target.write(chunk)


def _check_counts(text: bytes) -> None:
    counted = (
        (text.count(b"["), MOST_LISTS, "lists"),
        (text.count(b"{"), MOST_LISTS, "objects"),
        (text.count(b'"') // 2, MOST_TEXTS, "texts"),
        (text.count(b","), MOST_VALUES, "values"),
    )
    for found, most, what in counted:
        if found > most:
            raise Problem(413, f"a request has {most:,} {what} at most, this one has {found:,}")
