"""Forms that are whole, and take little memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from service.problems.response import Problem
from service.requests.open_files import OPEN_FILES

MAX_FILES = 64
"""Of a form, and as many other fields."""
MOST_TEXT = 1 << 20
"""Bytes of all fields of a form that are no files."""
IN_MEMORY = 1 << 20
"""Bytes of a form's files that stay in memory; what comes after them lies on disk."""
MANY_PARTS = 8
"""In a block that came; then it is parsed in pieces, and others have their turn in between."""
PIECE = 2048


class _TextTooLongError(Exception):
    """Fields that are no files have more than they may."""


class _Form(MultiPartParser):
    """Knows whether its end came: the parser itself takes what it has got by then for all."""

    is_whole = False
    files = 0
    _text = 0
    _kept = 0
    """Bytes of files that stay in memory."""
    _size = 0
    """Of the part that comes."""

    def on_headers_finished(self) -> None:
        """A part begins."""
        self._size = 0
        self.spool_max_size = max(1, IN_MEMORY - self._kept)
        super().on_headers_finished()
        if self._current_part.file is not None:
            OPEN_FILES.add()
            self.files += 1

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Some of its content."""
        self._size += end - start
        if self._current_part.file is None:
            self._text += end - start
            if self._text > self.max_part_size:
                raise _TextTooLongError
        super().on_part_data(data, start, end)

    def on_part_end(self) -> None:
        """It is there."""
        if self._current_part.file is not None and self._size <= self.spool_max_size:
            self._kept += self._size
        super().on_part_end()

    def on_end(self) -> None:
        """The last boundary came."""
        self.is_whole = True


def is_form(request: Request) -> bool:
    """Whether a request says that its body is a form."""
    content_type = request.headers.get("content-type", "").partition(";")[0]
    return content_type.strip().lower() == "multipart/form-data"


@asynccontextmanager
async def whole_form(
    request: Request, most_text: int = MOST_TEXT, most_files: int = MAX_FILES
) -> AsyncIterator[FormData]:
    """The fields of a form.

    Args:
        request: whose body it is.
        most_text: bytes of all fields that are no files.
        most_files: of the form.

    Raises:
        Problem: 400, the body is no form, or one that is cut off; 413, the fields that are no files
            are too long; 415, it does not say that it is one; 503, all forms together have too many
            files.
    """
    if not is_form(request):
        raise Problem(415, "this takes a form, multipart/form-data: curl -F NAME=@FILE sends one")
    parser = _Form(
        request.headers,
        _in_turns(request.stream()),
        max_files=most_files,
        max_fields=MAX_FILES,
        max_part_size=most_text,
    )
    try:
        form = await _parsed(parser, most_text)
        try:
            if not parser.is_whole:
                raise Problem(400, "the form is cut off, it lacks its last boundary; send it whole")
            yield form
        finally:
            await form.close()
    finally:
        OPEN_FILES.add(-parser.files)


async def _parsed(parser: _Form, most_text: int) -> FormData:
    try:
        return await parser.parse()
    except _TextTooLongError:
        raise Problem(
            413,
            f"fields without a file name may have {most_text >> 10} KiB together; send images as "
            "files: curl -F image=@FILE",
        ) from None
    except MultiPartException as error:
        raise Problem(400, f"the form cannot be read: {error.message}") from None


async def _in_turns(stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """A block of many small parts costs a hundred times what one of an image does."""
    async for block in stream:
        if block.count(b"\r\n--") <= MANY_PARTS:
            yield block
            continue
        for start in range(0, len(block), PIECE):
            yield block[start : start + PIECE]
            await asyncio.sleep(0)
