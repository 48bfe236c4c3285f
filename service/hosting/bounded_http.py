"""Connections of clients that are slow or never come to the point.

uvicorn waits without end for a request's headers, and keeps as many of them as come. A few thousand
connections that say nothing would take all that a process may have.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from http import HTTPStatus

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.hosting.lingering import LingeringTransport
from service.hosting.stand_in import ANSWER_BEGINS, ANSWERING, ASKED, IDLE, Represented, represented
from service.observability.logs import LOGGER
from service.problems.document import MEDIA_TYPE, problem

HEAD_S = 10.0
"""Seconds from a connection's begin, or a request's first byte, to the end of its headers."""
KEEP_ALIVE_S = 75
"""Seconds that a connection may be idle between requests: longer than clients (httpx 5 s) and load
balancers (60 s) keep theirs. Where both give up at the same time, as with uvicorn's own 5 s, a
request that is on its way meets a closed connection."""
MAX_HEAD_BYTES = 64 * 1024

_TOO_LARGE = f"the headers of a request may have {MAX_HEAD_BYTES // 1024} KiB"
_NOT_HTTP = "this is no HTTP/1.1 request: its first line or a header cannot be read"


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose headers come in time and in bounds, or the connection is closed.

    Where there is a deputy, it knows on which connections an answer is owed.
    """

    deputy: Represented | None = None
    """Of this process."""
    _place: int | None = None
    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_body = False

    def connection_made(  # type: ignore[override]  # as in uvicorn: it is no other
        self, transport: asyncio.Transport
    ) -> None:
        """A client has come."""
        self._lingering = LingeringTransport(transport, lambda: self._in_body)
        super().connection_made(self._lingering)  # type: ignore[arg-type]  # one in all but name
        self.timeout_keep_alive = max(self.timeout_keep_alive, KEEP_ALIVE_S)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._disarm()
        if self.deputy and self._place is not None:
            self.deputy.leave(self._place)
            self._place = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes of it."""
        if self._lingering.is_draining:
            self._lingering.drain(len(data))
            return
        if not self._in_body:
            self._expect_head()
            self._head_bytes += len(data)
        super().data_received(data)
        is_too_large = not self._in_body and self._head_bytes > MAX_HEAD_BYTES
        if is_too_large and not self.transport.is_closing():
            self._refuse(431, _TOO_LARGE)

    def send_400_response(self, msg: str) -> None:
        """What came is no request; uvicorn's own answer would be plain text."""
        self._refuse(400, _NOT_HTTP)

    def on_headers_complete(self) -> None:
        """The headers of a request have come to their end."""
        self._in_body = True
        self._head_bytes = 0
        self._disarm()
        is_next = self.cycle is None or self.cycle.response_complete  # none before it is answered
        super().on_headers_complete()
        if self.deputy and is_next and self.scope["method"] != "HEAD":  # its answer has no body
            self._owe_answer(self.deputy)

    def on_message_complete(self) -> None:
        """And so has its body."""
        super().on_message_complete()
        self._in_body = False

    def on_response_complete(self) -> None:
        """An answer has been sent."""
        self._note(IDLE)
        super().on_response_complete()

    def _owe_answer(self, deputy: Represented) -> None:
        if self._place is None and self.scheme == "http":
            self._place = deputy.enter(self.transport.get_extra_info("socket").fileno())
        if self._place is not None:
            self._note(ASKED)
            self.scope["state"][ANSWER_BEGINS] = lambda: self._note(ANSWERING)

    def _note(self, state: int) -> None:
        if self.deputy and self._place is not None:
            self.deputy.states[self._place] = state

    def _refuse(self, status: int, detail: str) -> None:
        """Answer before there is a request that the application could answer, and hang up."""
        request_id = uuid.uuid4().hex
        body = json.dumps(problem(status, detail)).encode() + b"\n"
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\nx-content-type-options: nosniff\r\n"
            "cache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
        fields = {"route": "unknown", "request_id": request_id, "status": status}
        LOGGER.info("request", extra={"fields": fields})

    def _expect_head(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(HEAD_S, self._give_up)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # what came is a stray line, or the next request, while this one is worked on
            self._expect_head()


def bound_connections() -> int:
    """Let the server of this process, which is still to be configured, use these bounds.

    Returns how many requests of processes that died before were answered by the deputy.
    """
    BoundedProtocol.deputy = deputy = represented()
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedProtocol.__name__}"
    return deputy.answered if deputy else 0
