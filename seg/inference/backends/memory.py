"""Memory that backends keep for their next run, given back while there is none."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class ShrinkingBackend(Protocol):
    """A backend that keeps memory from run to run."""

    def shrink(self) -> None:
        """Give it back; the next run asks for it again."""
        ...


def shrink(backend: object) -> None:
    """Give back what a backend keeps, where it knows how.

    Raises:
        BackendError: its device fails.
    """
    if isinstance(backend, ShrinkingBackend):
        backend.shrink()
