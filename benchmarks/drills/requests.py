"""Requests that are small and cost much to read."""

import socket
from contextlib import suppress

from benchmarks.servers import Server

MANY = 15_000


def _asked(server: Server, head: bytes, more: bytes = b"", most: int = 0) -> str:
    """The status of an answer; ``more`` is sent again and again, so many bytes at most."""
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection,
        suppress(OSError),
    ):
        connection.sendall(head)
        for _ in range(0, most, max(len(more), 1)):
            connection.sendall(more)
        return connection.recv(64)[9:12].decode() or "closed"
    return "closed"


def _head(method: str, path: str, *lines: bytes) -> bytes:
    first = f"{method} {path} HTTP/1.1\r\nHost: localhost".encode()
    return b"\r\n".join([first, *lines, b"", b""])


def options(server: Server) -> str:
    """An address with thousands of options."""
    path = "/segment?" + "&".join(f"{number:x}" for number in range(MANY))
    return _asked(server, _head("POST", path, b"Content-Length: 0"))


def headers(server: Server) -> str:
    """Thousands of headers."""
    return _asked(server, _head("POST", "/segment", *[b"a:"] * MANY, b"Content-Length: 0"))


def types(server: Server) -> str:
    """A header ``Accept`` of thousands of types."""
    accept = b"Accept: " + b"a," * 2 * MANY
    return _asked(server, _head("POST", "/segment", accept, b"Content-Length: 1") + b"x")


def small_chunks(server: Server) -> str:
    """A body in chunks of a byte."""
    head = _head("POST", "/livez", b"Transfer-Encoding: chunked")
    return _asked(server, head, b"1\r\na\r\n" * 10_000, 60_000_000)


def pipelined(server: Server) -> str:
    """Thousands of requests that wait for no answer."""
    return _asked(server, _head("GET", "/livez") * 20_000)


def unread(server: Server) -> str:
    """The page's largest file, asked for on many connections and not read."""
    connections = []
    for _ in range(50):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connections.append(connection)
        with suppress(OSError):
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(_head("GET", "/page/niivue/niivue.js"))
    for connection in connections:
        connection.close()
    return "left"
