"""Connections of clients that are slow or never come to the point.

uvicorn waits without end for a request's headers, and keeps as many of them as come. A few thousand
connections that say nothing would take all that a process may have.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping
from types import MappingProxyType

import uvicorn.config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from service.hosting.crowds import LONG_HEAD_BYTES, CrowdedProtocol
from service.hosting.departure import has_left
from service.hosting.entrance.door import new_loop
from service.hosting.entrance.turns import CROWDED, PROBE_BYTES, is_probe, turns_of
from service.hosting.framing import Framing
from service.hosting.head import MAX_HEAD_BYTES, TOO_LARGE, HeadCount
from service.hosting.lingering import LingeringTransport
from service.hosting.refusal import refusal
from service.hosting.stand_in import ANSWER_BEGINS, ANSWERING, ASKED, IDLE, Represented, represented
from service.hosting.unparsed import Unparsed

HEAD_S = 10.0
"""Seconds from a connection's begin, or a request's first byte, to the end of its headers."""
KEEP_ALIVE_S = 75
"""Seconds that a connection may be idle between requests: longer than clients (httpx 5 s) and load
balancers (60 s) keep theirs. Where both give up at the same time, as with uvicorn's own 5 s, a
request that is on its way meets a closed connection."""
SWITCH_S = 0.001
"""Seconds for which a thread may keep the interpreter from the event loop: with Python's own 5 ms
a probe waits that long for each of the threads that compute."""
PIECE_BYTES = 32 * 1024
"""Of a body that are parsed before they are counted."""
SMALL_PIECE_BYTES = 1024
"""The same of heads: 40 requests, where a client sends the next before the last is answered; and of
bodies in small chunks, each of which costs as much as a large one."""
END_OF_HEAD = b"\r\n\r\n"
MANY_CHUNKS = 32
"""In a piece; then others have their turn before the next."""
MAX_UNWANTED_BYTES = 1 << 20
"""Of a body that still comes when its request is answered."""
CLIENT_LEFT = "client_left"
"""What in a request's state tells whether its client has gone already, and nothing need be done."""
TARGET = "target"
"""What is asked for, in a request's state, where that is more than a path."""

_TOO_FINE = "a body comes in fewer chunks: join them before they are sent"
_TOO_SLOW = f"a trailer or the head of a chunk took longer than {HEAD_S:g} s"
_NOT_HTTP = "this is no HTTP/1.1 request: its first line or a header cannot be read"


_UPGRADE = re.compile(rb"(?i)\nupgrade(?=[ \t]*:(?![^\r\n]*websocket))")
"""Begins with a letter that is found fast: every piece of a head is searched."""
_NO_UPGRADE = b"\nx-grade"


def without_upgrade(head: memoryview) -> memoryview:
    """The piece with another name for ``Upgrade``, which a server may pass over (RFC 9110, 7.8).

    That to a websocket stays: it is refused in a sentence.

    Java's client and ``curl --http2`` offer HTTP/2 with every request. The parser would take the
    body that follows for that other protocol, and the request would have none.
    """
    if not _UPGRADE.search(head):
        return head
    lines = bytes(head).partition(END_OF_HEAD)[0]
    return memoryview(_UPGRADE.sub(_NO_UPGRADE, lines) + bytes(head[len(lines) :]))


class BoundedProtocol(CrowdedProtocol):
    """HTTP/1.1 whose headers come in time and in bounds, or the connection is closed.

    Where there is a deputy, it knows on which connections an answer is owed.
    """

    deputy: Represented | None = None
    """Of this process."""
    _place: int | None = None
    _timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_body = False
    _body_left: int | None = None
    """Bytes of it that are still to come; None where its chunks say that."""
    _parsed_bytes = 0
    """Of the piece that is parsed now."""
    _unwanted_bytes = 0
    _is_refused = False
    _is_taken_up = False
    """Whether the request that is at hand has had its turn."""
    _is_fine = False
    """Whether the last piece was many small chunks."""

    def connection_made(  # type: ignore[override]  # as in uvicorn: it is no other
        self, transport: asyncio.Transport
    ) -> None:
        """A client has come."""
        self._lingering = LingeringTransport(transport, self._is_sending)
        self._framing, self._head = Framing(), HeadCount()
        self._unparsed = Unparsed()
        self._turns = turns_of(self.loop)
        super().connection_made(self._lingering)  # type: ignore[arg-type]  # one in all but name
        self.timeout_keep_alive = max(self.timeout_keep_alive, KEEP_ALIVE_S)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._disarm()
        self._turns.forget(self)
        self._unparsed.clear()
        if self.deputy and self._place is not None:
            self.deputy.leave(self._place)
            self._place = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes of it, in pieces: what one of them costs to parse, it costs once."""
        self._unparsed.add(data)
        self._parse()

    def _parse(self) -> None:
        """What is at hand, as long as no request waits for the answer to one before it.

        Otherwise a few hundred kilobytes would become ten thousand requests at once, which hold
        some kilobytes each, and the event loop while they are made.
        """
        while self._unparsed and (not self.pipeline or self.transport.is_closing()):
            if not self._has_turn():
                self.flow.pause_reading()
                return
            before = self._framing.chunks
            self._take(self._unparsed.piece(self._piece_bytes))
            self._is_fine = self._framing.chunks - before > MANY_CHUNKS
            if self._is_fine and self._unparsed:
                self.flow.pause_reading()
                self.loop.call_soon(self._parse_on)
                return
        if self._unparsed:
            self.flow.pause_reading()
            self.crowds.piled.enter(self)
        else:
            self.crowds.piled.leave(self)

    def _has_turn(self) -> bool:
        """Whether the request that is at hand may be begun, or has been."""
        if self._is_taken_up or self._in_body or self._is_refused or self.transport.is_closing():
            return True
        self._is_taken_up = self._turns.take(self, probe=is_probe(self._unparsed.head(PROBE_BYTES)))
        if not self._is_taken_up:
            self._disarm()
        return self._is_taken_up

    def let_in(self) -> None:
        """The connection had its turn at the door, and so has its first request."""
        self._is_taken_up = True

    def on_turn(self) -> None:
        """The request that waits may be begun."""
        self._is_taken_up = True
        self._parse_on()

    def on_crowded_out(self) -> None:
        """Too many wait."""
        self._unparsed.clear()
        self._refuse(503, CROWDED, {"Retry-After": "1"})

    def _parse_on(self) -> None:
        self._parse()
        is_full = self.cycle is not None and len(self.cycle.body) > HIGH_WATER_LIMIT
        if not (self._unparsed or is_full or self.transport.is_closing()):
            self.flow.resume_reading()

    @property
    def _piece_bytes(self) -> int:
        if self._is_fine:
            return SMALL_PIECE_BYTES
        if not self._in_body:
            is_one = self._unparsed.has_few(END_OF_HEAD, PIECE_BYTES // 4)
            return PIECE_BYTES // 4 if is_one else SMALL_PIECE_BYTES
        if self._body_left is None:
            return PIECE_BYTES // 4
        return min(PIECE_BYTES, self._body_left + SMALL_PIECE_BYTES)

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
            data = without_upgrade(data)
        super().data_received(data)  # type: ignore[arg-type]  # its parser takes any buffer
        if self._in_body:
            is_too_large = self._framing.is_too_large
            self._watch_lines()
        else:
            is_too_large = self._head_bytes > MAX_HEAD_BYTES
            if self._head_bytes > LONG_HEAD_BYTES:
                self.crowds.long_heads.enter(self)
        if self.transport.is_closing():
            return
        if is_too_large:
            self._refuse(431, TOO_LARGE)
        elif self._in_body and self._framing.is_too_fine:
            self._refuse(400, _TOO_FINE)

    def send_400_response(self, msg: str) -> None:
        """What came is no request; uvicorn's own answer would be plain text."""
        refused = self._head.refused
        self._refuse(*(refused.status, refused.detail) if refused else (400, _NOT_HTTP))

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = HeadCount()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Some of its address."""
        self._head.target(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which says nothing to us: kept, it would pass for a header."""
        if self._in_body:
            self._framing.trailer()
        else:
            self._head.header(len(name) + len(value))
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
        self._is_taken_up = False
        is_next = self.cycle is None or self.cycle.response_complete  # none before it is answered
        super().on_headers_complete()
        cycle = self.cycle
        if not self.url.startswith(b"/"):
            self.scope["state"][TARGET] = self.url
        self.scope["state"][CLIENT_LEFT] = lambda: self._has_left_for_good(cycle)
        if self._client_has_left((self._body_left or 0) - self._parsed_bytes):
            self._let_go(cycle)
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
        """No; see ``without_upgrade``, which a name in two pieces escapes."""
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

    def _has_left_for_good(self, cycle: RequestResponseCycle) -> bool:
        """Whether nobody waits for an answer, asked when it is begun with.

        That a body in chunks is not whole is known when all that came of it was parsed.
        """
        if cycle.disconnected:
            return True
        is_last = cycle is self.cycle and cycle.more_body and self._body_left is None
        if is_last and self._client_has_left(1):
            self._let_go(cycle)
        return cycle.disconnected

    def _client_has_left(self, missing: int) -> bool:
        """Whether it has gone and not so many bytes are there besides what is parsed now."""
        if self.scheme != "http" or self.transport.is_closing():
            return False
        return has_left(self.transport.get_extra_info("socket"), missing - len(self._unparsed))

    def _let_go(self, cycle: RequestResponseCycle) -> None:
        cycle.disconnected = True
        self.transport.abort()

    def _owe_answer(self, deputy: Represented) -> None:
        if self._place is None and self.scheme == "http":
            self._place = deputy.enter(self.transport.get_extra_info("socket").fileno())
        if self._place is not None:
            self._note(ASKED)
            self.scope["state"][ANSWER_BEGINS] = lambda: self._note(ANSWERING)

    def _note(self, state: int) -> None:
        if self.deputy and self._place is not None:
            self.deputy.states[self._place] = state

    def _refuse(
        self, status: int, detail: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Answer in the application's place, and hang up."""
        if self.cycle is not None and not self.cycle.response_complete:  # it works on a request
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        self._is_refused = True
        self._lingering.take_no_more_than(MAX_UNWANTED_BYTES)
        self.transport.write(refusal(status, detail, headers))
        self.transport.close()

    def _is_sending(self) -> bool:
        """Whether more may come from the client."""
        return self._in_body or self._is_refused

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


def bound_connections() -> int:
    """Let the server of this process, which is still to be configured, use these bounds.

    Returns how many requests of processes that died before were answered by the deputy.
    """
    sys.setswitchinterval(SWITCH_S)
    BoundedProtocol.deputy = deputy = represented()
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedProtocol.__name__}"
    uvicorn.config.LOOP_FACTORIES["auto"] = f"{new_loop.__module__}:{new_loop.__name__}"
    return deputy.answered if deputy else 0
