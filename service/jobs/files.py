"""Images and answers of jobs: a folder, or an object store that fsspec knows."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import fsspec

from seg.errors import ConfigError

RESULT, HEAD = "result", "head"
"""The answer; and what is told of it, of a job whose answer goes to an archive."""


class FilesUnavailableError(Exception):
    """The store did not do what it was asked to; it may do so later."""


class JobFiles:
    """A folder for each job. All methods raise ``FilesUnavailableError`` where the store fails."""

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

    def put(self, job: str, name: str, source: IO[bytes]) -> None:
        """Keep a file."""
        with self.writing(job, name) as target:
            shutil.copyfileobj(source, target, 1 << 20)

    @contextmanager
    def writing(self, job: str, name: str) -> Iterator[IO[bytes]]:
        """A file to write: it is there whole, or not at all.

        What is for an object store is written to this machine's temporary folder first: a store
        would keep what came before an error. It has no name there, so that it goes with a process
        that is killed.
        """
        if self.folder is not None:
            with _asked():
                self._system.makedirs(self._at(job), exist_ok=True)
            with _written_beside(Path(self._at(job, name))) as file:
                yield file
            return
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            with _asked():
                self._system.makedirs(self._at(job), exist_ok=True)
                self._system.put_file(f"/dev/fd/{file.fileno()}", self._at(job, name))

    def open(self, job: str, name: str) -> IO[bytes]:
        """A file to read.

        Raises:
            FileNotFoundError: there is none.
        """
        with _asked():
            file: IO[bytes] = self._system.open(self._at(job, name), "rb")
        return file

    def read(self, job: str, name: str) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: there is none.
        """
        with _asked():
            content: bytes = self._system.cat_file(self._at(job, name))
        return content

    def has(self, job: str, name: str) -> bool:
        """Whether there is such a file."""
        with _asked():
            return bool(self._system.exists(self._at(job, name)))

    def size(self, job: str, name: str) -> int:
        """Bytes of a file."""
        with _asked():
            return int(self._system.size(self._at(job, name)))

    def delete(self, job: str) -> None:
        """Delete all files of a job."""
        with _asked():
            if self._system.exists(self._at(job)):
                self._system.rm(self._at(job), recursive=True)

    def _at(self, job: str, name: str | None = None) -> str:
        return "/".join(part for part in (self._root, job, name) if part)


@contextmanager
def _written_beside(target: Path) -> Iterator[IO[bytes]]:
    part = target.with_name(target.name + ".part")
    try:
        with _asked():
            file = part.open("wb")
        with file:
            yield file
        with _asked():
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _asked() -> Iterator[None]:
    """Stores fail with errors of many libraries."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        raise FilesUnavailableError(type(error).__name__) from error
