"""Thousands of connections that hold something: the oldest makes room for others."""

import asyncio
import socket
import threading
from contextlib import ExitStack

import httpx
import pytest

from service.hosting import crowds
from service.hosting.bounded_http import BoundedProtocol
from tests.service.conftest import until
from tests.service.hosting.test_bounded_http import REQUEST, serving

PIECE = bytes(65536)


async def small(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def endless(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(1000):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body"})


def connected(port, stack, said=b""):
    """A client that says something, and reads nothing."""
    connection = stack.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    connection.sendall(said)
    return connection


@pytest.mark.parametrize(
    ("crowd", "app", "said"),
    [
        ("waiting", small, b""),
        ("waiting", small, REQUEST + b"\r\n"),
        ("long_heads", small, REQUEST + b"a: " + b"a" * 20_000),
        ("unread", endless, REQUEST + b"\r\n"),
        ("piled", endless, 20_000 * (REQUEST + b"\r\n")[:60]),
    ],
    ids=["silent", "between requests", "long heads", "answers unread", "requests behind others"],
)
def test_who_waits_longest_makes_room(monkeypatch, crowd, app, said):
    most = 3
    monkeypatch.setattr(getattr(BoundedProtocol.crowds, crowd), "most", most)
    with serving(app) as (port, server), ExitStack() as stack:
        there = server.server_state.connections
        for number in range(most):
            connected(port, stack, said)
            until(lambda number=number: len(there) == number + 1)
        first = {id(each) for each in there}
        connected(port, stack, said)
        until(lambda: len(there) == most and {id(each) for each in there} != first)


def test_an_answer_that_nobody_reads_has_an_end(monkeypatch):
    monkeypatch.setattr(crowds, "SEND_S", 1.5)
    with serving(endless) as (port, server), ExitStack() as stack:
        connected(port, stack, REQUEST + b"\r\n")
        until(lambda: server.server_state.connections)
        until(lambda: not server.server_state.connections)
        whole = httpx.get(f"http://127.0.0.1:{port}/", timeout=30).content
    assert len(whole) == 1000 * len(PIECE)


def test_little_is_taken_of_an_answer_before_it_is_read():
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            sent.append(len(PIECE))
        await send({"type": "http.response.body"})

    with serving(app) as (port, _), ExitStack() as stack:
        connected(port, stack, REQUEST + b"\r\n")
        until(lambda: sent)
        threading.Event().wait(0.3)
        assert sum(sent) < 2_000_000


def test_who_left_is_told_to_the_request_that_is_worked_on_though_others_came_behind_it():
    told = []

    async def app(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass
        told.append(scope["path"])
        await asyncio.sleep(0)

    with serving(app) as (port, server), ExitStack() as stack:
        connection = connected(
            port, stack, b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % i for i in (1, 2))
        )
        until(lambda: any(each.pipeline for each in server.server_state.connections))
        connection.close()
        until(lambda: told)
    assert told == ["/1"]
