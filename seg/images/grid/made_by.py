"""What made a mask, for the formats that say so."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeBy:
    """A model: its package's name and version, and the hash that tells it from all others."""

    model: str
    version: str = ""
    sha256: str = ""
    """Of the package's card, which holds the hashes of its networks."""
    precision: str = ""
    """Of the network's arithmetic, e.g. ``float32``; empty where it is not known."""
    overlap: float | None = None
    """Share of a window that its neighbour covered as well."""

    def __str__(self) -> str:
        """Name and version."""
        return f"{self.model} {self.version}".strip()
