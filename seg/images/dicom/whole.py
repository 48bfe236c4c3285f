"""Whether a DICOM object of ours is there to its last byte."""

from pathlib import Path

from seg.errors import ImageError
from seg.images.dicom.file import Dataset, parse, translated

PIXELS, APPROVAL, REPORT = 0x7FE00010, 0x300E0002, 0x0040A730
"""Tags with which a segmentation or a picture ends, a structure set, and a report."""


def is_whole_dicom(path: Path) -> bool:
    """All elements are as long as they say, and the last one is there.

    pydicom reads a value that is cut as a short one.
    """
    from pydicom.filereader import data_element_generator

    try:
        with path.open("rb") as file:
            header = parse(file, pixels=False)
            implicit, little = header.original_encoding
            size = file.seek(0, 2)
            with translated():
                file.seek(_end_of_meta(header))
                elements = data_element_generator(file, implicit, little, defer_size=1)
                tags = [int(element.tag) for element in elements]
                return file.tell() == size and bool(tags) and tags[-1] in (PIXELS, APPROVAL, REPORT)
    except ImageError:
        return False


def _end_of_meta(header: Dataset) -> int:
    """Where the file meta information ends, behind preamble, word, and its own length."""
    return 128 + 4 + 12 + int(header.file_meta.FileMetaInformationGroupLength)
