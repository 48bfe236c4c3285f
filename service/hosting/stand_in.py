"""Who answers for a process that has died.

The process that serves holds the connections of its clients; when it is killed, the system closes
them, and nobody can say a word. So the supervisor, which stays, is handed a second descriptor of a
connection on which something is asked. It reads and writes nothing there, and a request costs one
byte in memory that both processes share. When the process has died, the supervisor answers
503 with ``Retry-After`` where no answer had begun, and closes all.

Not of use behind TLS, whose keys die with the process, nor where the system has no ``memfd`` or no
folder for temporary files: there the connections are closed.
"""

import contextlib
import mmap
import os
import selectors
import socket
import struct
import threading
import uuid
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from time import monotonic

from service.hosting.refusal import last_answer
from service.observability.logs import LOGGER
from service.sharing.scratch import scratch_folder

ADDRESS = "SEGMENTER_DEPUTY"
"""Environment variable: the socket at which the supervisor waits for those it answers for."""
ANSWER_BEGINS = "answer_begins"
"""Where a request's state has what is called before the first byte of its answer is sent."""
IDLE, ASKED, ANSWERING = range(3)
"""What is written down of a connection."""
PLACES = 1024
"""Connections of a process that are answered for; those beyond are closed when it dies."""
STATUS = HTTPStatus.SERVICE_UNAVAILABLE
RETRY_AFTER_S = 3
"""About what a process needs to be ready."""
LINGER_S = 5.0
"""Seconds in which a client may end what it was sending: a connection that is closed before takes
the answer with it."""

_MESSAGE = struct.Struct("=cH")
_WELCOME = struct.Struct("=Q")
_WELCOME_S = 5.0
_BEGIN, _ENTER, _LEAVE = b"b", b"e", b"l"


class Represented:
    """What the process that serves tells its deputy; for one thread."""

    def __init__(self, address: str) -> None:
        """Make oneself known.

        Raises:
            OSError: there is no deputy.
        """
        self._deputy = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._deputy.settimeout(_WELCOME_S)
        self._deputy.connect(address)
        (self.answered,) = _WELCOME.unpack(self._deputy.recv(_WELCOME.size))
        """Requests of processes that died before this one was started, answered by the deputy."""
        self._deputy.setblocking(False)
        memory = os.memfd_create("connections", os.MFD_CLOEXEC)
        os.ftruncate(memory, PLACES)
        self.states = mmap.mmap(memory, PLACES)
        """Of each place, as it is; the deputy reads them when this process has died."""
        socket.send_fds(self._deputy, [_MESSAGE.pack(_BEGIN, 0)], [memory])
        os.close(memory)
        self._free = list(range(PLACES))
        self._held: dict[int, socket.socket] = {}

    def enter(self, descriptor: int) -> int | None:
        """The place of a connection from now on; None where all are taken."""
        if not self._free:
            return None
        place = self._free.pop()
        try:
            socket.send_fds(self._deputy, [_MESSAGE.pack(_ENTER, place)], [descriptor])
            self._held[place] = socket.socket(fileno=os.dup(descriptor))
        except OSError:  # it is behind, or out of descriptors, or gone
            self._free.append(place)
            return None
        return place

    def leave(self, place: int) -> None:
        """The connection is closed."""
        self.states[place] = IDLE
        with self._held.pop(place) as held, contextlib.suppress(OSError):
            # The client learns at once that it is over, not when the last descriptor is closed.
            held.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            self._deputy.send(_MESSAGE.pack(_LEAVE, place))
        self._free.append(place)


class Deputy:
    """Holds the connections of the processes that serve, and answers for those that die."""

    def __init__(self, address: Path, *, counted_once: bool = False) -> None:
        """Wait at an address.

        Args:
            address: of the socket.
            counted_once: processes keep their counts when they die, so that what was answered for
                one of them is told to a single other.
        """
        self._counted_once = counted_once
        self._selector = selectors.DefaultSelector()
        self._leaving: dict[socket.socket, float] = {}
        self._answered = 0
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.bind(str(address))
        self._door.listen()
        self._watch(self._door, self._welcome)

    def serve(self) -> None:
        """Without end."""
        while True:
            for key, _ in self._selector.select(1.0):
                key.data()
            for connection, until in list(self._leaving.items()):
                if monotonic() > until:
                    self._let_go(connection)

    def _watch(self, what: socket.socket, act: Callable[[], None]) -> None:
        self._selector.register(what, selectors.EVENT_READ, act)

    def _welcome(self) -> None:
        process, _ = self._door.accept()
        with contextlib.suppress(OSError):  # it is gone again, which the next look tells
            process.send(_WELCOME.pack(self._answered))
            if self._counted_once:
                self._answered = 0
        ward = _Ward(process)
        self._watch(process, lambda: self._hear(ward))

    def _hear(self, ward: "_Ward") -> None:
        if ward.hear():
            return
        self._selector.unregister(ward.process)
        answered = 0
        for state, connection in ward.left_behind():
            request_id = uuid.uuid4().hex
            if state != ASKED or not _answer(connection, request_id):
                _hang_up(connection)
                continue
            answered += 1
            fields = {"route": "unknown", "request_id": request_id, "status": STATUS}
            LOGGER.info("request", extra={"fields": fields})
            self._leaving[connection] = monotonic() + LINGER_S
            self._watch(connection, lambda connection=connection: self._drain(connection))  # type: ignore[misc]
        self._answered += answered
        if answered:
            LOGGER.error("process died", extra={"fields": {"answered": answered, "status": STATUS}})

    def _drain(self, connection: socket.socket) -> None:
        try:
            if connection.recv(1 << 16):
                return
        except OSError:
            pass
        self._let_go(connection)

    def _let_go(self, connection: socket.socket) -> None:
        del self._leaving[connection]
        self._selector.unregister(connection)
        connection.close()


class _Ward:
    """A process that serves, and its connections."""

    def __init__(self, process: socket.socket) -> None:
        self.process = process
        self._states: mmap.mmap | None = None
        self._connections: dict[int, socket.socket] = {}

    def hear(self) -> bool:
        """Take note of what it says; False when it is gone."""
        try:
            message, received, _, _ = socket.recv_fds(
                self.process, _MESSAGE.size, 1, socket.MSG_CMSG_CLOEXEC
            )
        except OSError:
            return False
        if len(message) < _MESSAGE.size:
            return False
        kind, place = _MESSAGE.unpack(message)
        if kind == _BEGIN and received:
            self._states = mmap.mmap(received[0], PLACES, prot=mmap.PROT_READ)
            os.close(received[0])
        elif kind == _ENTER and received:
            self._connections[place] = socket.socket(fileno=received[0])
        elif kind == _LEAVE and place in self._connections:
            self._connections.pop(place).close()
        return True

    def left_behind(self) -> list[tuple[int, socket.socket]]:
        """The state of each connection that it held."""
        self.process.close()
        states = self._states or bytes(PLACES)
        found = []
        for place, connection in self._connections.items():
            state = states[place]
            if state == IDLE and _has_unread(connection):
                state = ASKED  # a request that nobody has looked at yet
            found.append((state, connection))
        self._connections.clear()
        return found


def start_deputy(*, counted_once: bool = False) -> None:
    """Be the deputy of the processes that this one starts from now on."""
    if not hasattr(os, "memfd_create"):
        return
    try:
        folder = scratch_folder()
        address = Path(folder.name) / "deputy"
        deputy = Deputy(address, counted_once=counted_once)
    except OSError:  # nowhere to put a socket, or too long a path: serve without a deputy
        LOGGER.warning("no deputy", extra={"fields": {"reason": "no folder for its socket"}})
        return
    os.environ[ADDRESS] = str(address)

    def serve() -> None:
        with folder:
            deputy.serve()

    threading.Thread(target=serve, name="deputy", daemon=True).start()


def represented() -> Represented | None:
    """This process as its deputy knows it; None where there is no deputy."""
    address = os.environ.get(ADDRESS)
    if not address:
        return None
    try:
        return Represented(address)
    except OSError:
        return None


def _answer(connection: socket.socket, request_id: str) -> bool:
    detail = "the process that worked on this died; send it again"
    answer = last_answer(STATUS, detail, request_id, {"Retry-After": str(RETRY_AFTER_S)})
    try:
        connection.setblocking(False)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    return True


def _hang_up(connection: socket.socket) -> None:
    """End it for whoever has a copy: closing one descriptor ends nothing while there is another."""
    with connection, contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _has_unread(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:
        return False
