"""Bodies of requests: received within limits, unpacked, and parted into JSON and tensors' bytes."""

import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import BinaryIO

import anyio
from starlette.requests import Request

from service.problems.response import Problem
from service.requests.bodies import require_fits, spooled
from service.requests.numbers import whole_number
from service.requests.uploads import IN_MEMORY

LENGTH_HEADER = "Inference-Header-Content-Length"
"""Bytes of JSON at the begin of a body; what follows are the bytes of tensors."""
MOST_JSON = 64 * 1024
"""Bytes of JSON before the bytes of tensors."""
PACKED = ("gzip", "deflate")
_EITHER = 32 + zlib.MAX_WBITS
_PIECE = 1 << 18


@asynccontextmanager
async def body_of(request: Request, most: int) -> AsyncIterator[BinaryIO]:
    """The body of a request, unpacked where it is compressed, wound back.

    Args:
        request: whose body it is.
        most: bytes, unpacked.

    Raises:
        Problem: 413, it is longer; 415, 422, it cannot be unpacked.
    """
    async with spooled(partial(_receive, request, most)) as file:
        yield file


async def _receive(request: Request, most: int, target: BinaryIO) -> None:
    packing = request.headers.get("content-encoding", "identity").strip().lower()
    if packing not in (*PACKED, "identity"):
        raise Problem(415, f"a body comes as it is or as {' or '.join(PACKED)}")
    too_long = f"a request of this model has {most / 1e6:.3g} MB at most, this one has more"
    unpacking = None if packing == "identity" else zlib.decompressobj(_EITHER)
    # The gate counts what comes, which is less than what is kept of it.
    reserve = request.scope.get("state", {}).get("reserve", lambda _: None)
    async for chunk in request.stream():
        for piece in [chunk] if unpacking is None else _unpacked(unpacking, chunk):
            require_fits(piece, target, most, too_long)
            if unpacking is not None:
                reserve(len(piece))
                await anyio.sleep(0)  # a few bytes may become many: others have their turn
            target.write(piece)
    if unpacking is not None and (not unpacking.eof or unpacking.unused_data):
        raise Problem(422, f"the {packing} body is cut, or something follows its end")


def _unpacked(unpacking: "zlib._Decompress", chunk: bytes) -> Iterator[bytes]:
    while chunk and not unpacking.eof:
        try:
            piece = unpacking.decompress(chunk, _PIECE)
        except zlib.error:
            raise Problem(422, "the body is not packed as its Content-Encoding says") from None
        yield piece
        chunk = unpacking.unconsumed_tail


def kept(source: BinaryIO, size: int, files: ExitStack) -> BinaryIO:
    """So many bytes in a file of their own, wound back: in memory as long as they are few."""
    spooled = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  the stack closes it
    file: BinaryIO = files.enter_context(spooled)  # type: ignore[assignment]  # in all but name
    while size > 0 and (piece := source.read(min(size, _PIECE))):
        file.write(piece)
        size -= len(piece)
    file.seek(0)
    return file


def json_length(request: Request, body: BinaryIO) -> int | None:
    """Bytes of JSON at the begin of a body; None where all of it is JSON, 0 where none is.

    Raises:
        Problem: 400, the header is wrong; 413, there is too much.
    """
    told = request.headers.get(LENGTH_HEADER)
    if told is None:
        return None
    size = body.seek(0, 2)
    body.seek(0)
    length = whole_number(told)
    if length is None or length > size:
        raise Problem(
            400, f"{LENGTH_HEADER} is how many of the body's {size} bytes are JSON, not {told[:40]}"
        )
    if MOST_JSON < length < size:
        raise Problem(413, f"the JSON before the bytes of tensors has {MOST_JSON} bytes at most")
    return length
