"""What is known of an image so far, in a folder: a run that was killed goes on from there."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from seg.errors import ConfigError
from seg.files import replaced_file

STATE, LOCK = "state.npz", "lock"
KEY = "key"
SECONDS_BETWEEN_NOTES = 5.0


class Unfinished:
    """Arrays in files, and a note of how far they are.

    The folder goes when the block ends, but where the process is stopped.
    """

    def __init__(self, folder: Path, key: str = "") -> None:
        """Go on with what lies in the folder under that key, or begin anew.

        Args:
            folder: of nothing else.
            key: of all that decides what is written there.

        Raises:
            ConfigError: another process works there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._key = folder, key
        self._lock = FileLock(folder / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(
                "another process segments this image into this folder; wait for it, or name "
                "another folder with --out"
            ) from error
        self.known = self._read()
        self._noted = monotonic()
        self._arrays: list[np.memmap] = []

    def __enter__(self) -> "Unfinished":
        """Nothing more to do."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Remove the folder, but where a person or the system stopped the process."""
        self._lock.release()
        if kind is None or issubclass(kind, Exception):
            shutil.rmtree(self._folder, ignore_errors=True)

    def path(self, name: str) -> Path:
        """Of a file of that name."""
        return self._folder / name

    def array(self, name: str, kind: Any, shape: tuple[int, ...]) -> np.ndarray:
        """An array in a file: as it was left, or of zeros."""
        file = self.path(name)
        is_there = bool(self.known) and file.exists()
        array: np.memmap = np.memmap(file, kind, "r+" if is_there else "w+", shape=shape)
        self._arrays.append(array)
        return array

    @property
    def is_time(self) -> bool:
        """A note is due."""
        return monotonic() - self._noted > SECONDS_BETWEEN_NOTES

    def note(self, facts: Mapping[str, Any]) -> None:
        """Keep how far the arrays are, after what was written to them.

        Args:
            facts: arrays, numbers and texts; those of a name that was noted before are replaced.
        """
        for array in self._arrays:
            array.flush()
        self.known |= {name: np.asarray(value) for name, value in facts.items()}
        with replaced_file(self.path(STATE)) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, **{KEY: np.asarray(self._key), **self.known})
        self._noted = monotonic()

    def _read(self) -> dict[str, np.ndarray]:
        try:
            with np.load(self.path(STATE), allow_pickle=False) as state:
                known = dict(state)
        except (OSError, ValueError, KeyError, EOFError):
            return {}
        return known if str(known.pop(KEY, "")) == self._key else {}
