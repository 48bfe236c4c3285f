"""Connections are taken from the system as fast as they come, and probes let in first.

The system hands them over in their order, and libuv takes one in each round of its loop: where a
thousand clients a second come and leave, a probe stood behind all of them for seconds. Here many
are taken at once, which costs little, and what they begin with says who goes first.
"""

import asyncio
import socket
import ssl
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, thread_time
from typing import Any, Protocol

from service.hosting.entrance.turns import CROWDED, PROBE_BYTES, Turns, is_probe, turns_of
from service.hosting.refusal import last_answer
from service.observability.logs import LOGGER

MOST_TAKEN = 256
"""Connections that are taken from the system in a round of the loop."""
TAKING_S = 0.004
"""Seconds of CPU for that: those that stand behind others in the system are not seen."""
PEEK = socket.MSG_PEEK | getattr(socket, "MSG_DONTWAIT", 0)
HANDSHAKE_S = 10.0
"""Seconds for a handshake of TLS, as for headers."""
MOST_HANDSHAKES = 1024
"""Handshakes that are begun and not done; the oldest makes room."""
NO_FILES_S = 0.2
"""Seconds without another look where there are no more open files."""
TELL_S = 5.0
"""Seconds between two lines of the log on those that were sent away."""


class LetIn(Protocol):
    """A protocol of asyncio that knows of the door."""

    def let_in(self) -> None:
        """Its first request has had its turn."""
        ...


@dataclass(eq=False, slots=True)
class _Newcomer:
    """A connection that was taken, and waits to be let in."""

    door: "Door"
    connection: socket.socket

    def on_turn(self) -> None:
        self.door.let_in(self.connection)

    def on_crowded_out(self) -> None:
        self.door.send_away(self.connection)


class Door:
    """A socket that listens, for one event loop; to uvicorn it is a server of asyncio.

    Args:
        loop: in whose thread all is done.
        listening: the socket.
        protocol: makes a protocol for a connection.
        backlog: connections that the system keeps for us.
        tls: which connections speak; a probe is known only when it has shaken hands.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: socket.socket,
        protocol: Callable[[], Any],
        backlog: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._loop, self._socket, self._protocol = loop, listening, protocol
        self._tls = tls
        self._handshakes: dict[Any, socket.socket] = {}
        self._turns: Turns = turns_of(loop)
        self._is_open = True
        self._refused, self._told, self._crowded = 0, 0.0, _crowded()
        listening.setblocking(False)
        listening.listen(backlog)
        loop.add_reader(listening, self._take)

    def close(self) -> None:
        """Take no more."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._socket)

    async def wait_closed(self) -> None:
        """Until it is closed, which it is at once."""

    def _take(self) -> None:
        until = thread_time() + TAKING_S
        for _ in range(MOST_TAKEN):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no more open files
                self._pause()
                return
            self._sort(connection)
            if thread_time() > until:
                return

    def _sort(self, connection: socket.socket) -> None:
        head = b""
        try:
            head = connection.recv(PROBE_BYTES, PEEK)
        except BlockingIOError:  # it says nothing yet
            pass
        except OSError:
            connection.close()
            return
        newcomer = _Newcomer(self, connection)
        if self._turns.take(newcomer, probe=is_probe(head)):
            newcomer.on_turn()

    def let_in(self, connection: socket.socket) -> None:
        """One whose turn it is."""
        connection.setblocking(False)
        protocol = self._protocol()
        protocol.let_in()
        connect = self._loop.connect_accepted_socket
        if self._tls is None:
            _go_on(connect(lambda: protocol, connection))
            return
        shaking = connect(
            lambda: protocol, connection, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_S
        )
        self._handshakes[shaking] = connection
        if len(self._handshakes) > MOST_HANDSHAKES:
            oldest = next(iter(self._handshakes))
            with suppress(OSError):
                self._handshakes.pop(oldest).shutdown(socket.SHUT_RDWR)
        _go_on(shaking, lambda: self._handshakes.pop(shaking, None))

    def send_away(self, connection: socket.socket) -> None:
        """One that others crowd out."""
        with connection, suppress(OSError):
            if self._tls is None:
                connection.send(self._crowded, socket.MSG_DONTWAIT)
            connection.shutdown(socket.SHUT_WR)
        self._refused += 1
        if monotonic() > self._told + TELL_S:
            fields = {"refused": self._refused, "status": 503}
            LOGGER.warning("connections refused", extra={"fields": fields})
            self._refused, self._told, self._crowded = 0, monotonic(), _crowded()

    def _pause(self) -> None:
        self._loop.remove_reader(self._socket)

        def go_on() -> None:
            if self._is_open:
                self._loop.add_reader(self._socket, self._take)

        self._loop.call_later(NO_FILES_S, go_on)


def _go_on(
    making: Coroutine[asyncio.Future[None], None, object], done: Callable[[], object] = lambda: None
) -> None:
    """Take up a connection now; as a task that would be in the next round of the loop."""
    try:
        waits = making.send(None)
    except (StopIteration, OSError):  # it is made, or had gone already
        done()
        return
    waits._asyncio_future_blocking = False  # as a task does, PEP 3156
    waits.add_done_callback(lambda _: _go_on(making, done))


def _crowded() -> bytes:
    """What those are told that are sent away; it costs more to make than to send."""
    return last_answer(503, CROWDED, uuid.uuid4().hex, {"Retry-After": "1"})


def loop_of(usual: type[asyncio.AbstractEventLoop]) -> type[asyncio.AbstractEventLoop]:
    """A kind of event loop whose servers have such a door."""

    class LoopWithDoor(usual):  # type: ignore[misc, valid-type]  # it is known when this runs
        async def create_server(
            self, protocol_factory: Any, *arguments: Any, **options: Any
        ) -> Any:
            listening = options.get("sock")
            if listening is None:
                return await super().create_server(protocol_factory, *arguments, **options)
            tls = options.get("ssl")
            return Door(self, listening, protocol_factory, options["backlog"], tls)

    return LoopWithDoor


def new_loop(use_subprocess: bool = False) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the event loop of this process, as uvicorn asks for it."""
    try:
        import uvloop
    except ImportError:
        return loop_of(asyncio.SelectorEventLoop)
    return loop_of(uvloop.Loop)
