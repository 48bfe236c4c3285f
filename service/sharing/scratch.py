"""Folders that a supervisor has while it runs; those of killed ones go when the next one starts."""

import fcntl
import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PREFIX = "segmenter-"
LOCK = "lock"
"""Held as long as its process runs, however that ends."""
YOUNG_S = 60.0
"""Seconds in which a folder may be made and not locked yet."""


def scratch_folder(kind: str = "") -> tempfile.TemporaryDirectory[str]:
    """A new folder of this process among the system's temporary files.

    Raises:
        OSError: there is no place for one.
    """
    remove_abandoned(Path(tempfile.gettempdir()))
    folder = tempfile.TemporaryDirectory(prefix=f"{PREFIX}{kind}")
    held = os.open(Path(folder.name) / LOCK, os.O_RDWR | os.O_CREAT, 0o600)  # never closed by us
    fcntl.flock(held, fcntl.LOCK_EX)
    return folder


def remove_abandoned(place: Path) -> None:
    """Remove our folders whose processes are gone."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if is_ours and time.time() - found.st_mtime > YOUNG_S and _is_free(folder / LOCK):
                shutil.rmtree(folder, ignore_errors=True)


def _is_free(lock: Path) -> bool:
    file = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(file)
    return True
