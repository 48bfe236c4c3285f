"""A table of so many rows that they lie in a file: those of the objects of slides."""

import json
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from time import monotonic

from filelock import FileLock, Timeout

from seg.predict.tables import CASE, SECONDS_BETWEEN_SAVES, Row, rows_by_case, write_rows

PATIENCE = 20
"""A table is saved when so many times passed as the last save took."""
PREFIX, LOCK = ".rows-", "lock"


class LongTable:
    """As ``Table``, but no rows are in memory: a file a case lies in a folder that goes with it."""

    def __init__(self, path: Path, columns: Sequence[str] = ()) -> None:
        """Read the table, or begin one.

        Args:
            path: of the table.
            columns: that it has while there is no row.

        Raises:
            ConfigError: there is a file of that name that is no such table.
        """
        self._path = path
        self._usual = [CASE, *columns]
        self._columns: dict[str, None] = {CASE: None}
        self._files: dict[str, Path] = {}
        self._counts: dict[str, int] = {}
        self._saved, self._pause = monotonic(), SECONDS_BETWEEN_SAVES
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path.parent)
        self._folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=PREFIX))
        self._lock = FileLock(self._folder / LOCK)
        self._lock.acquire()
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        if path.exists():
            self._read()

    def count_of(self, case: str) -> int:
        """Rows of a case."""
        return self._counts.get(case, 0)

    def put(self, case: str, rows: Iterable[Row]) -> None:
        """Take the rows of a case in place of older ones; saved after some seconds."""
        file = self._files.setdefault(case, self._folder / str(len(self._files)))
        self._counts[case] = 0
        with file.open("w", encoding="utf-8") as lines:
            for row in rows:
                self._columns |= dict.fromkeys(row)
                self._counts[case] += 1
                lines.write(json.dumps(row) + "\n")
        if monotonic() - self._saved > self._pause:
            self.save()

    def save(self) -> None:
        """Write the table, whole or not at all."""
        begun = monotonic()
        cases = sorted(self._files)
        rows = ({CASE: case, **row} for case in cases for row in self.rows_of(case))
        columns = list(self._columns) if any(self._counts.values()) else self._usual
        write_rows(self._path, columns, rows)
        self._saved = monotonic()
        self._pause = max(SECONDS_BETWEEN_SAVES, PATIENCE * (self._saved - begun))

    def rows_of(self, case: str) -> Iterator[Row]:
        """Those of a case, from its file."""
        if case not in self._files:
            return
        with self._files[case].open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)

    def _read(self) -> None:
        for case, rows in groupby(rows_by_case(self._path), key=itemgetter(0)):
            self.put(case, (row for _, row in rows))


def _remove_left(parent: Path) -> None:
    """Folders of processes that were killed, whose locks the system has let go."""
    for folder in parent.glob(f"{PREFIX}*"):
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)
