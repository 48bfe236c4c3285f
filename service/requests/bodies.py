"""Bodies that are short and read whole, and long ones that lie in files."""

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import BinaryIO

from starlette.requests import Request

from service.problems.response import Problem
from service.requests.uploads import IN_MEMORY


async def short_body(request: Request, most: int, too_long: Problem) -> bytes:
    """The bytes of a body.

    Args:
        request: whose body it is.
        most: bytes; nothing is read beyond.
        too_long: what is said of a longer one.

    Raises:
        Problem: that one.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise too_long
    return bytes(body)


@asynccontextmanager
async def spooled(receive: Callable[[BinaryIO], Awaitable[None]]) -> AsyncIterator[BinaryIO]:
    """What ``receive`` writes into a file, wound back: in memory as long as it is short.

    Raises:
        Problem: as ``receive``.
    """
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as temporary:
        file: BinaryIO = temporary  # type: ignore[assignment]  # one in all but name
        await receive(file)
        file.seek(0)
        yield file


def require_fits(piece: bytes, target: BinaryIO, most: int, too_long: str) -> None:
    """Pass where a body has so many bytes at most with this piece.

    Raises:
        Problem: 413, it has more; ``too_long`` is what is said.
    """
    if target.tell() + len(piece) > most:
        raise Problem(413, too_long, {"Connection": "close"})
