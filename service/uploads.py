"""The images of a request, streamed to unnamed temporary files, never kept in memory."""

import math
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

import anyio
from starlette.datastructures import FormData
from starlette.requests import Request

from service.problems import Problem

FIELD = "image"
"""Form field of the files of one image: one a channel, or one for all."""
SEVERAL = "images"
"""Form field of files that are an image each."""
MAX_FILES = 64
IN_MEMORY = 1 << 20
"""Bytes up to which a body stays in memory."""

Images = list[list[BinaryIO]]
"""The files of each image, one a channel or one for all."""


@asynccontextmanager
async def uploaded_in_time(request: Request, seconds: float) -> AsyncIterator[Images]:
    """As `uploaded_images`; what is done with them may take longer than their upload.

    Raises:
        Problem: 408, they did not arrive within ``seconds``; or as `uploaded_images` does.
    """
    with anyio.move_on_after(seconds) as upload:
        async with uploaded_images(request) as images:
            upload.deadline = math.inf
            yield images
            return
    raise Problem(408, "the image did not arrive in time", {"Connection": "close"})


@asynccontextmanager
async def uploaded_images(request: Request) -> AsyncIterator[Images]:
    """The images of a request, in order: parts of a form, or the body itself.

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
        yield [[file]]  # type: ignore[list-item]  # it is a BinaryIO in all but name


def _images(form: FormData) -> Images:
    channels: list[BinaryIO] = []
    several: Images = []
    for name, value in form.multi_items():
        if name not in (FIELD, SEVERAL) or isinstance(value, str):
            raise Problem(
                422,
                "a form holds the files of one image in fields named image (curl -F image=@FILE), "
                "or one image each in fields named images; options belong into the query",
            )
        if name == FIELD:
            channels.append(value.file)
        else:
            several.append([value.file])
    if channels and several:
        raise Problem(
            422,
            "a form has fields named image, the files of one image, or fields named images, an "
            "image each; this one has both",
        )
    if not channels and not several:
        raise Problem(422, "the form has no image; send one: curl -F image=@FILE")
    return several or [channels]
