"""Programs that speak DICOM's own protocol: who may send series, and where results go.

``SEG_DICOM_PEERS`` lists them: ``NAME=TITLE@HOST:PORT``, with ``/tls`` behind those that are sent
to over TLS. ``SEG_DICOM_TLS_FILE`` says by which certificate we are known, and whom we trust.
"""

import importlib
import logging
import re
import shutil
import socket
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from seg.dicomweb.credentials import Credentials
from seg.dicomweb.open_files import Readable
from seg.errors import ArchiveAwayError, ArchiveError, ConfigError
from seg.version import installed_with
from service.archives.sources import NAME
from service.settings import AE_TITLE

_ENTRY = re.compile(
    rf"(?P<name>[^=]*)=(?P<title>{AE_TITLE})@(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
    r":(?P<port>[0-9]{1,5})(?P<tls>/tls)?"
)
EXAMPLE = "pacs=ORTHANC@127.0.0.1:4242"
CONNECT_S, ANSWER_S = 10.0, 120.0
SUCCESS, OUT_OF_RESOURCES, WARNINGS = 0x0000, range(0xA700, 0xA800), range(0xB000, 0xC000)
"""Statuses of C-STORE. Source: DICOM PS3.4, table B.2-1."""
DUPLICATE = 0x0111
"""It has the instance already: it was stored, and its answer was lost."""
UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
"""Explicit and implicit VR; all must take the latter, and some take nothing else."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that the operator has listed."""

    name: str
    title: str
    """By which it calls itself, and is called."""
    host: str
    port: int
    is_tls: bool = False


@dataclass(frozen=True)
class Peers:
    """Programs by name."""

    by_name: Mapping[str, Peer]
    title: str
    """Our own."""
    tls_file: Path | None = None

    @classmethod
    def parsed(cls, text: str, title: str, tls_file: Path | None = None) -> "Peers":
        """``pacs=ORTHANC@127.0.0.1:4242,ward=WARD@pacs.ward:2762/tls``.

        Raises:
            ConfigError: an entry is none, or the file for TLS cannot be used.
        """
        peers: dict[str, Peer] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            match = _ENTRY.fullmatch(entry)
            is_one = match is not None and NAME.fullmatch(match["name"]) is not None
            if match is None or not is_one or match["name"] in peers or int(match["port"]) > 65535:
                raise ConfigError(
                    f"SEG_DICOM_PEERS has an entry {entry[:64]!r} that is none; an entry is like "
                    f"{EXAMPLE}, and a name stands for one peer"
                )
            host = match["host"].strip("[]")
            peers[match["name"]] = Peer(
                match["name"], match["title"], host, int(match["port"]), bool(match["tls"])
            )
        found = cls(peers, title, tls_file)
        if tls_file is not None:
            found.credentials.tls()
        if any(peer.is_tls for peer in peers.values()) and tls_file is None:
            raise ConfigError("a peer of SEG_DICOM_PEERS has /tls, which needs SEG_DICOM_TLS_FILE")
        return found

    @cached_property
    def credentials(self) -> Credentials:
        """By which certificate we are known, and whom we trust."""
        return Credentials.read(self.tls_file) if self.tls_file else Credentials()

    def calling(self, title: str, address: str) -> Peer | None:
        """Who calls: a peer by its title, from an address that its host stands for."""
        for peer in self.by_name.values():
            if peer.title == title.strip() and address in _addresses(peer.host):
                return peer
        return None

    def is_at(self, address: str) -> bool:
        """Whether an address is one that a peer's host stands for."""
        return any(address in _addresses(peer.host) for peer in self.by_name.values())

    def reached(self, name: str) -> "PeerArchive":
        """A peer that results are sent to.

        Raises:
            ConfigError: pynetdicom is not installed, or the file for TLS cannot be used.
        """
        peer = self.by_name[name]
        return PeerArchive(peer, self.title, self.credentials.tls() if peer.is_tls else None)


class PeerArchive:
    """Stores instances by C-STORE; as `seg.dicomweb.Archive` does by STOW-RS."""

    def __init__(self, peer: Peer, title: str, tls: ssl.SSLContext | None) -> None:
        self._peer, self._title, self._tls = peer, title, tls
        self._name = f"the peer {peer.name}"
        self._library = pynetdicom()

    def __enter__(self) -> "PeerArchive":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """An association lasts as long as what is stored in it."""

    def store(self, files: Sequence[tuple[Readable, int]], study: str | None = None) -> list[str]:
        """Store instances; the SOPInstanceUIDs of those that it says it has stored.

        Args:
            files: each a file of DICOM at its start, and its bytes.
            study: to which all of them belong; they say so themselves.

        Raises:
            ArchiveError: it has not stored them all.
        """
        with tempfile.TemporaryDirectory() as folder:
            datasets = [
                _dataset(file, Path(folder) / f"{number}.dcm")
                for number, (file, _) in enumerate(files)
            ]
            association = self._associated(datasets)
            try:
                self._check_kinds(association, datasets)
                return [self._stored(association, dataset) for dataset in datasets]
            finally:
                association.release()

    def _associated(self, datasets: Sequence[Any]) -> Any:
        entity = self._library.AE(self._title)
        entity.connection_timeout = CONNECT_S
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = ANSWER_S
        kinds = {(each.SOPClassUID, each.file_meta.TransferSyntaxUID) for each in datasets}
        for sop_class, syntax in sorted(kinds):
            for offered in dict.fromkeys((str(syntax), *UNCOMPRESSED)):
                entity.add_requested_context(sop_class, offered)
        peer = self._peer
        tls = None if self._tls is None else (self._tls, peer.host)
        association = entity.associate(peer.host, peer.port, ae_title=peer.title, tls_args=tls)
        if association.is_established:
            return association
        if association.is_rejected:
            raise self._rejected(association)
        if association.acceptor.primitive is not None:  # it took the call, and no kind of ours
            raise ArchiveError(f"{self._name} takes none of these kinds of DICOM")
        raise ArchiveAwayError(f"{self._name} cannot be reached")

    def _check_kinds(self, association: Any, datasets: Sequence[Any]) -> None:
        """All or nothing: a report is of no use where the mask that it refers to is not taken."""
        taken = {context.abstract_syntax for context in association.accepted_contexts}
        for dataset in datasets:
            if dataset.SOPClassUID not in taken:
                raise ArchiveError(f"{self._name} takes no {dataset.Modality} by C-STORE")

    def _rejected(self, association: Any) -> ArchiveError:
        answer = association.acceptor.primitive
        if getattr(answer, "result", None) == 2:  # transient; PS3.8, table 9-21
            return ArchiveAwayError(f"{self._name} takes no more associations now")
        return ArchiveError(f"{self._name} does not know our title {self._title}, or not its own")

    def _stored(self, association: Any, dataset: Any) -> str:
        if _must_be_unpacked(association, dataset):
            dataset.decompress(generate_instance_uid=False)
        try:
            answer = association.send_c_store(dataset)
        except ValueError:
            raise ArchiveError(
                f"{self._name} does not take this {dataset.Modality} as it is encoded"
            ) from None
        except (RuntimeError, OSError):
            raise ArchiveAwayError(f"{self._name} broke the association off") from None
        status = getattr(answer, "Status", None)
        if status is None:
            raise ArchiveAwayError(f"{self._name} did not answer in time")
        if status in OUT_OF_RESOURCES:
            raise ArchiveAwayError(f"{self._name} is out of space")
        if status not in (SUCCESS, DUPLICATE) and status not in WARNINGS:
            raise ArchiveError(f"{self._name} did not store a result ({status:#06x})")
        return str(dataset.SOPInstanceUID)


@cache
def pynetdicom() -> Any:
    """The library of the extra ``dicom``, silenced: its lines hold UIDs and titles.

    Raises:
        ConfigError: it is not installed.
    """
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
    try:
        return importlib.import_module("pynetdicom")
    except ImportError:
        raise ConfigError(
            f"DICOM's own protocol needs pynetdicom: {installed_with('dicom')}"
        ) from None


def _dataset(source: Readable, path: Path) -> Any:
    import pydicom

    with path.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    return pydicom.dcmread(path)


def _must_be_unpacked(association: Any, dataset: Any) -> bool:
    """A peer takes the kind of DICOM, and not its compression."""
    syntax = dataset.file_meta.TransferSyntaxUID
    taken = {
        context.transfer_syntax[0]
        for context in association.accepted_contexts
        if context.abstract_syntax == dataset.SOPClassUID
    }
    return bool(syntax.is_compressed and taken and syntax not in taken)


def _addresses(host: str) -> set[str]:
    """All of a host's; asked anew each time, since they may change."""
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return set()
