"""Connections over a real port that are slow, endless, or cut because a process died."""

import asyncio
import json
import socket
import ssl
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
import uvicorn

from service.hosting import bounded_http as connections
from service.hosting.bounded_http import CLIENT_LEFT, BoundedProtocol
from service.hosting.departure import has_left
from service.hosting.head import MAX_HEAD_BYTES, MOST_HEADERS
from tests.service.conftest import log_lines, png, served, until, until_status
from tests.service.observability.test_metrics import counted
from tests.service.routes.test_errors import problem

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def port(monkeypatch):
    """Of a server that gives up soon, and answers later than that."""
    monkeypatch.setattr(connections, "HEAD_S", 0.5)

    async def app(scope, receive, send):
        await asyncio.sleep(0.8)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with serving(app) as (port, _):
        yield port


@contextmanager
def serving(app, **more):
    """A server of this process: the port where it listens, and itself."""
    config = uvicorn.Config(
        app,
        port=0,
        http=BoundedProtocol,
        lifespan="off",
        log_level="error",
        timeout_keep_alive=0,
        **more,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1], server
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_over_tls_an_answer_comes_whole_and_at_once(certificates, loop):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(300_000), "more_body": True})
        await send({"type": "http.response.body", "body": b"end"})

    trusted = certificates["trusted"]
    files = {"ssl_certfile": trusted, "ssl_keyfile": trusted.with_suffix(".key"), "loop": loop}
    context = ssl.create_default_context(cafile=str(trusted))
    with serving(app, **files) as (port, _), httpx.Client(verify=context, timeout=10) as client:
        for _ in range(2):
            answer = client.get(f"https://127.0.0.1:{port}/")
            assert (len(answer.content), answer.content[-3:]) == (300_003, b"end")


def told(port: int, *words: bytes) -> bytes:
    """All that the server says until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for word in words:
            connection.sendall(word)
        heard = b""
        while block := connection.recv(4096):
            heard += block
        return heard


@pytest.mark.parametrize("said", [b"", b"GET", REQUEST], ids=["nothing", "a word", "half a head"])
def test_who_does_not_come_to_the_point_is_cut(port, said):
    assert told(port, said) == b""


def test_an_answer_may_take_longer_than_a_head(port):
    assert told(port, REQUEST + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 204")


def test_a_stray_line_behind_a_request_cuts_nothing(port):
    heard = told(port, REQUEST + b"Connection: close\r\n\r\n", b"\r\n")
    assert heard.startswith(b"HTTP/1.1 204")


def test_the_second_request_of_a_connection_has_its_own_time(port):
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(3):
            assert client.get("/").status_code == 204


def test_an_idle_connection_is_kept_although_the_server_would_close_it(port):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for _ in range(2):
            connection.sendall(REQUEST + b"\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 204")


@pytest.mark.parametrize(
    ("sent", "has_left"),
    [
        (b"POST /told HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n", True),
        (b"POST /told HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nwhole", False),
        (b"GET /told HTTP/1.1\r\nHost: localhost\r\n\r\n", False),
        (b"POST /told HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf", True),
        (b"POST /told HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", False),
    ],
    ids=["half an upload", "a whole one", "no body", "half a chunk", "all chunks"],
)
def test_nobody_works_for_who_left_before_all_had_come(sent, has_left):
    busy, free, seen = threading.Event(), threading.Event(), []

    async def app(scope, receive, send):
        if scope["path"] == "/busy":  # nobody reads or takes connections meanwhile
            busy.set()
            free.wait(10)
        elif scope["path"] == "/told":
            seen.append(scope["state"][CLIENT_LEFT]())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with serving(app) as (port, _), ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.get, f"http://127.0.0.1:{port}/busy", timeout=30)
        assert busy.wait(10)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            free.set()
            heard = b"".join(iter(lambda: connection.recv(4096), b""))
        assert first.result().status_code == 204
        until(lambda: seen)
    assert seen == [has_left]
    assert heard.startswith(b"HTTP/1.1 204") != has_left


def test_requests_that_do_not_wait_for_answers_take_no_more_room_than_others():
    free, seen, waiting = threading.Event(), [], []

    async def app(scope, receive, send):
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        if not seen:
            while not free.is_set():
                await asyncio.sleep(0.01)
        seen.append((scope["path"], len(body)))
        waiting.append(max(len(each.pipeline) for each in server.server_state.connections))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    asked = [(f"/{number}", number % 7 * 3000 if number % 50 == 0 else 0) for number in range(3000)]
    sent = b"".join(
        b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
        % (path.encode(), size, bytes(size))
        if size
        else b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode()
        for path, size in asked
    )
    last = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with serving(app) as (port, server), ThreadPoolExecutor(1) as pool:
        heard = pool.submit(told, port, sent + last)
        time.sleep(0.1)  # what comes at once is there by now
        free.set()
        assert heard.result().count(b"HTTP/1.1 204") == len(asked) + 1
    assert seen == [*asked, ("/last", 0)]
    assert max(waiting) < 50


def test_a_connection_that_was_reset_is_no_work():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0] as connection,
    ):
        client.sendall(b"whole")
        assert not has_left(connection, 0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert has_left(connection, 0)


def test_headers_without_an_end_are_not_kept(client):
    filler = b"X-Filler: " + b"x" * 1000 + b"\r\n"
    port = urlsplit(str(client.base_url)).port
    heard = told(port, REQUEST, filler * (MAX_HEAD_BYTES // len(filler) + 1))
    assert "64 KiB" in problem_of(heard, 431)


def test_a_head_of_so_many_bytes_is_taken_and_of_more_is_not_though_it_has_come_to_its_end(port):
    around = REQUEST + b"Connection: close\r\nX-Filler: %s\r\n\r\n"
    most = MAX_HEAD_BYTES - len(around) + 2
    assert told(port, around % (b"x" * (most - 1))).startswith(b"HTTP/1.1 204")
    assert "64 KiB" in problem_of(told(port, around % (b"x" * (most + 100))), 431)


def test_an_address_has_room_for_options_and_not_for_more(client):
    port = urlsplit(str(client.base_url)).port
    head = b"POST /segment?%s HTTP/1.1\r\nHost: localhost\r\n"
    heard = told(port, head % (b"a&" * 20_000), b"Content-Length: 0\r\n\r\n")
    assert "8 KiB" in problem_of(heard, 414)
    assert client.post("/segment?" + "&".join(f"a{i}" for i in range(1000))).status_code == 422


def test_a_request_has_so_many_headers_and_no_more(port):
    most = REQUEST + b"a:\r\n" * (MOST_HEADERS - 2) + b"Connection: close\r\n"
    assert told(port, most + b"\r\n").startswith(b"HTTP/1.1 204")
    assert f"{MOST_HEADERS} headers" in problem_of(told(port, most + b"a:\r\n\r\n"), 431)


CHUNKED = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"1\r\na\r\n"


def test_a_body_in_many_small_chunks_is_a_body(port):
    trailers = b"0\r\nX-Sum: 1\r\n\r\n"
    head = CHUNKED.replace(b"Host", b"Connection: close\r\nHost")
    assert told(port, head, 30_000 * CHUNK, trailers).startswith(b"HTTP/1.1 204")


def test_a_body_in_small_chunks_without_end_is_refused(port):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(CHUNKED)
        with suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(10_000 * CHUNK)
        heard = b""
        with suppress(ConnectionError):
            heard = connection.recv(4096)
    assert not heard or "fewer chunks" in problem_of(heard, 400)


@pytest.mark.parametrize(
    "filler",
    [
        b"0\r\n" + 20_000 * b"a:b\r\n",
        b"1;" + 80_000 * b"x",
        2000 * (b"1;" + 60 * b"e" + b"\r\na\r\n"),
    ],
    ids=["trailers", "an extension", "many extensions"],
)
def test_what_surrounds_a_body_has_no_more_room_than_headers(port, filler):
    assert "extensions of chunks" in problem_of(told(port, CHUNKED + CHUNK, filler), 431)


@pytest.mark.parametrize("begun", [b"0\r\na:b\r\nc", b"1;a"], ids=["a trailer", "an extension"])
def test_what_surrounds_a_body_has_no_more_time_than_headers(port, begun):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(CHUNKED + CHUNK)
        time.sleep(0.03)  # so that what follows is met alone
        connection.sendall(begun)
        heard = b"".join(iter(lambda: connection.recv(4096), b""))
    assert "took longer" in problem_of(heard, 408)


def test_little_is_taken_of_who_sends_trailers_without_end(client):
    block, sent = b"a:b\r\n" * 20_000, 0
    port = urlsplit(str(client.base_url)).port
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(CHUNKED + CHUNK + b"0\r\n")
        with suppress(ConnectionError):
            while sent < 60e6:
                connection.sendall(block)
                sent += len(block)
    assert sent < 20e6


def test_trailers_do_not_pass_for_headers(client):
    head = CHUNKED.replace(b"POST /", b"POST /segment").replace(
        b"Host", b"Connection: close\r\nHost"
    )
    trailer = b"0\r\nX-Request-ID: from-a-trailer\r\n\r\n"
    heard = told(urlsplit(str(client.base_url)).port, head + CHUNK, trailer)
    assert b"415" in heard.partition(b"\r\n")[0]
    assert b"from-a-trailer" not in heard


def test_a_body_that_nobody_reads_is_not_taken_without_end(client):
    port, block, sent = urlsplit(str(client.base_url)).port, 65536, 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(CHUNKED.replace(b"POST /", b"POST /livez"))
        with suppress(ConnectionError):
            while sent < 60e6:
                connection.sendall(f"{block:x}\r\n".encode() + bytes(block) + b"\r\n")
                sent += block
    assert sent < 60e6


@pytest.mark.parametrize("path", ["/", "/segment", "/jobs/1/events", "/nowhere"])
def test_a_websocket_is_refused_in_a_sentence(client, path):
    upgrade = (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    head = REQUEST.replace(b"GET /", b"GET " + path.encode())
    heard = told(urlsplit(str(client.base_url)).port, head + upgrade)
    assert "no websockets" in problem_of(heard, 400)


def test_a_client_that_offers_another_http_is_answered_in_this_one(client):
    """Java's client and ``curl --http2`` do so; the body must not be taken for the other."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    body = b"upgrade: no image\r\n\r\n"
    head = b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % len(body)
    port = urlsplit(str(client.base_url)).port
    answers = [
        told(port, head + offered + b"Connection: close\r\n\r\n" + body).split(b"\r\n")[0]
        for offered in (offer, b"")
    ]
    assert answers[0] == answers[1]
    assert b" 415 " in answers[0]


def problem_of(heard: bytes, status: int) -> str:
    head, _, body = heard.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head.decode().splitlines()[1:])
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["x-request-id"]
    assert json.loads(body)["status"] == status
    return json.loads(body)["detail"]


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /livez HTTP/1.1\r\nHost x\r\n\r\n",
        b"POST /segment HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
    ],
    ids=["TLS", "a header without a colon", "a length that is no number"],
)
def test_what_is_no_request_is_a_problem_too(client, said):
    port = urlsplit(str(client.base_url)).port
    assert "no HTTP/1.1 request" in problem_of(told(port, said), 400)


def test_a_killed_process_costs_its_own_requests_and_is_replaced(tiny_package, tmp_path):
    large, log = png(np.zeros((3000, 3000))), tmp_path / "log.txt"
    with served(tiny_package, log) as client, ThreadPoolExecutor(1) as pool:
        until_status(client, "/readyz", 200)
        url = client.base_url.join("/segment")
        begun = pool.submit(httpx.post, url, content=large, timeout=60)
        until(lambda: "seg_requests_active 1.0" in client.get("/metrics").text)
        (worker,) = psutil.Process(int(client.headers["X-Test-Server"])).children()
        with closing(HTTPConnection(url.host, url.port, timeout=60)) as asking:
            asking.request("GET", "/models")
            asking.getresponse().read()
            until_status(client, "/livez", 200)  # and it has noted that its answer is complete
            worker.suspend()
            until(lambda: worker.status() == psutil.STATUS_STOPPED)
            asking.request("GET", "/models")  # nobody looks at it any more
            worker.kill()
            unseen = asking.getresponse()
        assert unseen.status == 503
        refused = begun.result()
        assert "died; send it again" in problem(refused, 503)
        for answer in (unseen, refused):
            assert answer.headers["Retry-After"].isdecimal()
            identity = answer.headers["X-Request-ID"]
            until(lambda identity=identity: log_lines(log, identity))  # written behind the answer
            (line,) = log_lines(log, answer.headers["X-Request-ID"])
            assert line["status"] == 503
        # the port stays open: who comes now waits for the next process
        answer = httpx.get(client.base_url.join("/readyz"), timeout=60)
        assert answer.status_code in (200, 503)
        until_status(client, "/readyz", 200)
        assert counted(client, "seg_errors_total")[("process_died", "unknown")] == 2
        assert httpx.post(url, content=png(np.zeros((40, 40))), timeout=60).status_code == 200
