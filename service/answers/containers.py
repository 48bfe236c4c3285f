"""Several files as one body: ZIP or multipart, written from start to end."""

import secrets
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from service.requests.formats import CONTAINER_TYPES, Container

COMPRESSIBLE = ("text/", "application/json", "application/geo+json")
"""The other formats are compressed already."""

Add = Callable[[str, str, bytes], None]
"""Takes name, media type and content of the next file."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A container that is being filled."""

    media_type: str
    filename: str
    add: Add


@contextmanager
def opened_container(kind: Container, target: IO[bytes]) -> Iterator[Parts]:
    """A container that is whole when the block ends."""
    if kind == "zip":
        with zipfile.ZipFile(target, "w") as archive:
            yield Parts(CONTAINER_TYPES[kind], "masks.zip", _adding_to(archive))
        return
    boundary = secrets.token_hex(16)

    def add(name: str, media_type: str, body: bytes) -> None:
        head = (
            f"--{boundary}\r\nContent-Type: {media_type}\r\n"
            f'Content-Disposition: attachment; filename="{name}"\r\n'
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        target.write(head.encode() + body + b"\r\n")

    yield Parts(f"{CONTAINER_TYPES[kind]}; boundary={boundary}", "masks.mime", add)
    target.write(f"--{boundary}--\r\n".encode())


def _adding_to(archive: zipfile.ZipFile) -> Add:
    def add(name: str, media_type: str, body: bytes) -> None:
        shrinks = media_type.startswith(COMPRESSIBLE)
        archive.writestr(name, body, zipfile.ZIP_DEFLATED if shrinks else zipfile.ZIP_STORED)

    return add
