"""Files as bodies of answers."""

from collections.abc import AsyncIterator, Mapping
from typing import IO

from anyio.to_thread import run_sync
from starlette.responses import StreamingResponse

CHUNK = 1 << 18
"""Bytes that are in memory at once."""


def streamed(
    file: IO[bytes], size: int, media_type: str, headers: Mapping[str, str]
) -> StreamingResponse:
    """A file from where it stands; it is closed when it is sent."""
    headers = {**headers, "Content-Length": str(size)}
    return StreamingResponse(_chunks(file), media_type=media_type, headers=headers)


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    try:
        while chunk := await run_sync(file.read, CHUNK):
            yield chunk
    finally:
        file.close()
