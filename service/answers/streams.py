"""Files as bodies of answers."""

from collections.abc import AsyncIterator, Mapping
from typing import IO

from anyio.to_thread import run_sync
from starlette.responses import FileResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

CHUNK = 1 << 18
"""Bytes that are in memory at once."""


class WholeFile(FileResponse):
    """A file, all of it: ``Range`` may be passed over (RFC 9110, 14.2), and is."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        self.headers["Accept-Ranges"] = "none"
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)


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
