"""Where results go: archives that store by STOW-RS, and peers that do by C-STORE."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from seg.dicomweb.open_files import Readable
from seg.errors import ArchiveError, ConfigError
from service.archives.peers import Peers
from service.archives.sources import Sources
from service.observability.logs import LOGGER
from service.problems.response import Problem
from service.settings import Settings


@runtime_checkable
class Destination(Protocol):
    """What stores instances."""

    def __enter__(self) -> Self:
        """Itself."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        ...

    def store(self, files: Sequence[tuple[Readable, int]], study: str | None = None) -> list[str]:
        """Store instances; the SOPInstanceUIDs of those that it says it has stored."""
        ...


@dataclass(frozen=True)
class Destinations:
    """By name; one name stands for one of them."""

    sources: Sources
    peers: Peers

    @classmethod
    def of(cls, settings: Settings) -> "Destinations":
        """Those that the settings list.

        Raises:
            ConfigError: an entry is none, or a name stands for two.
        """
        sources = Sources.parsed(settings.dicomweb)
        peers = Peers.parsed(settings.dicom_peers, settings.dicom_title, settings.dicom_tls_file)
        for name in peers.by_name:
            if name in sources.roots:
                raise ConfigError(
                    f"{name!r} stands in SEG_DICOMWEB and in SEG_DICOM_PEERS; give one another name"
                )
        return cls(sources, peers)

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, archives first."""
        return (*self.sources.roots, *self.peers.by_name)

    @property
    def default(self) -> str | None:
        """Where results go when nobody says where."""
        return next(iter(self.names), None)

    def check(self, name: str) -> str:
        """The name of one of them.

        Raises:
            Problem: 422, it is not.
        """
        if name not in self.names:
            raise Problem(422, f"destination is one of {', '.join(self.names)}")
        return name

    def reached(self, name: str) -> Destination:
        """One of them, while jobs are worked on.

        Raises:
            ArchiveError: it cannot be asked; what is wrong is the operator's, and goes to the log.
        """
        if name not in self.peers.by_name:
            return self.sources.reached(name)
        try:
            return self.peers.reached(name)
        except ConfigError as error:
            LOGGER.error("archives", extra={"fields": {"reason": str(error)}})
            raise ArchiveError(
                f"the peer {name} cannot be asked; the service's log says why"
            ) from None
