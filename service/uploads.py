"""The image files of a request, streamed to unnamed temporary files, never kept in memory."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

from starlette.datastructures import FormData
from starlette.requests import Request

from service.problems import Problem

FIELD = "image"
MAX_FILES = 64
IN_MEMORY = 1 << 20
"""Bytes up to which a body stays in memory."""


@asynccontextmanager
async def uploaded_files(request: Request) -> AsyncIterator[list[BinaryIO]]:
    """The files of a request, in order: the ``image`` parts of a form, or the body itself.

    What a client says about names and content types is not used: content decides.

    Raises:
        Problem: there is no image, or the form has other fields.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        async with request.form(max_files=MAX_FILES, max_fields=MAX_FILES) as form:
            yield _images(form)
        return
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        async for chunk in request.stream():
            file.write(chunk)
        if not file.tell():
            raise Problem(422, "the request has no image; send one: curl -F image=@FILE")
        file.seek(0)
        yield [file]  # type: ignore[list-item]  # it is a BinaryIO in all but name


def _images(form: FormData) -> list[BinaryIO]:
    files: list[BinaryIO] = []
    for name, value in form.multi_items():
        if name != FIELD or isinstance(value, str):
            raise Problem(
                422, "a form holds image files in fields named image only: curl -F image=@FILE"
            )
        files.append(value.file)
    if not files:
        raise Problem(422, "the form has no image; send one: curl -F image=@FILE")
    return files
