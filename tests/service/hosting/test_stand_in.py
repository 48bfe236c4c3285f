"""A process is played by its end of the socket to its deputy: when that is closed, it has died."""

import socket
import threading
from contextlib import suppress

import pytest

from service.hosting.stand_in import ANSWERING, ASKED, IDLE, Deputy, Represented


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    address = tmp_path_factory.mktemp("deputy") / "socket"
    threading.Thread(target=Deputy(address).serve, daemon=True).start()
    return str(address)


@pytest.fixture
def process(address):
    return Represented(address)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def connected(listener) -> tuple[socket.socket, socket.socket]:
    """A client's end and the service's."""
    client = socket.create_connection(listener.getsockname(), timeout=30)
    return client, listener.accept()[0]


def die(process: Represented, *connections: socket.socket) -> None:
    for each in [*connections, *process._held.values(), process._deputy]:
        each.close()


def heard(client: socket.socket) -> bytes:
    """All that comes until the connection is closed."""
    return b"".join(iter(lambda: client.recv(4096), b""))


@pytest.mark.parametrize(
    ("state", "sent", "is_answered"),
    [
        pytest.param(ASKED, b"", True, id="no answer had begun"),
        pytest.param(ANSWERING, b"", False, id="an answer had begun"),
        pytest.param(IDLE, b"", False, id="nothing was asked"),
        pytest.param(IDLE, b"POST /segment", True, id="what was asked was not looked at yet"),
    ],
)
def test_who_waits_for_an_answer_gets_503_and_no_other(process, listener, state, sent, is_answered):
    client, connection = connected(listener)
    place = process.enter(connection.fileno())
    process.states[place] = state
    client.sendall(sent)
    if sent:
        assert connection.recv(1, socket.MSG_PEEK)
    die(process, connection)
    answer = heard(client)
    if not is_answered:
        assert answer == b""
        return
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: " in head
    assert b"\r\nX-Request-ID: " in head
    assert f"Content-Length: {len(body)}\r\n".encode() in head
    assert b'"status": 503' in body


def test_the_answer_reaches_a_client_that_still_sends(process, listener):
    client, connection = connected(listener)
    process.states[process.enter(connection.fileno())] = ASKED
    client.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            client.send(bytes(1 << 20))
    client.settimeout(30)
    die(process, connection)
    client.sendall(bytes(1 << 20))
    assert client.recv(12) == b"HTTP/1.1 503"


def test_a_connection_that_is_closed_is_over_at_once(process, listener):
    client, connection = connected(listener)
    place = process.enter(connection.fileno())
    connection.close()
    process.leave(place)
    assert heard(client) == b""
    second, connection = connected(listener)
    assert process.enter(connection.fileno()) == place
    process.states[place] = ASKED
    die(process, connection)
    assert heard(second).startswith(b"HTTP/1.1 503")


def test_an_idle_connection_is_over_even_if_a_child_of_the_dead_process_has_a_copy(
    process, listener
):
    client, connection = connected(listener)
    process.states[process.enter(connection.fileno())] = IDLE
    with connection.dup():
        die(process, connection)
        assert heard(client) == b""


def test_the_next_process_learns_how_many_were_answered(address, process, listener):
    client, connection = connected(listener)
    process.states[process.enter(connection.fileno())] = ASKED
    die(process, connection)
    assert heard(client)
    assert Represented(address).answered == process.answered + 1


def test_processes_are_told_apart(address, listener):
    living, dying = Represented(address), Represented(address)
    (waiting, kept), (other, lost) = connected(listener), connected(listener)
    living.states[living.enter(kept.fileno())] = ASKED
    dying.states[dying.enter(lost.fileno())] = ASKED
    die(dying, lost)
    assert heard(other).startswith(b"HTTP/1.1 503")
    kept.sendall(b"an answer")
    assert waiting.recv(100) == b"an answer"
    die(living, kept)


def test_more_connections_than_places_are_served_without_a_deputy(process, listener):
    _, connection = connected(listener)
    process._free = []
    assert process.enter(connection.fileno()) is None
    die(process, connection)
