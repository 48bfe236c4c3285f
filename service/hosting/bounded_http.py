"""Connections of clients that are slow or never come to the point.

uvicorn waits without end for a request's headers, and keeps as many of them as come. A few thousand
connections that say nothing would take all that a process may have.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from http import HTTPStatus

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.hosting.departure import has_left
from service.hosting.ending import Ending
from service.hosting.framing import Framing
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

PIECE_BYTES = 32 * 1024
"""Of a body that are parsed before they are counted."""
HEAD_PIECE_BYTES = 1024
"""The same of heads: 40 requests, where a client sends the next before the last is answered."""
MAX_UNWANTED_BYTES = 1 << 20
"""Of a body that still comes when its request is answered."""
CLIENT_LEFT = "client_left"
"""Where a request's state says that its client has gone already, and nothing need be done."""

_TOO_LARGE = (
    f"the headers of a request may have {MAX_HEAD_BYTES // 1024} KiB, and so may trailers and "
    "extensions of chunks"
)
_TOO_SLOW = f"a trailer or the head of a chunk took longer than {HEAD_S:g} s"
_NOT_HTTP = "this is no HTTP/1.1 request: its first line or a header cannot be read"


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose headers come in time and in bounds, or the connection is closed.

    Where there is a deputy, it knows on which connections an answer is owed.
    """

    deputy: Represented | None = None
    """Of this process."""
    ending: Ending | None = None
    """Of this process."""
    _place: int | None = None
    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_body = False
    _body_left: int | None = None
    """Bytes of it that are still to come; None where its chunks say that."""
    _parsed_bytes = 0
    """Of the piece that is parsed now."""
    _unwanted_bytes = 0

    def connection_made(  # type: ignore[override]  # as in uvicorn: it is no other
        self, transport: asyncio.Transport
    ) -> None:
        """A client has come."""
        self._lingering = LingeringTransport(transport, lambda: self._in_body)
        self._framing = Framing()
        self._held: deque[memoryview] = deque()
        """What came behind requests that wait for their turn."""
        super().connection_made(self._lingering)  # type: ignore[arg-type]  # one in all but name
        self.timeout_keep_alive = max(self.timeout_keep_alive, KEEP_ALIVE_S)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._disarm()
        self._held.clear()
        if self.deputy and self._place is not None:
            self.deputy.leave(self._place)
            self._place = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes of it, in pieces: what one of them costs to parse, it costs once."""
        self._held.append(memoryview(data))
        self._parse()

    def _parse(self) -> None:
        """What is at hand, as long as no request waits for the answer to one before it.

        Otherwise a few hundred kilobytes would become ten thousand requests at once, which hold
        some kilobytes each, and the event loop while they are made.
        """
        while self._held and (not self.pipeline or self.transport.is_closing()):
            data = self._held.popleft()
            size = self._piece_bytes
            if len(data) > size:
                self._held.appendleft(data[size:])
            self._take(data[:size])
        if self._held:
            self.flow.pause_reading()

    @property
    def _piece_bytes(self) -> int:
        if not self._in_body:
            return HEAD_PIECE_BYTES
        if self._body_left is None:
            return PIECE_BYTES // 4
        return min(PIECE_BYTES, self._body_left + HEAD_PIECE_BYTES)

    def _take(self, data: memoryview) -> None:
        if self.transport.is_closing() and not self._lingering.is_draining:
            return
        if self._lingering.is_draining:
            self._lingering.drain(len(data))
            return
        self._parsed_bytes = len(data)
        if self._in_body:
            self._framing.received(len(data))
        else:
            self._expect_head()
            self._head_bytes += len(data)
        super().data_received(data)  # type: ignore[arg-type]  # its parser takes any buffer
        if self._in_body:
            is_too_large = self._framing.is_too_large
            self._watch_lines()
        else:
            is_too_large = self._head_bytes > MAX_HEAD_BYTES
        if is_too_large and not self.transport.is_closing():
            self._refuse(431, _TOO_LARGE)

    def shutdown(self) -> None:
        """The server takes no more requests."""
        if self.ending:
            self.ending.begin()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """What came is no request; uvicorn's own answer would be plain text."""
        self._refuse(400, _NOT_HTTP)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which says nothing to us: kept, it would pass for a header."""
        if self._in_body:
            self._framing.trailer()
        else:
            super().on_header(name, value)

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._framing.chunk()

    def on_chunk_complete(self) -> None:
        """A chunk has ended."""
        self._framing.chunk()

    def on_body(self, body: bytes) -> None:
        """Some content of a body."""
        self._framing.content(len(body))
        if self._body_left is not None:
            self._body_left -= len(body)
        super().on_body(body)
        if self.cycle.response_complete:
            self._unwanted_bytes += len(body)
            if self._unwanted_bytes > MAX_UNWANTED_BYTES:
                self.transport.close()

    def on_headers_complete(self) -> None:
        """The headers of a request have come to their end."""
        self._in_body = True
        self._body_left = self._content_length()
        self._framing.begin(self._head_bytes)
        self._unwanted_bytes = 0
        self._head_bytes = 0
        self._disarm()
        is_next = self.cycle is None or self.cycle.response_complete  # none before it is answered
        super().on_headers_complete()
        if self._client_has_left():
            self.scope["state"][CLIENT_LEFT] = self.cycle.disconnected = True
            self.transport.abort()
        elif self.deputy and is_next and self.scope["method"] != "HEAD":  # its answer has no body
            self._owe_answer(self.deputy)

    def on_message_complete(self) -> None:
        """And so has its body."""
        super().on_message_complete()
        self._in_body = False
        self._disarm()

    def on_response_complete(self) -> None:
        """An answer has been sent, and the next request has its turn."""
        self._note(IDLE)
        super().on_response_complete()
        self._parse()

    def _should_upgrade_to_ws(self) -> bool:
        """No: a request to upgrade is answered as what it is otherwise."""
        return False

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing is to be warned of."""

    def _watch_lines(self) -> None:
        """A line of a body's framing has as long as the head of a request."""
        if self._framing.is_within_a_line:
            self._expect_head()
        else:
            self._disarm()

    def _content_length(self) -> int | None:
        if any(name == b"transfer-encoding" for name, _ in self.headers):
            return None
        return next((int(value) for name, value in self.headers if name == b"content-length"), 0)

    def _client_has_left(self) -> bool:
        if self.scheme != "http":
            return False
        missing = (self._body_left or 0) - self._parsed_bytes - sum(map(len, self._held))
        return has_left(self.transport.get_extra_info("socket"), missing)

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
        """Answer in the application's place, and hang up."""
        if self.cycle is not None and not self.cycle.response_complete:  # it works on a request
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        request_id = uuid.uuid4().hex
        body = json.dumps(problem(status, detail)).encode() + b"\n"
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\nx-content-type-options: nosniff\r\n"
            "cache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self._lingering.take_no_more_than(MAX_UNWANTED_BYTES)
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
        if self._in_body:
            self._refuse(408, _TOO_SLOW)
        elif self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # what came is a stray line, or the next request, while this one is worked on
            self._expect_head()


def bound_connections(ending: Ending) -> int:
    """Let the server of this process, which is still to be configured, use these bounds.

    Returns how many requests of processes that died before were answered by the deputy.
    """
    BoundedProtocol.ending = ending
    BoundedProtocol.deputy = deputy = represented()
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedProtocol.__name__}"
    return deputy.answered if deputy else 0
