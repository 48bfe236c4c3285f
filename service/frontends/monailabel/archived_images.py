"""Series that OHIF names by their SeriesInstanceUID, fetched from the archives of the operator."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import IO, BinaryIO

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import Request

from seg.dicomweb.addresses import is_uid
from seg.errors import NotInArchiveError
from service.archives.sources import Sources
from service.middleware.caller import may
from service.problems.response import Problem
from service.settings import Settings

SIDE_BY_SIDE = 2
"""Series that are fetched at the same time."""


class ArchivedImages:
    """What lies in the archives of ``SEG_DICOMWEB``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sources = Sources.parsed(settings.dicomweb)
        self._limiter = CapacityLimiter(SIDE_BY_SIDE)

    def may_have(self, identity: str) -> bool:
        """An image of that name could be a series of an archive."""
        return bool(self._sources.roots) and is_uid(identity)

    @asynccontextmanager
    async def opened(self, request: Request, series: str) -> AsyncIterator[BinaryIO]:
        """A series as a ZIP file, gone when it is done with.

        Raises:
            Problem: 403, the key may not fetch; 504, it takes too long.
            ArchiveError: no archive gives it.
            ImageTooLargeError: it is larger than a body may be.
        """
        if not may(request.scope, "jobs"):
            raise Problem(
                403, "this key lacks the scope jobs, which fetching from an archive needs"
            )
        with tempfile.TemporaryFile() as file:
            await run_sync(self._fetch, series, file, limiter=self._limiter)
            file.seek(0)
            yield file

    def _fetch(self, series: str, target: IO[bytes]) -> None:
        """From the first archive that has it, in the order in which they are listed."""
        settings = self._settings
        until = monotonic() + settings.timeout_s

        def check(_: int) -> None:
            if monotonic() > until:
                raise Problem(504, f"the archive took longer than {settings.timeout_s:g} s")

        last: NotInArchiveError | None = None
        for name in self._sources.roots:
            with self._sources.reached(name) as archive:
                try:
                    (facts,) = archive.series(None, series)
                except NotInArchiveError as error:
                    last = error
                    continue
                archive.retrieve(facts, target, settings.max_body_bytes, check)
                return
        assert last is not None
        raise last
