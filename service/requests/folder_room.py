"""How many bytes a folder may hold: what comes over the network does not fill a disk."""

import os
import shutil
import threading
from collections.abc import Collection
from pathlib import Path
from time import monotonic

from service.problems.response import Problem

FRESH_S = 10.0
"""Seconds for which a look at the folder counts; what this process writes meanwhile is added."""
SHARE = 2
"""Of what a disk has free, a folder may take one part in so many."""
BLOCK = 4096
"""Bytes of a disk that the smallest file takes, and a folder."""


class FolderRoom:
    """For any thread; other processes that write are seen within `FRESH_S`."""

    def __init__(
        self, folder: Path, most: int | None, too_full: str, besides: Collection[Path] = ()
    ) -> None:
        """Bound a folder.

        Args:
            folder: that is bounded.
            most: bytes; None is what lies there now, and half of what the disk has free.
            too_full: what is said then; ``{most}`` is how much the folder may hold.
            besides: how paths of folders begin in it that are not counted.
        """
        self._folder, self._most, self._too_full = folder, most, too_full
        self._besides = tuple(map(str, besides))
        self._lock = threading.Lock()
        self._used, self._looked = 0, -FRESH_S

    def require(self, *sizes: int) -> None:
        """Pass where files of so many bytes more have room, and count them.

        Raises:
            Problem: 507, they have none.
        """
        size = sum(map(on_disk, sizes))
        with self._lock:
            if monotonic() - self._looked >= FRESH_S:
                self._used, self._looked = bytes_in(self._folder, self._besides), monotonic()
            if self._most is None:
                self._most = self._used + free_at(self._folder) // SHARE
            if self._used + size > self._most:
                most = f"{self._most / 1e6:,.0f} MB"
                raise Problem(507, self._too_full.format(most=most))
            self._used += size


def on_disk(size: int) -> int:
    """What a file of so many bytes takes there: whole blocks, and one for its name and times."""
    return (-(-size // BLOCK) + 1) * BLOCK


def bytes_in(folder: Path, besides: tuple[str, ...] = ()) -> int:
    """What all files take, without going where links lead; but for paths that begin so."""
    total = 0
    for parent, folders, names in os.walk(folder):
        if besides:
            folders[:] = [each for each in folders if not f"{parent}/{each}".startswith(besides)]
        for name in names:
            try:
                total += on_disk(os.lstat(f"{parent}/{name}").st_size)
            except FileNotFoundError:  # it was taken away meanwhile
                continue
    return total


def free_at(folder: Path) -> int:
    """Bytes that are free where a folder lies, or will lie."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free
