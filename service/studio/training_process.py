"""What a training of the service must not outlive: its process and its folder.

``python -m service.studio.training_process PARENT MODULE ...`` runs a module that ends with the
process that started it: of a service that was killed nobody would take the result.
"""

import runpy
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from service.expendable import end_with_parent

LONGEST_DETAIL = 300
"""Letters of what a command said last."""


@contextmanager
def training_folder(root: Path, name: str) -> Iterator[Path]:
    """A folder for a training, held while the block lasts and gone when it ends."""
    root.mkdir(parents=True, exist_ok=True)
    lock = _lock_of(root / name)
    with lock.acquire(timeout=0):
        (root / name).mkdir()
        try:
            yield root / name
        finally:
            shutil.rmtree(root / name, ignore_errors=True)
            Path(lock.lock_file).unlink(missing_ok=True)


def remove_dead(root: Path) -> None:
    """Remove folders of trainings whose service was killed: nobody holds them."""
    for folder in root.glob("*"):
        if folder.is_dir():
            lock = _lock_of(folder)
            with suppress(Timeout, OSError), lock.acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
                Path(lock.lock_file).unlink(missing_ok=True)


def last_words(said: str, command: str, places: Mapping[Path, str]) -> str:
    """What a command said last, to somebody who does not see the service's disk.

    Args:
        said: all that it said.
        command: its module.
        places: names of folders.
    """
    lines = said.strip().splitlines()
    if not lines:
        return f"{command} ended without a word"
    last = lines[-1].removeprefix(f"{command}: ").removeprefix("error: ")
    for path, name in sorted(places.items(), key=lambda place: -len(str(place[0]))):
        for written in (path.resolve(), path):
            last = last.replace(str(written), name)
    return last[:LONGEST_DETAIL]


def _lock_of(folder: Path) -> FileLock:
    return FileLock(folder.with_name(f"{folder.name}.lock"), mode=0o600, thread_local=False)


def main() -> None:
    """Run a module, as ``python -m`` would."""
    parent, module, *arguments = sys.argv[1:]
    end_with_parent(signal.SIGKILL, int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
