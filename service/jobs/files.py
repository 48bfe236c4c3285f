"""Images and answers of jobs: a folder, or an object store that fsspec knows."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

import fsspec

from seg.errors import ConfigError

RESULT = "result"


class JobFiles:
    """A folder for each job."""

    def __init__(self, url: str) -> None:
        """Open the store.

        Args:
            url: a path, or a URL such as ``s3://bucket/jobs``; options of the store (endpoint,
                keys) are those of fsspec's own configuration and environment.

        Raises:
            ConfigError: it cannot be opened.
        """
        try:
            self._system, self._root = fsspec.core.url_to_fs(url)
            if self.folder is not None:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.folder.chmod(0o700)
        except (OSError, ValueError, ImportError) as error:
            raise ConfigError(
                f"files of jobs cannot be kept in {url}: {error}; SEG_JOBS_FILES names a folder or "
                "an object store"
            ) from error

    @property
    def folder(self) -> Path | None:
        """Where it is on this machine's disk, if it is."""
        is_local = "file" in (self._system.protocol or ())
        return Path(self._root) if is_local else None

    def put(self, job: str, name: str, source: BinaryIO) -> None:
        """Keep a file."""
        with self.writing(job, name) as target:
            shutil.copyfileobj(source, target, 1 << 20)

    @contextmanager
    def writing(self, job: str, name: str) -> Iterator[IO[bytes]]:
        """A file to write.

        On a disk it is there whole, or not at all. An object store may keep what was written before
        an error; no job points at it.
        """
        self._system.makedirs(self._at(job), exist_ok=True)
        if self.folder is None:
            with self._system.open(self._at(job, name), "wb") as file:
                yield file
            return
        part = Path(self._at(job, name + ".part"))
        try:
            with part.open("wb") as file:
                yield file
            part.replace(self._at(job, name))
        finally:
            part.unlink(missing_ok=True)

    def open(self, job: str, name: str) -> IO[bytes]:
        """A file to read."""
        file: IO[bytes] = self._system.open(self._at(job, name), "rb")
        return file

    def read(self, job: str, name: str) -> bytes:
        """The content of a file."""
        with self.open(job, name) as file:
            return file.read()

    def size(self, job: str, name: str) -> int:
        """Bytes of a file."""
        return int(self._system.size(self._at(job, name)))

    def delete(self, job: str) -> None:
        """Delete all files of a job."""
        if self._system.exists(self._at(job)):
            self._system.rm(self._at(job), recursive=True)

    def _at(self, job: str, name: str | None = None) -> str:
        return "/".join(part for part in (self._root, job, name) if part)
