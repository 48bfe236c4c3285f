"""Whether the file of an earlier run is whole.

Our own files are whole or not there; a full disk, or a copy that was stopped, may have cut one
since. What people have changed in a mask stays: only a file that is not whole is made anew.
"""

import csv
import gzip
import json
import os
import zipfile
import zlib
from pathlib import Path

from seg.errors import SegError
from seg.images import open_image, read_image
from seg.images.dicom.file import is_whole_dicom
from seg.inference import Output
from seg.model_package import ModelCard
from seg.tables.comma_separated import from_cell

JSON_ENDINGS = (".json", ".geojson")
PNG_END = b"IEND\xaeB`\x82"
PARQUET = b"PAR1"
GZIP = b"\x1f\x8b"
CHUNK = 2**20


def is_whole(path: Path, output: Output, card: ModelCard) -> bool:
    """The file of that output is there, from its first byte to its last."""
    if not path.is_file() or not path.stat().st_size:
        return False
    try:
        if path.suffix == ".dcm":
            return is_whole_dicom(path)
        if path.suffix == ".parquet":
            return _ends_with(path, PARQUET)
        if path.suffix in JSON_ENDINGS:
            with path.open(encoding="utf-8") as file:
                json.load(file)
            return True
        if path.suffix == ".csv":
            return _is_whole_table(path, None if output.of_objects else card)
        if path.suffix in (".npz", ".zip"):
            with zipfile.ZipFile(path) as archive:
                return archive.testzip() is None
        if not _is_ended(path, output.format):
            return False
        if output.format in ("overlay", "npy"):
            read_image(path, dims=2 if output.format == "overlay" else card.input.dims)
            return True
        with open_image(path):
            return True
    except (SegError, zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError):
        return False


def _is_ended(path: Path, format: str) -> bool:
    """What readers do not need is there too: the last chunk of a PNG, the end of gzip."""
    if format in ("png", "overlay"):
        return _ends_with(path, PNG_END)
    with path.open("rb") as file:
        if format.startswith("nrrd"):
            while file.readline().strip():
                pass
        if file.read(2) != GZIP:
            return True
        file.seek(-2, os.SEEK_CUR)
        with gzip.GzipFile(fileobj=file) as unzipped:
            while unzipped.read(CHUNK):
                pass
    return True


def _ends_with(path: Path, end: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(-min(len(end), path.stat().st_size), os.SEEK_END)
        return file.read() == end


def _is_whole_table(path: Path, card: ModelCard | None) -> bool:
    """It ends with a line's end, and its rows are as long as its header, to the last class.

    Of objects there may be any number.
    """
    text = path.read_bytes().decode()
    rows = list(csv.reader(text.splitlines()))
    if not text.endswith("\n") or any(len(row) != len(rows[0]) for row in rows):
        return False
    names = {from_cell(row[1]) for row in rows[1:] if len(row) > 1}
    return card is None or bool(names & {each.name for each in card.classes})
