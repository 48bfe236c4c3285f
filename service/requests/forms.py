"""Forms that are whole."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from service.problems.response import Problem

MAX_FILES = 64
"""Of a form, and as many other fields."""


class _Form(MultiPartParser):
    """Knows whether its end came: the parser itself takes what it has got by then for all."""

    is_whole = False

    def on_end(self) -> None:
        """The last boundary came."""
        self.is_whole = True


@asynccontextmanager
async def whole_form(
    request: Request, most_text: int = 1 << 20, most_files: int = MAX_FILES
) -> AsyncIterator[FormData]:
    """The fields of a form.

    Args:
        request: whose body it is.
        most_text: bytes of a field that is no file.
        most_files: of the form.

    Raises:
        Problem: 400, the body is no form, or one that is cut off; 413, a field that is no file is
            too long.
    """
    parser = _Form(
        request.headers,
        request.stream(),
        max_files=most_files,
        max_fields=MAX_FILES,
        max_part_size=most_text,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Part exceeded"):
            raise Problem(
                413,
                f"a field without a file name may have {most_text >> 10} KiB; send images as "
                "files: curl -F image=@FILE",
            ) from None
        raise Problem(400, f"the form cannot be read: {error.message}") from None
    try:
        if not parser.is_whole:
            raise Problem(400, "the form is cut off, it lacks its last boundary; send it whole")
        yield form
    finally:
        await form.close()
