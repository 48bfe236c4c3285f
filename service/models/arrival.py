"""A model package that comes over the network, as a ZIP file, into a folder of its own.

Nothing of it is believed: names are those of plain files in one folder, sizes are counted while
they are unpacked, and what was not wanted leaves nothing behind.
"""

import lzma
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from seg.errors import PackageError
from seg.model_package import CARD_FILE
from service.models.folder import ARRIVING, remove_leftovers

MOST_FILES = 64
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
CHUNK = 1 << 20
DAMAGED = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError),
    *(zlib.error, lzma.LZMAError),
)
"""What is raised over a ZIP file that is none."""


@contextmanager
def arrived(archive: BinaryIO, root: Path, most_bytes: int) -> Iterator[Path]:
    """The folder of an unpacked package, below ``root`` and hidden; gone when the block ends.

    Raises:
        PackageError: it is no ZIP file of a package, or grows beyond ``most_bytes``.
    """
    remove_leftovers(root)
    folder = Path(tempfile.mkdtemp(prefix=ARRIVING, dir=root))
    try:
        _unpack(archive, folder, most_bytes)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def folder_name(name: str, version: str) -> str:
    """A name for the folder of a version, whatever letters the two have."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{name}-{version}").lstrip("._-")[:100]
    exact = sha256(f"{name}\n{version}".encode()).hexdigest()
    return f"{plain}-{exact[:8]}"


def _unpack(archive: BinaryIO, folder: Path, most_bytes: int) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [entry for entry in opened.infolist() if not entry.is_dir()]
            names = _plain_names(members)
            left = most_bytes
            for entry, name in zip(members, names, strict=True):
                with opened.open(entry) as source, (folder / name).open("xb") as target:
                    while chunk := source.read(CHUNK):
                        left -= len(chunk)
                        if left < 0:
                            raise PackageError(
                                f"the package unpacks to more than {most_bytes / 1e6:g} MB; raise "
                                "SEG_MAX_MODEL_MB"
                            )
                        target.write(chunk)
    except DAMAGED as error:
        raise PackageError("this is no ZIP file that can be read") from error


def _plain_names(members: list[zipfile.ZipInfo]) -> list[str]:
    """The files' names, without the one folder that may hold all of them."""
    if len(members) > MOST_FILES:
        raise PackageError(f"a package has at most {MOST_FILES} files, this ZIP {len(members)}")
    paths = [PurePosixPath(entry.filename) for entry in members]
    folders = {path.parent for path in paths}
    names = [path.name for path in paths]
    is_one_folder = len(folders) == 1 and len(next(iter(folders)).parts) <= 1
    if not is_one_folder or not all(map(PLAIN.fullmatch, names)) or len(set(names)) < len(names):
        raise PackageError(
            "a package is a ZIP of one folder's files: cd PACKAGE && zip ../package.zip *"
        )
    if CARD_FILE not in names:
        raise PackageError(f"the ZIP has no {CARD_FILE}, so it holds no model package")
    return names
