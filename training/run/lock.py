"""A run's folder is taken by one training at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seg.errors import ConfigError
from seg.held_folders import system_lock

LOCK = ".lock"
"""The file in the folder that is locked; it stays there, and says nothing by itself."""
LET_GO_S = 10.0
"""How long the processes of a training that was killed may outlive it: they look every 5 s."""


@contextmanager
def taken(folder: Path, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the folder within the block; it is made if need be, and not left behind empty.

    The lock is the system's, so it ends with the process, however that ends.

    Raises:
        ConfigError: another process holds it, and still does after ``wait_s``; or the folder lies
            on a disk that knows no locks, where a file in their place would outlive the machine.
        OSError: the folder cannot be written.
    """
    lock = system_lock(
        folder / LOCK,
        f"another training is writing to {folder}; wait for its end, or name another folder with "
        "--out",
        wait_s,
    )
    if lock is None:
        raise ConfigError(
            f"{folder} lies on a disk that knows no locks, so that two trainings could write there "
            "at once; name a folder on another disk with --out"
        )
    try:
        yield
    finally:
        if not holds_files(folder):
            (folder / LOCK).unlink(missing_ok=True)
            folder.rmdir()
        lock.release()


def holds_files(folder: Path) -> bool:
    """Something else than the lock lies in the folder."""
    return any(path.name != LOCK for path in folder.iterdir())
