"""How many bytes the studio's folder may hold: no key fills the disk with images or versions."""

import os
import shutil
import threading
from pathlib import Path
from time import monotonic

from service.problems.response import Problem

FRESH_S = 10.0
"""Seconds for which a look at the folder counts; what this process writes meanwhile is added."""
SHARE = 2
"""Of what the disk has free, the folder may take one part in so many."""


class FolderRoom:
    """For any thread; other processes that write are seen within `FRESH_S`."""

    def __init__(self, folder: Path, most: int | None = None) -> None:
        """``most`` bytes; None is what lies there now, and half of what the disk has free."""
        self._folder, self._most = folder, most
        self._lock = threading.Lock()
        self._used, self._looked = 0, -FRESH_S

    def require(self, size: int) -> None:
        """Pass where so many bytes more have room, and count them.

        Raises:
            Problem: 507, they have none.
        """
        with self._lock:
            if monotonic() - self._looked >= FRESH_S:
                self._used, self._looked = _bytes_in(self._folder), monotonic()
            if self._most is None:
                self._most = self._used + _free_at(self._folder) // SHARE
            if self._used + size > self._most:
                raise Problem(
                    507,
                    f"the studio's images and all that is drawn on them may take "
                    f"{self._most / 1e6:,.0f} MB here; remove images (DELETE /studio/images/ID), "
                    "or raise SEG_MAX_STUDIO_MB",
                )
            self._used += size


def _bytes_in(folder: Path) -> int:
    """Of all files, without going where links lead."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118  many
            except FileNotFoundError:  # it was taken away meanwhile
                continue
    return total


def _free_at(folder: Path) -> int:
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free
