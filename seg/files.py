"""Files and folders that are written whole or not at all, and their hashes."""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = re.compile(r"\..+\.[^.]+\.[a-z0-9_]{8}")
"""Name of a file that is being written beside its place."""
STALE_S = 3600.0
"""Seconds without a change after which nobody writes it any more."""


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_file(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write the content beside ``path`` and put it in its place when it is complete.

    A reader sees the old file or the new one, never a part of one.
    """
    with replaced_file(path, mode) as part:
        part.write_bytes(content)


@contextmanager
def replaced_file(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """A file beside ``path``, empty at first, that takes its place when the block ends well.

    When the block raises, or the process dies, ``path`` is what it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
        part.chmod(mode)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` that takes its place when the block ends well.

    When the block raises, or the process dies, ``target`` is what it was before.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield folder
        folder.chmod(0o755)
        _replace_folder(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_stale_parts(folder: Path, older_than_s: float = STALE_S) -> None:
    """Remove files of ``replaced_file`` that belong to processes that were killed."""
    for part in folder.glob(".*.*.*"):
        with suppress(OSError):
            is_part = PART.fullmatch(part.name) and part.is_file()
            if is_part and time.time() - part.stat().st_mtime > older_than_s:
                part.unlink()


def remove_unfinished(target: Path) -> None:
    """Remove what a process that was killed left beside ``target``; no other may write there now.

    Only folders of ``written_whole`` are looked for.
    """
    is_left = re.compile(rf"\.{re.escape(target.name)}\.(old\.)?[a-z0-9_]{{8}}").fullmatch
    for path in target.parent.glob(".*"):
        if is_left(path.name) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def _replace_folder(folder: Path, target: Path) -> None:
    if not target.exists():
        folder.replace(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.replace(old / target.name)
    try:
        folder.replace(target)
    except OSError:
        (old / target.name).replace(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
