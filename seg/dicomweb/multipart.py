"""``multipart/related`` as DICOMweb uses it (DICOM PS3.18, 8.6), part by part as bytes come."""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from io import BytesIO
from typing import Protocol, runtime_checkable

from seg.dicomweb.needed import needed
from seg.dicomweb.open_files import Readable

LONGEST_BOUNDARY = 200
"""Letters. RFC 2046, 5.1.1, allows 70, and Orthanc sends more."""
HEAD_BYTES = 4096
"""Of an instance, in which its name stands."""


@runtime_checkable
class PartSink(Protocol):
    """What takes parts in."""

    def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins; names of headers are lower case."""
        ...

    def write(self, content: bytes) -> None:
        """The next bytes of it."""
        ...

    def end(self) -> None:
        """It is whole."""
        ...


def boundary_of(content_type: str) -> str | None:
    """The boundary of a ``multipart/related``; None where it is no such thing or names none."""
    message = Message()
    message["content-type"] = content_type
    if message.get_content_type() != "multipart/related":
        return None
    boundary = message.get_param("boundary")
    is_one = isinstance(boundary, str) and 0 < len(boundary) <= LONGEST_BOUNDARY
    return boundary if is_one and str(boundary).isascii() else None  # type: ignore[return-value]


class MultipartReader:
    """Takes the bytes of a body and tells a sink of its parts."""

    def __init__(self, boundary: str, sink: PartSink) -> None:
        """Be ready for the first byte."""
        self._library = needed("python_multipart.multipart")
        self._sink = sink
        self._headers: dict[str, str] = {}
        self._name = self._value = b""
        self._parser = self._library.MultipartParser(
            boundary.encode(),
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": lambda: sink.begin(self._headers),
                "on_part_data": lambda data, start, end: sink.write(data[start:end]),
                "on_part_end": sink.end,
                "on_end": self._on_end,
            },
        )
        self.is_whole = False
        """The last boundary has come."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            ValueError: this is no multipart body.
        """
        if self.is_whole or not chunk:  # what comes after the last boundary means nothing
            return
        try:
            self._parser.write(chunk)
        except self._library.FormParserError as error:
            raise ValueError("the body is not multipart as its boundary says") from error

    def _on_part_begin(self) -> None:
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        name = self._name.decode("latin-1").strip().lower()
        self._headers[name] = self._value.decode("latin-1").strip()
        self._name = self._value = b""

    def _on_end(self) -> None:
        self.is_whole = True


class MultipartBody:
    """Instances as a body that is sent piece by piece, its length known before."""

    def __init__(self, files: Iterable[tuple[Readable, int]], chunk: int = 1 << 20) -> None:
        """Files from where they stand, each with its bytes."""
        self._files = list(files)
        self._boundary = secrets.token_hex(16)
        self._chunk = chunk
        self._heads: list[bytes] = []

    @property
    def instances(self) -> list[str]:
        """SOPInstanceUIDs of what was sent, as the files' first bytes have them."""
        from pydicom.filereader import read_partial

        return [
            str(
                read_partial(
                    BytesIO(head), lambda tag, *_: tag.group != 2
                ).file_meta.MediaStorageSOPInstanceUID
            )
            for head in self._heads
        ]

    @property
    def content_type(self) -> str:
        """For the header."""
        return f'multipart/related; type="application/dicom"; boundary={self._boundary}'

    @property
    def length(self) -> int:
        """Bytes of all."""
        head = len(self._head())
        return sum(head + size + 2 for _, size in self._files) + len(self._tail())

    def __iter__(self) -> Iterator[bytes]:
        """The bytes."""
        for file, _ in self._files:
            yield self._head()
            content = file.read(self._chunk)
            self._heads.append(content[:HEAD_BYTES])
            while content:
                yield content
                content = file.read(self._chunk)
            yield b"\r\n"
        yield self._tail()

    def _head(self) -> bytes:
        return f"--{self._boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()

    def _tail(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode()
