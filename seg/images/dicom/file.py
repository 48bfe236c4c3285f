"""DICOM files as pydicom Datasets: parsed without trust in them, and without a word in the logs."""

import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from seg.errors import ImageError
from seg.images.dicom.bounds import MOST_PIXELS, Bounds, Counted, inflated
from seg.images.dicom.codecs import DECODER_DEPENDENCIES
from seg.images.storage.files import PARSING_ERRORS, BinaryFile

Dataset = Any
"""A ``pydicom.Dataset``; its module is imported where a DICOM file is really read."""


OUR_DECODER = "seg"
"""The name under which pydicom knows ``seg.images.dicom.codecs``."""


BARE = tuple(
    word
    for group, element in ((8, 0), (8, 5), (8, 8), (8, 0x16), (2, 0))
    for word in (bytes((group, 0, element, 0)), bytes((0, group, 0, element)))
)
"""Tags that a file without preamble begins with, in either byte order."""


@cache
def pydicom() -> Any:
    """The library with our decoders, and silenced.

    Its remarks quote values, and a value may be a patient's name.
    """
    import pydicom
    import pydicom.pixels

    for name in ("pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
    for uid in DECODER_DEPENDENCIES:
        decoder = pydicom.pixels.get_decoder(uid)
        if OUR_DECODER not in decoder.available_plugins:
            decoder.add_plugin(OUR_DECODER, ("seg.images.dicom.codecs", "decode_frame"))
    return pydicom


def is_dicom(head: bytes) -> bool:
    """The first bytes of a file are DICOM's, with the preamble or, as some write it, without."""
    return head[128:132] == b"DICM" or head[:4] in BARE


@contextmanager
def translated() -> Iterator[None]:
    """Whatever a damaged file makes pydicom raise becomes an ``ImageError``.

    Values are decoded when they are looked at, so that this goes around all that looks at them.
    """
    try:
        yield
    except ImageError:
        raise
    except (*PARSING_ERRORS, pydicom().errors.BytesLengthException) as error:
        raise ImageError(
            f"the DICOM file is damaged or cut short ({type(error).__name__}); send the whole file"
        ) from error


def parse(file: BinaryFile, *, pixels: bool, most_pixel_bytes: int = MOST_PIXELS) -> Dataset:
    """The file from its start: with its pixels as they stand there, or all that precedes them.

    Raises:
        ImageError: the file is no DICOM file or a damaged one.
        ImageTooLargeError: it holds more than a header or these pixels can need.
    """
    with translated():
        file.seek(128)
        bare = file.read(4) != b"DICM"  # some leave the preamble out that the standard asks for
        file.seek(0)
        with inflated(file) as whole:
            stop = Bounds(whole, pixels=pixels, most_pixel_bytes=most_pixel_bytes)
            dataset = pydicom().filereader.read_partial(Counted(whole), stop, force=bare)
        if "TransferSyntaxUID" not in dataset.file_meta:
            implicit, little_endian = dataset.original_encoding
            names = {
                (True, True): "ImplicitVRLittleEndian",
                (False, True): "ExplicitVRLittleEndian",
            }
            name = names.get((implicit, little_endian), "ExplicitVRBigEndian")
            dataset.file_meta.TransferSyntaxUID = getattr(pydicom().uid, name)
        return dataset


def is_header(value: object) -> bool:
    """It is a Dataset; of one, its module is imported already."""
    module = sys.modules.get("pydicom.dataset")
    return module is not None and isinstance(value, module.Dataset)


def header_to_bytes(header: Dataset) -> bytes:
    """A header as a file, encoded as it was read."""
    implicit, little_endian = header.original_encoding
    file = io.BytesIO()
    with translated():
        pydicom().dcmwrite(
            file, header, implicit_vr=implicit, little_endian=little_endian, force_encoding=True
        )
    return file.getvalue()


def header_from(content: bytes) -> Dataset:
    """A header from what `header_to_bytes` wrote."""
    with translated():
        return pydicom().dcmread(io.BytesIO(content), force=True)
