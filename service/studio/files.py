"""Files of the folder, as a decoder takes them."""

import tempfile
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from service.answers.streams import CHUNK


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
