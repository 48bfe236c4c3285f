"""Parts of a body, written into one ZIP file as they come."""

import zipfile
from collections.abc import Callable, Mapping
from typing import IO, cast

from seg.dicomweb.open_files import Rewindable
from seg.errors import ArchiveError, ImageTooLargeError

MAGIC_AT, MAGIC = 128, b"DICM"
"""What a whole file of DICOM (PS3.10) has, and how a pixel's bulk data or an error page has not."""


class PartsZip:
    """A sink of parts: each becomes a stored member."""

    def __init__(self, target: Rewindable) -> None:
        """Write to an empty file that can be wound back."""
        self._zip = zipfile.ZipFile(cast(IO[bytes], target), "w", zipfile.ZIP_STORED)
        self._member: IO[bytes] | None = None
        self.count = 0
        """Whole parts."""

    def begin(self, headers: Mapping[str, str]) -> None:
        """The next part begins."""
        self._member = self._zip.open(f"{self.count:06}.dcm", "w", force_zip64=True)

    def write(self, content: bytes) -> None:
        """The next bytes of it."""
        assert self._member is not None
        self._member.write(content)

    def end(self) -> None:
        """It is whole."""
        assert self._member is not None
        self._member.close()
        self._member = None
        self.count += 1

    def close(self) -> None:
        """All parts have come."""
        if self._member is not None:
            self._member.close()
        self._zip.close()


class InstancesZip(PartsZip):
    """A sink of instances, and of nothing else."""

    def __init__(
        self, target: Rewindable, most_bytes: int, on_bytes: Callable[[int], None] = lambda n: None
    ) -> None:
        """Write to an empty file.

        Args:
            target: can be wound back.
            most_bytes: of all instances together.
            on_bytes: is told how many more came.
        """
        super().__init__(target)
        self._most, self._on_bytes = most_bytes, on_bytes
        self._head = b""
        self._bytes = 0

    def begin(self, headers: Mapping[str, str]) -> None:
        """The next instance begins."""
        self._head = b""
        super().begin(headers)

    def write(self, content: bytes) -> None:
        """The next bytes of it.

        Raises:
            ArchiveError: it is no file of DICOM.
            ImageTooLargeError: there are more bytes than may be.
        """
        self._bytes += len(content)
        if self._bytes > self._most:
            raise ImageTooLargeError(
                f"the series has more than the {self._most / 1e6:g} MB that a job may have"
            )
        self._on_bytes(len(content))
        if len(self._head) < MAGIC_AT + len(MAGIC):
            self._head += content[: MAGIC_AT + len(MAGIC) - len(self._head)]
            self._check(is_ended=False)
        super().write(content)

    def end(self) -> None:
        """It is whole."""
        self._check(is_ended=True)
        super().end()

    def _check(self, *, is_ended: bool) -> None:
        magic = self._head[MAGIC_AT:]
        if not MAGIC.startswith(magic) or (is_ended and magic != MAGIC):
            raise ArchiveError(
                "the archive answered with something that is no DICOM file; is the address the "
                "root of its DICOMweb?"
            )
