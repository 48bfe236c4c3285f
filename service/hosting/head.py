"""What the head of a request may hold.

A few letters of it cost much: a header of one letter becomes two objects that every layer goes
through, an address of some thousand options a list that is searched for each of them. nginx takes
8 KiB of an address, Envoy and Apache 100 headers.
"""

from dataclasses import dataclass

MAX_HEAD_BYTES = 64 * 1024
MAX_TARGET_BYTES = 8 * 1024
"""Of the address: path and query."""
MOST_HEADERS = 100
TOO_LARGE = (
    f"the headers of a request may have {MAX_HEAD_BYTES // 1024} KiB, and so may trailers and "
    "extensions of chunks"
)
AROUND_A_HEADER = len(b": \r\n")


class HeadTooLargeError(Exception):
    """A part of a head is more than is taken."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass
class HeadCount:
    """Counts, for one head after the other."""

    target_bytes: int = 0
    headers: int = 0
    header_bytes: int = 0
    refused: HeadTooLargeError | None = None
    """What was raised: parsers pass on that something was, and not what."""

    def target(self, size: int) -> None:
        """So many bytes of an address came.

        Raises:
            HeadTooLargeError: 414.
        """
        self.target_bytes += size
        if self.target_bytes > MAX_TARGET_BYTES:
            detail = f"the address of a request may have {MAX_TARGET_BYTES // 1024} KiB"
            self.refused = HeadTooLargeError(414, detail)
            raise self.refused

    def header(self, size: int) -> None:
        """A header came, its name and its value of so many bytes.

        Raises:
            HeadTooLargeError: 431.
        """
        self.headers += 1
        self.header_bytes += size + AROUND_A_HEADER
        if self.headers > MOST_HEADERS:
            self.refused = HeadTooLargeError(431, f"a request may have {MOST_HEADERS} headers")
            raise self.refused
        if self.target_bytes + self.header_bytes > MAX_HEAD_BYTES:
            self.refused = HeadTooLargeError(431, TOO_LARGE)
            raise self.refused
