"""Who is taken up first where more come than can be."""

import asyncio
import json
import socket
import ssl
import threading
import time
from contextlib import ExitStack
from typing import ClassVar
from unittest.mock import patch

import pytest

from service.hosting.entrance import turns
from service.hosting.entrance.door import Door, new_loop
from service.hosting.entrance.turns import Turns, is_probe, turns_of
from tests.service.conftest import PATIENCE_S, until
from tests.service.hosting.test_bounded_http import serving

FLOOD = 300
BUSY_S = 0.002
"""CPU of a request that is no probe."""


def burn(seconds: float) -> None:
    """That much CPU of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class Answering(asyncio.Protocol):
    """Notes in which order requests are begun, each of which takes a while."""

    order: ClassVar[list[bytes]] = []

    def let_in(self):
        pass

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        path = data.split()[1]
        self.order.append(path)
        burn(0.0 if is_probe(data) else BUSY_S)
        self._transport.write(b"answer")
        self._transport.close()


def begun_in_order(loop: asyncio.AbstractEventLoop, backlog: int) -> list[bytes]:
    """Requests as they are begun of a flood, and of a probe that comes behind it."""
    Answering.order = []

    async def run():
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            server = await asyncio.get_running_loop().create_server(
                Answering, sock=listening, backlog=backlog
            )
            clients = []
            for path in [b"/segment"] * FLOOD + [b"/livez"]:
                client = socket.create_connection(listening.getsockname())
                client.sendall(b"GET " + path + b" HTTP/1.1\r\n\r\n")
                clients.append(client)
            while len(Answering.order) < FLOOD + 1:
                await asyncio.sleep(0.01)
            server.close()
            await server.wait_closed()
            for client in clients:
                client.close()

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
    return Answering.order


def test_a_probe_goes_before_those_that_came_earlier():
    order = begun_in_order(new_loop()(), 1024)
    assert order.index(b"/livez") < FLOOD // 3
    assert order.count(b"/segment") == FLOOD  # and nobody is forgotten


class Customer:
    def __init__(self, name: str, log: list[str]) -> None:
        self._name, self._log = name, log

    def on_turn(self):
        self._log.append(self._name)

    def on_crowded_out(self):
        self._log.append(f"{self._name} is sent away")


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_probes_on_connections_that_are_kept_go_first_too(loop):
    log, here = [], Turns(loop)
    while here.take(Customer("at once", log), probe=False):
        pass
    for number in range(20):
        assert not here.take(Customer(f"{number}", log), probe=False)
    assert not here.take(Customer("probe", log), probe=True)
    loop.run_until_complete(asyncio.sleep(0))
    assert log[:3] == ["probe", "at once", "0"]


def test_requests_on_connections_that_are_kept_take_turns():
    order: list[str] = []
    have_come = threading.Event()

    async def app(scope, receive, send):
        order.append(scope["path"])
        if scope["path"] == "/long":
            have_come.wait(PATIENCE_S)
        burn(0.0 if scope["path"] == "/livez" else BUSY_S)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    def ask(client: socket.socket, path: str) -> None:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    with serving(app) as (port, server), ExitStack() as clients:
        opened = [
            clients.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(FLOOD + 2)
        ]
        until(lambda: len(server.server_state.connections) == len(opened))
        ask(opened[0], "/long")  # meanwhile all others come
        until(lambda: order == ["/long"])
        for client in opened[1:-1]:
            ask(client, "/segment")
        ask(opened[-1], "/livez")
        have_come.set()
        until(lambda: len(order) == len(opened))
    assert order.index("/livez") < FLOOD // 3


def test_a_round_of_the_loop_begins_less_where_requests_cost_more(loop):
    begun: dict[float, list[int]] = {}
    for cost in (0.0, 0.003):
        here, rounds = Turns(loop), [0]

        class Costly(Customer):
            def on_turn(self, cost=cost, rounds=rounds):
                rounds[-1] += 1
                burn(cost)

        for _ in range(150):
            here.take(Costly("", []), probe=False)

        async def run(rounds=rounds):
            for _ in range(12):
                rounds.append(0)
                await asyncio.sleep(0)

        loop.run_until_complete(run())
        begun[cost] = rounds
    assert max(begun[0.003][-4:]) <= 2 < min(begun[0.0][-4:])


def test_of_too_many_that_wait_the_oldest_is_sent_away(loop, monkeypatch):
    monkeypatch.setattr(turns, "MOST_WAITING", 5)
    log, here = [], Turns(loop)
    while here.take(Customer("at once", log), probe=False):
        pass
    for number in range(7):
        here.take(Customer(f"{number}", log), probe=False)
    # The one that filled the round waits as well.
    assert log == ["at once is sent away", "0 is sent away", "1 is sent away"]


def test_who_is_sent_away_at_the_door_is_told_so_in_a_sentence(loop):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        door = Door(loop, listening, Answering, 16)
        with socket.create_connection(listening.getsockname(), timeout=10) as client:
            listening.setblocking(True)
            door.send_away(listening.accept()[0])
            head, _, body = client.recv(4096).partition(b"\r\n\r\n")
        door.close()
    assert b" 503 " in head
    assert b"Retry-After: 1" in head
    assert "try again later" in json.loads(body)["detail"]


def test_a_loop_has_one_order_of_turns(loop):
    assert turns_of(loop) is turns_of(loop)


def greeted(certificate, do, **bounds):
    """What ``do`` finds as a client of a server that speaks TLS, beside it in a thread."""
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate, certificate.with_suffix(".key"))
    client_side = ssl.create_default_context(cafile=str(certificate))
    client_side.check_hostname = False

    def shake(address):
        plain = socket.create_connection(address, timeout=20)
        with client_side.wrap_socket(plain) as client:
            client.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
            return client.recv(64)

    async def run():
        with socket.socket() as listening, ExitStack() as changed:
            for name, value in bounds.items():
                changed.enter_context(patch(f"service.hosting.entrance.door.{name}", value))
            listening.bind(("127.0.0.1", 0))
            server = await asyncio.get_running_loop().create_server(
                Answering, sock=listening, backlog=64, ssl=server_side
            )
            address = listening.getsockname()
            try:
                return await asyncio.to_thread(do, address, lambda: shake(address))
            finally:
                server.close()

    loop = new_loop()()
    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


def test_handshakes_that_nobody_ends_keep_no_other_waiting_and_end(certificates):
    def do(address, shake):
        with ExitStack() as open_ones:
            silent = [
                open_ones.enter_context(socket.create_connection(address, timeout=20))
                for _ in range(50)
            ]
            answer = shake()
            return answer, {each.recv(64) for each in silent}

    answer, ends = greeted(certificates["trusted"], do, HANDSHAKE_S=2.0)
    assert answer == b"answer"
    assert ends == {b""}


def test_of_too_many_handshakes_the_oldest_makes_room(certificates):
    def do(address, shake):
        with ExitStack() as open_ones:
            silent = [
                open_ones.enter_context(socket.create_connection(address, timeout=20))
                for _ in range(4)
            ]
            first = silent[0].recv(64), silent[1].recv(64)
            silent[3].settimeout(0.2)
            with pytest.raises(TimeoutError):
                silent[3].recv(64)
            return first, shake()

    assert greeted(certificates["trusted"], do, MOST_HANDSHAKES=2) == ((b"", b""), b"answer")
