"""Instances on disk from the moment when their sender is told that they are stored."""

import hashlib
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from seg.files import replace_file, replaced_file
from seg.images.dicom.instance_facts import InstanceFacts
from service.archives.rules import SeriesFacts

SENDER, RELEASED = "sender", "released"
"""Files beside the instances of a series: the name of the peer that sent it last; and that its
association was released after them, as it should be."""


class SpoolFullError(Exception):
    """No more can be kept now."""


@dataclass(frozen=True, slots=True)
class PackedSeries:
    """What lies there of a series, as one ZIP file."""

    facts: SeriesFacts
    sender: str | None
    files: tuple[Path, ...]


class Spool:
    """A folder for each series; files are whole, and on the disk itself before they count."""

    def __init__(self, root: Path, most_bytes: int, most_of_series: int) -> None:
        """Open it, with what a process that died has left."""
        self._root, self._most, self._most_of_series = root, most_bytes, most_of_series
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        self._lock = threading.Lock()
        self._bytes = {folder.name: _size(folder) for folder in self._folders()}

    def series(self) -> dict[str, float]:
        """Names of the folders here, and when each was added to last, in seconds since 1970."""
        return {folder.name: folder.stat().st_mtime for folder in self._folders()}

    def is_released(self, name: str) -> bool:
        """Nothing more of a series was to come when it was last heard of."""
        return (self._root / name / RELEASED).exists()

    def mark_released(self, name: str) -> None:
        """Remember that, until the next instance.

        Raises:
            OSError: the disk does not take it.
        """
        if (self._root / name).is_dir():
            replace_file(self._root / name / RELEASED, b"", 0o600)

    def keep(self, facts: InstanceFacts, content: Path, sender: str | None) -> str:
        """Keep an instance; the name of its series' folder. One that is there already is replaced.

        Raises:
            SpoolFullError: there are more bytes than may be.
            OSError: the disk does not take it.
        """
        file = self.path_of(facts)
        folder = file.parent
        name = folder.name
        size = content.stat().st_size
        self._reserve(name, size)
        try:
            before = file.stat().st_size if file.exists() else 0
            with replaced_file(file, 0o600) as part, part.open("wb") as target:
                with content.open("rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
            replace_file(folder / SENDER, (sender or "").encode(), 0o600)
            (folder / RELEASED).unlink(missing_ok=True)
            _sync(folder)
        except BaseException:
            self._reserve(name, -size)
            raise
        self._reserve(name, -before)
        return name

    def path_of(self, facts: InstanceFacts) -> Path:
        """Where an instance lies, once it has been kept."""
        name = _hashed(f"{facts.study} {facts.series}")
        return self._root / name / f"{_hashed(facts.instance)}.dcm"

    def pack(
        self, name: str, target: IO[bytes], read: Callable[[IO[bytes]], InstanceFacts]
    ) -> PackedSeries | None:
        """Write a series into a ZIP file, the names of its members their SOPInstanceUIDs.

        Args:
            name: of its folder.
            target: an empty file.
            read: tells what an instance is.
        """
        folder = self._root / name
        files = tuple(sorted(folder.glob("*.dcm")))
        if not files:
            return None
        instances: list[InstanceFacts] = []
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for path in files:
                with path.open("rb") as file:
                    instances.append(read(file))
                archive.write(path, f"{instances[-1].instance}.dcm")
        sender = (folder / SENDER).read_text(encoding="utf-8") if (folder / SENDER).exists() else ""
        return PackedSeries(SeriesFacts.of(instances), sender or None, files)

    def delete(self, name: str, packed: PackedSeries | None) -> bool:
        """Delete what was packed; whether nothing more has come."""
        for path in packed.files if packed else ():
            path.unlink(missing_ok=True)
        folder = self._root / name
        is_empty = not any(folder.glob("*.dcm"))
        if is_empty:
            shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            self._bytes[name] = _size(folder)
            if not self._bytes[name]:
                del self._bytes[name]
        return is_empty

    def _reserve(self, name: str, size: int) -> None:
        with self._lock:
            of_series = self._bytes.get(name, 0) + size
            if size > 0 and (
                of_series > self._most_of_series or sum(self._bytes.values()) + size > self._most
            ):
                raise SpoolFullError
            self._bytes[name] = of_series

    def _folders(self) -> Iterator[Path]:
        return (path for path in self._root.iterdir() if path.is_dir())


def _hashed(uid: str) -> str:
    """As a name of a file, which may be seen where UIDs must not."""
    return hashlib.sha256(uid.encode()).hexdigest()[:32]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.dcm")) if folder.exists() else 0


def _sync(folder: Path) -> None:
    """The entry of a new file belongs to its folder, which is written apart."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
