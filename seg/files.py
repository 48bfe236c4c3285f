"""Files and folders that are written whole or not at all, and their hashes."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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


def remove_unfinished(target: Path) -> None:
    """Remove what a process that was killed left beside ``target``; no other may write there now.

    Only folders of ``written_whole`` are looked for.
    """
    for path in target.parent.glob(f".{target.name}.*"):
        if path.is_dir() and not path.is_symlink():
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
