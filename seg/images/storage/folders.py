"""Files in a folder or in a ZIP archive, of which one at a time is unpacked."""

import mmap
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from seg.errors import ImageError, ImageTooLargeError
from seg.images.storage.files import CHUNK_BYTES, BinaryFile, unpacked

MAX_FILES = 20_000
"""Files of one image, in a folder or in an archive."""

ZIP_ERRORS = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
    RuntimeError,  # encrypted
    NotImplementedError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file by its name within the folder or archive."""

    name: str
    open: Callable[[], AbstractContextManager[BinaryFile]]
    head: Callable[[int], bytes]
    """So many of its first bytes, of which nothing more is unpacked."""


def entries_of_folder(folder: Path) -> list[Entry]:
    """All files below a folder, hidden ones left out, in the order of their names.

    Raises:
        ImageTooLargeError: there are more than ``MAX_FILES``.
    """
    entries: list[Entry] = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            if len(entries) == MAX_FILES:
                raise ImageTooLargeError(f"at most {MAX_FILES:,} files are read, {folder} has more")
            name = str(path.relative_to(folder))
            whole = partial(_file, path, name)
            entries.append(Entry(name, whole, partial(_head, whole)))
    return entries


def entries_of_zip(archive: zipfile.ZipFile, max_bytes: int) -> list[Entry]:
    """All files of an archive.

    Raises:
        ImageTooLargeError: more files than ``MAX_FILES``, or more than ``max_bytes`` unpacked.
        ImageError: a name that points out of the archive, or a link.
    """
    infos = [info for info in archive.infolist() if not info.is_dir()]
    if len(infos) > MAX_FILES:
        raise ImageTooLargeError(f"at most {MAX_FILES:,} files are read, the ZIP has more")
    total = sum(info.file_size for info in infos)
    if total > max_bytes:
        raise ImageTooLargeError(
            f"at most {max_bytes:,} bytes are unpacked, the ZIP file announces {total:,}; "
            "pack one image"
        )
    for info in infos:
        name = PurePosixPath(info.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
            raise ImageError("the ZIP file names a path outside of itself; pack the folder anew")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ImageError("the ZIP file holds a link; pack the files themselves")
    return [
        Entry(
            info.filename,
            partial(_member, archive, info),
            partial(_head, partial(_packed, archive, info)),
        )
        for info in infos
    ]


@contextmanager
def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[BinaryFile]:
    with _packed(archive, info) as member, unpacked(member.read, info.file_size) as file:
        yield file


@contextmanager
def _packed(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    """A file of an archive that is unpacked as far as it is read."""
    try:
        with archive.open(info) as member:
            yield member
    except ImageError:
        raise
    except ZIP_ERRORS as error:
        raise damaged_zip(error) from error


def _head(opened: Callable[[], AbstractContextManager[IO[bytes]]], size: int) -> bytes:
    with opened() as file:
        return file.read(size)


@contextmanager
def unpacked_entries(entries: Sequence[Entry]) -> Iterator[dict[str, memoryview]]:
    """The content of all files by name, in a temporary file that is mapped and not in memory."""
    places: list[tuple[str, int, int]] = []
    with tempfile.TemporaryFile() as target:
        for entry in entries:
            start = target.tell()
            with entry.open() as file:
                shutil.copyfileobj(file, target, CHUNK_BYTES)
            places.append((entry.name, start, target.tell()))
        target.flush()
        if not target.tell():  # nothing can be mapped
            yield {name: memoryview(b"") for name, _, _ in places}
            return
        # Not closed: arrays may look at it still; it goes with the last of them.
        whole = memoryview(mmap.mmap(target.fileno(), 0, access=mmap.ACCESS_READ))
        yield {name: whole[start:end] for name, start, end in places}


@contextmanager
def _file(path: Path, name: str) -> Iterator[BinaryFile]:
    try:
        with path.open("rb") as file:
            yield file
    except ImageError as error:
        raise type(error)(f"{name}: {error}") from error
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {error.strerror}") from error


def damaged_zip(error: BaseException) -> ImageError:
    """The error for an archive that cannot be unpacked."""
    if isinstance(error, NotImplementedError):  # as Windows packs what is larger than 2 GB
        return ImageError(
            "the ZIP file is packed in a way that is not read, such as Deflate64; "
            "pack it anew, with Deflate"
        )
    return ImageError(
        f"the ZIP file is damaged, encrypted or cut short ({type(error).__name__}); pack it anew"
    )
