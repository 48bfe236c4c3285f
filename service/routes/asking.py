"""``POST /segment``, asked from within: with its limits, its places and its answers."""

import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import BinaryIO
from urllib.parse import urlencode

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message

from seg.images import Image
from service.answers.streams import CHUNK
from service.models.registry import ModelRegistry
from service.models.versions import ModelVersion
from service.routes.segment import PublicRoutes


async def segmented(
    public: PublicRoutes, request: Request, query: Mapping[str, str], files: Sequence[BinaryIO]
) -> Response:
    """The service's answer to an image, one file a channel or one for all, on behalf of a request.

    When the client of that request leaves, the work stops.
    """
    boundary = secrets.token_hex(16)
    scope = {
        **request.scope,
        "method": "POST",
        "path": "/segment",
        "raw_path": b"/segment",
        "query_string": urlencode(query).encode(),
        "headers": [(b"content-type", f"multipart/form-data; boundary={boundary}".encode())],
    }
    body = _form(files, boundary)

    async def receive() -> Message:
        chunk = await anext(body, None)
        if chunk is None:
            return await request.receive()
        return {"type": "http.request", "body": chunk, "more_body": chunk != _end(boundary)}

    return await public.segment(Request(scope, receive))


async def decoded(
    models: ModelRegistry,
    public: PublicRoutes,
    request: Request,
    version: ModelVersion,
    files: Sequence[BinaryIO],
) -> Image:
    """An image that no network sees, within the limits of those that are segmented."""
    async with models.memory.lease(version) as model:
        dims, limits = version.card.input.dims, model.limits
        read = partial(models.decoder.image, files, dims=dims, limits=limits)
        return await public.decoded(request, model, lambda check: read(check=check))


async def content_of(response: Response) -> bytes:
    """The whole body."""
    if not isinstance(response, StreamingResponse):
        return bytes(response.body)
    return b"".join([_as_bytes(chunk) async for chunk in response.body_iterator])


def _as_bytes(chunk: str | bytes | memoryview) -> bytes:
    return chunk.encode() if isinstance(chunk, str) else bytes(chunk)


async def _form(files: Iterable[BinaryIO], boundary: str) -> AsyncIterator[bytes]:
    for file in files:
        yield (
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="image"'
            "\r\n\r\n"
        ).encode()
        file.seek(0)
        while chunk := await run_sync(file.read, CHUNK):
            yield chunk
        yield b"\r\n"
    yield _end(boundary)


def _end(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()
