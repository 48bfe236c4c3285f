"""The instances of an answer, written into one ZIP file as they come."""

import zipfile
from collections.abc import Callable, Mapping
from typing import IO

from seg.errors import ArchiveError, ImageTooLargeError

MAGIC_AT, MAGIC = 128, b"DICM"
"""What a whole file of DICOM (PS3.10) has, and how a pixel's bulk data or an error page has not."""


class InstanceZip:
    """A sink of parts: each an instance, a stored member of an archive."""

    def __init__(
        self, target: IO[bytes], most_bytes: int, on_bytes: Callable[[int], None] = lambda n: None
    ) -> None:
        """Write to a file that can be wound back.

        Args:
            target: empty.
            most_bytes: of all instances together.
            on_bytes: is told how many more came.
        """
        self._zip = zipfile.ZipFile(target, "w", zipfile.ZIP_STORED)
        self._member: IO[bytes] | None = None
        self._most, self._on_bytes = most_bytes, on_bytes
        self._head = b""
        self._bytes = 0
        self.count = 0

    def begin(self, headers: Mapping[str, str]) -> None:
        """The next instance begins."""
        self._head = b""
        self._member = self._zip.open(f"{self.count:06}.dcm", "w", force_zip64=True)

    def write(self, content: bytes) -> None:
        """The next bytes of it.

        Raises:
            ArchiveError: it is no file of DICOM.
            ImageTooLargeError: there are more bytes than may be.
        """
        assert self._member is not None
        self._bytes += len(content)
        if self._bytes > self._most:
            raise ImageTooLargeError(
                f"the series has more than the {self._most / 1e6:g} MB that a job may have"
            )
        self._on_bytes(len(content))
        if len(self._head) < MAGIC_AT + len(MAGIC):
            self._head += content[: MAGIC_AT + len(MAGIC) - len(self._head)]
            self._check(is_ended=False)
        self._member.write(content)

    def end(self) -> None:
        """It is whole."""
        assert self._member is not None
        self._check(is_ended=True)
        self._member.close()
        self._member = None
        self.count += 1

    def close(self) -> None:
        """The archive is whole."""
        if self._member is not None:
            self._member.close()
        self._zip.close()

    def _check(self, *, is_ended: bool) -> None:
        magic = self._head[MAGIC_AT:]
        if not MAGIC.startswith(magic) or (is_ended and magic != MAGIC):
            raise ArchiveError(
                "the archive answered with something that is no DICOM file; is the address the "
                "root of its DICOMweb?"
            )
