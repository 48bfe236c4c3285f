"""Clients that try to take the service down: memory held, /livez meanwhile, time to recover."""

import gzip
import io
import math
import socket
import sqlite3
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import httpx

from benchmarks import servers
from benchmarks.drills import requests
from benchmarks.drills.attacked import SETTINGS, SMALL, suffered
from benchmarks.drills.drill import Drill
from benchmarks.drills.limits import header
from benchmarks.servers import Server


def attacks(drill: Drill) -> None:
    """Each attack for some seconds, by several clients at once."""
    with servers.seg(drill.package(), **drill.jobs(), **SETTINGS) as server:
        base = f"http://127.0.0.1:{server.port}"
        for _ in range(20):
            httpx.post(base + "/segment", content=SMALL, timeout=60)
        for name, attack in _attacks(server, base, drill.folder / "jobs").items():
            suffered(drill, server, name, attack)


def _attacks(server: Server, base: str, jobs: Path) -> dict[str, Callable[[], str]]:
    stuck, grown = zeros_in_zip(64), deflated(512 << 20)
    large = zeros_in_zip(512)
    nested = nested_elements(16)
    lists = b'{"patches":[' + b"[]," * 16_000_000 + b"[]]}"
    boundaries = b"\r\n--X" * 4_000_000

    def post(path: str, body: bytes, kind: str = "application/octet-stream") -> Callable[[], str]:
        def ask() -> str:
            headers = {"Content-Type": kind}
            return str(
                httpx.post(base + path, content=body, headers=headers, timeout=30).status_code
            )

        return ask

    job = httpx.post(base + "/jobs", content=SMALL, timeout=60).json()["id"]

    def locked() -> str:
        with closing(sqlite3.connect(jobs / "jobs.sqlite", isolation_level=None)) as other:
            with suppress(sqlite3.OperationalError):
                other.execute("begin exclusive")
            return str(httpx.get(f"{base}/jobs/{job}", timeout=30).status_code)

    return {
        "nobody": lambda: time.sleep(0.2) or "-",
        "64 MiB of zeros in a ZIP": post("/segment", stuck),
        "the same for /picture": post("/picture", stuck),
        "the same as a job": post("/jobs", stuck),
        "elements within elements": post("/segment", nested),
        "512 MiB in a deflated DICOM": post("/segment", grown),
        "512 MiB in a ZIP": post("/segment", large),
        "256 MB in a NIfTI": post("/segment", header_and_zeros(16384, 8192)),
        "lists in JSON": post("/infer_patches", lists, "application/json"),
        "half boundaries in a form": post(
            "/segment", boundaries, "multipart/form-data; boundary=XY"
        ),
        "trailers without an end": lambda: endless(server, b"0\r\n", b"a:b\r\n" * 10_000),
        "an extension without an end": lambda: endless(server, b"1;", b"x" * 60_000),
        "a body that nobody reads": lambda: endless(server, b"", b"ff\r\n" + bytes(255) + b"\r\n"),
        "uploads that are left": lambda: left(server),
        "chunked uploads that are left": lambda: left(server, b"Transfer-Encoding: chunked"),
        "15,000 options in an address": lambda: requests.options(server),
        "15,000 headers": lambda: requests.headers(server),
        "30,000 types in Accept": lambda: requests.types(server),
        "chunks of a byte": lambda: requests.small_chunks(server),
        "20,000 requests on a connection": lambda: requests.pipelined(server),
        "answers that are not read": lambda: requests.unread(server),
        "a locked database": locked,
    }


def endless(server: Server, begin: bytes, more: bytes) -> str:
    """A chunked body to /livez, without a key, that goes on until the connection is closed."""
    head = (
        b"POST /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
    )
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        try:
            connection.sendall(head + begin)
            while sent < 60e6:
                connection.sendall(more)
                sent += len(more)
        except OSError:
            return "closed"
    return "taken"


def left(server: Server, framing: bytes = b"Content-Length: 900000") -> str:
    """An upload whose client leaves in the middle."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        head = b"POST /segment HTTP/1.1\r\nHost: localhost\r\n" + framing + b"\r\n\r\n"
        connection.sendall(head + b"ffffff\r\n" + bytes(100_000))
    return "left"


def header_and_zeros(*shape: int) -> bytes:
    """A flat NIfTI image of 16 bits, without values."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    out = packer.compress(gzip.decompress(header(*shape, 1)))
    for _ in range(2 * math.prod(shape) >> 20):
        out += packer.compress(bytes(1 << 20))
    return out + packer.flush()


def zeros_in_zip(mebibytes: int) -> bytes:
    """What begins as DICOM and goes on with zeros."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("a.dcm", "w", force_zip64=True) as file,
    ):
        file.write(bytes(128) + b"DICM")
        for _ in range(mebibytes):
            file.write(bytes(1 << 20))
    return buffer.getvalue()


def _element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    if vr in (b"OW", b"SQ", b"UN"):
        return struct.pack("<HH2sHI", group, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def _file(syntax: bytes, body: bytes) -> bytes:
    meta = _element(2, 0x10, b"UI", syntax)
    return bytes(128) + b"DICM" + _element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta + body


def deflated(size: int) -> bytes:
    """A picture of 64 x 64 in Deflated Explicit VR whose pixels have ``size`` bytes."""
    numbers = ((2, 1), (0x10, 64), (0x11, 64), (0x100, 16), (0x101, 16), (0x102, 15), (0x103, 0))
    body = _element(0x28, 4, b"CS", b"MONOCHROME2 ")
    body += b"".join(_element(0x28, n, b"US", struct.pack("<H", v)) for n, v in sorted(numbers))
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    out = squeeze.compress(body + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, size))
    for _ in range(size >> 20):
        out += squeeze.compress(bytes(1 << 20))
    return _file(b"1.2.840.10008.1.2.1.99", out + squeeze.flush())


def nested_elements(mebibytes: int) -> bytes:
    """Zeros within an item of a sequence without a length, in a ZIP."""
    undefined = 0xFFFFFFFF
    begin = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, undefined)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, undefined)
    empty = _element(8, 0x16, b"UI", b"") * (mebibytes << 17)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a.dcm", _file(b"1.2.840.10008.1.2.1\0", begin + item + empty))
    return buffer.getvalue()
