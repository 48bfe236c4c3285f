"""Folders that one process at a time makes or fills."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from seg.errors import ConfigError
from seg.files import remove_unfinished

WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""What disks say that know no locks, as some over a network do not."""


def system_lock(file: Path, refusal: str, wait_s: float = 0.0) -> FileLock | None:
    """The system's own lock, which ends with the process; None where a disk knows none.

    Args:
        file: that is locked; its folder is made if need be.
        refusal: what is said where another process holds it.
        wait_s: how long it is waited for, in seconds.

    Raises:
        ConfigError: another process holds it, and still does after ``wait_s``.
        OSError: the folder cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, fallback_to_soft=False)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout as error:
        raise ConfigError(refusal) from error
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        return None
    return lock


@contextmanager
def held(target: Path, lock: Path) -> Iterator[None]:
    """Let no other process that asks for the target write to it within the block.

    Args:
        target: what is written.
        lock: a file beside it, or in it, that is there as long; its folder is made, and not left
            behind empty. Where a disk knows no locks, nothing is held.

    Raises:
        ConfigError: another process holds it.
        OSError: the folder cannot be written.
    """
    is_made = not lock.parent.exists()
    ours = system_lock(
        lock, f"another command is writing to {target}; wait for its end, or name another folder"
    )
    try:
        yield
    finally:
        if ours:
            lock.unlink(missing_ok=True)
            ours.release()
        if is_made:
            with suppress(OSError):
                lock.parent.rmdir()  # where it is empty


def check_new(target: Path) -> None:
    """Pass where a folder can be made there.

    Raises:
        ConfigError: something is there.
        OSError: it cannot be looked at.
    """
    if target.exists() and not target.is_dir():
        raise ConfigError(f"{target} is a file; name a new folder")
    if target.exists() and any(target.iterdir()):
        raise ConfigError(f"{target} is not empty; name another folder with -o")


@contextmanager
def new_folder(target: Path) -> Iterator[None]:
    """Hold a folder that is made within the block, and is not there before.

    Raises:
        ConfigError: something is there, or another process makes it.
    """
    check_new(target)
    target = target.absolute()
    with held(target, target.with_name(f".{target.name}.lock")):
        check_new(target)  # another may have been done meanwhile
        remove_unfinished(target)
        yield
