"""The images of a request, streamed to unnamed temporary files, never kept in memory."""

import shutil
import tempfile
import zipfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

import anyio
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.datastructures import FormData
from starlette.requests import Request

from seg.dicomweb.instances import PartsZip
from seg.dicomweb.multipart import MultipartReader, PartSink, boundary_of
from seg.images.storage.folders import MAX_FILES
from service.problems.response import Problem
from service.requests.addresses import UrlImages
from service.requests.forms import whole_form

FIELD = "image"
"""Form field of the files of one image: one a channel, or one for all."""
SEVERAL = "images"
"""Form field of files that are an image each."""
ADDRESS, ADDRESSES = "url", "urls"
"""The same of files that are fetched."""
IN_MEMORY = 1 << 20
"""Bytes up to which a body stays in memory."""

Images = list[list[BinaryIO]]
"""The files of each image, one a channel or one for all."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """How the images of requests come in."""

    urls: UrlImages
    seconds: float
    """Within which those that are fetched must have come."""
    most_bytes: int
    """Of all files that are fetched for a request."""

    @asynccontextmanager
    async def images_of(self, request: Request) -> AsyncIterator[Images]:
        """The images of a request, in order: parts of a form, or the body itself.

        What a client says about names and content types is not used: content decides. What is done
        with the images may take longer than their upload.

        Raises:
            Problem: there is no image, or the form has other fields; or as `UrlImages.fetch` does.
        """
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        with ExitStack() as files:
            if content_type == "multipart/form-data":
                async with whole_form(request) as form:
                    yield await self._images_in(request, form, files)
                return
            if content_type == "multipart/related":
                yield [[await _related(request, files)]]
                return
            file = files.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY))
            async for chunk in request.stream():
                file.write(chunk)
            if not file.tell():
                raise Problem(422, "the request has no image; send one: curl -F image=@FILE")
            file.seek(0)
            yield [[file]]  # type: ignore[list-item]  # it is a BinaryIO in all but name

    async def _images_in(self, request: Request, form: FormData, files: ExitStack) -> Images:
        channels: list[BinaryIO] = []
        several: Images = []
        left = self.most_bytes
        until = anyio.current_time() + self.seconds
        for name, value in form.multi_items():
            if isinstance(value, str) and name in (ADDRESS, ADDRESSES):
                file, size = await self._fetched(value, left, until, request, files)
                left -= size
            elif not isinstance(value, str) and name in (FIELD, SEVERAL):
                file = value.file
            elif name in (FIELD, SEVERAL):
                raise Problem(
                    422,
                    f"the field {name} has no file name and so holds text; send a file: curl -F "
                    f"{name}=@FILE",
                )
            else:
                raise Problem(
                    422,
                    "a form holds the files of one image in fields named image (curl -F "
                    "image=@FILE), or one image each in fields named images; options belong into "
                    "the query",
                )
            if name in (FIELD, ADDRESS):
                channels.append(file)
            else:
                several.append([file])
        if channels and several:
            raise Problem(
                422,
                "a form has fields named image, the files of one image, or fields named images, an "
                "image each; this one has both",
            )
        if not channels and not several:
            raise Problem(422, "the form has no image; send one: curl -F image=@FILE")
        return several or [channels]

    async def _fetched(
        self, url: str, most_bytes: int, until: float, request: Request, files: ExitStack
    ) -> tuple[BinaryIO, int]:
        reserve = request.scope.get("state", {}).get("reserve", lambda _: None)
        file = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  the stack closes it
        seconds = until - anyio.current_time()
        size = await self.urls.fetch(url, file, most_bytes, reserve, seconds=seconds)
        file.seek(0)
        return file, size


async def _related(request: Request, files: ExitStack) -> BinaryIO:
    """The one part of a ``multipart/related``, or a ZIP file of its parts, as DICOMweb sends them.

    Raises:
        Problem: 400, the body is none, or cut off; 422, it has no part.
    """
    packed = files.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115
    sink = PartsZip(packed)
    files.callback(sink.close)  # of a body that is cut off too, before the file is
    await read_related(request, sink)
    await run_sync(sink.close)
    if not sink.count:
        raise Problem(422, "the multipart/related body has no part; send the instances of a series")
    packed.seek(0)
    if sink.count > 1:
        return packed  # type: ignore[return-value]  # it is a BinaryIO in all but name
    only = files.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115
    with zipfile.ZipFile(packed) as archive, archive.open(archive.infolist()[0]) as part:
        await run_sync(shutil.copyfileobj, part, only, 1 << 20)
    only.seek(0)
    return only  # type: ignore[return-value]  # likewise


class _Counted:
    """A sink that takes so many parts and no more."""

    def __init__(self, sink: PartSink) -> None:
        self._sink, self._count = sink, 0
        self.write, self.end = sink.write, sink.end

    def begin(self, headers: Mapping[str, str]) -> None:
        self._count += 1
        if self._count > MAX_FILES:
            raise Problem(413, f"a body has {MAX_FILES:,} parts at most")
        self._sink.begin(headers)


async def read_related(
    request: Request, sink: PartSink, limiter: CapacityLimiter | None = None
) -> None:
    """Hand the parts of a ``multipart/related`` body to a sink, in a thread.

    Args:
        request: whose body it is.
        sink: takes them.
        limiter: of threads; None is that of all.

    Raises:
        Problem: 400, the body is none, or cut off; 413, it has too many parts.
    """
    boundary = boundary_of(request.headers.get("content-type", ""))
    if boundary is None:
        raise Problem(400, "multipart/related needs a boundary of 200 letters at most")
    reader = MultipartReader(boundary, _Counted(sink))
    async for chunk in request.stream():
        try:
            await run_sync(reader.feed, chunk, limiter=limiter)
        except ValueError:
            raise Problem(400, "the body is not multipart as its boundary says") from None
    if not reader.is_whole:
        raise Problem(400, "the body is cut off, it lacks its last boundary; send it whole")
