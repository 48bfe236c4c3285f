"""What is asked of files, whatever they are: on disk, in memory, or in an archive."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Readable(Protocol):
    """A file from where it stands."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        ...


@runtime_checkable
class Rewindable(Protocol):
    """A file to write into, at any place."""

    def write(self, content: bytes, /) -> Any:
        """The next bytes."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> Any:
        """Go to a place."""
        ...

    def tell(self) -> int:
        """The place."""
        ...
