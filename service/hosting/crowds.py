"""HttpToolsProtocols that hold something, of which a process keeps so many: the oldest makes room.

Whoever opens thousands of them and says or reads nothing would otherwise have all open files and
all memory. Those of other clients come on within moments, so it is not they who wait longest.
"""

import asyncio
import resource
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

MOST_WAITING = 10_000
"""HttpToolsProtocols without a request, at 5 kB; or half of the files that the process may open."""
MOST_LONG_HEADS = 512
"""Heads beyond `LONG_HEAD_BYTES` that are not complete, at 64 KiB."""
LONG_HEAD_BYTES = 8 * 1024
MOST_UNREAD = 256
"""Answers that are not read as fast as they are sent, at 64 KiB here and as much in the system."""
MOST_PILED = 256
"""Requests behind others that are not answered yet, at 256 KB."""


UNSENT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
UNSENT_BYTES = 64 * 1024
"""That the system takes of an answer before they are sent; by itself it keeps megabytes."""
SEND_S = 60.0
"""Seconds that a client may read nothing of what is sent to it."""


class Crowd:
    """Some connections of this process, in the order in which they came."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._inside: dict[HttpToolsProtocol, None] = {}

    def enter(self, connection: HttpToolsProtocol) -> None:
        """One more; one that is inside already keeps its place."""
        self._inside.setdefault(connection)
        if len(self._inside) > self.most:
            oldest = next(iter(self._inside))
            del self._inside[oldest]
            oldest.transport.abort()

    def leave(self, connection: HttpToolsProtocol) -> None:
        """It came on, or has gone."""
        self._inside.pop(connection, None)


class Crowds:
    """All of a process."""

    def __init__(self) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        has_bound = files != resource.RLIM_INFINITY
        self.waiting = Crowd(min(MOST_WAITING, files // 2) if has_bound else MOST_WAITING)
        self.long_heads = Crowd(MOST_LONG_HEADS)
        self.unread = Crowd(MOST_UNREAD)
        self.piled = Crowd(MOST_PILED)

    def forget(self, connection: HttpToolsProtocol) -> None:
        """It has gone."""
        for crowd in (self.waiting, self.long_heads, self.unread, self.piled):
            crowd.leave(connection)


class CrowdedProtocol(HttpToolsProtocol):
    """HTTP/1.1 on one of many connections that wait for each other's room."""

    crowds = Crowds()
    """Of this process."""
    _unread_timer: asyncio.TimerHandle | None = None
    _answered: RequestResponseCycle | None = None
    """What is worked on; others may have come behind it."""

    def connection_made(  # type: ignore[override]  # as in uvicorn: it is no other
        self, transport: asyncio.Transport
    ) -> None:
        """A client has come."""
        # So that we know what nobody reads. Not 0: TLS would wait for what is sent already.
        transport.set_write_buffer_limits(high=1)
        if UNSENT and (connection := transport.get_extra_info("socket")):
            with suppress(OSError):  # no TCP
                connection.setsockopt(socket.IPPROTO_TCP, UNSENT, UNSENT_BYTES)
        super().connection_made(transport)
        self.crowds.waiting.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self.crowds.forget(self)
        self._forget_timer()
        self.pipeline.clear()
        if self._answered is not None:  # uvicorn tells it only to the request that came last
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is sent to."""
        super().pause_writing()
        self.crowds.unread.enter(self)
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(SEND_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read all of it, or has gone."""
        self.crowds.unread.leave(self)
        self._forget_timer()
        super().resume_writing()

    def on_headers_complete(self) -> None:
        """A request has come, but for its body."""
        self.crowds.waiting.leave(self)
        self.crowds.long_heads.leave(self)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """An answer has been sent."""
        self.crowds.waiting.enter(self)
        super().on_response_complete()

    def _forget_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        self._answered = cycle
        self.crowds.waiting.leave(self)
        super()._start_asgi_task(cycle, app)
