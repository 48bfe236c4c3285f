"""Files of the folder, as a decoder takes them."""

import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from service.answers.streams import CHUNK


def state_of(paths: Sequence[Path]) -> tuple[tuple[str, int, int], ...]:
    """What changes where files of an image do: of each its name, time and size."""
    files = [
        each
        for path in paths
        for each in ([path] if path.is_file() else sorted(path.rglob("*")))
        if each.is_file()
    ]
    stats = [(each.name, each.stat()) for each in files]
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)


def opened(path: Path, stack: ExitStack) -> BinaryIO:
    """A file, or the slices of a series as one ZIP file; the stack closes it."""
    if path.is_file():
        return stack.enter_context(path.open("rb"))
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  the stack closes it
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for each in sorted(part for part in path.rglob("*") if part.is_file()):
            member = zipfile.ZipInfo(each.relative_to(path).as_posix())  # the same bytes each time
            with archive.open(member, "w") as target, each.open("rb") as source:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
    file.seek(0)
    return file
