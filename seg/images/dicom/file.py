"""DICOM files as pydicom Datasets: parsed without trust in them, and without a word in the logs."""

import io
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from seg.errors import ImageError, ImageTooLargeError
from seg.images.dicom.codecs import DECODER_DEPENDENCIES
from seg.images.storage.files import PARSING_ERRORS, BinaryFile

Dataset = Any
"""A ``pydicom.Dataset``; its module is imported where a DICOM file is really read."""


OUR_DECODER = "seg"
"""The name under which pydicom knows ``seg.images.dicom.codecs``."""


DEFLATED, PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
"""Names of the transfer syntax whose header is compressed too, and of what lies within."""


BARE = tuple(
    word
    for group, element in ((8, 0), (8, 5), (8, 8), (8, 0x16), (2, 0))
    for word in (bytes((group, 0, element, 0)), bytes((0, group, 0, element)))
)
"""Tags that a file without preamble begins with, in either byte order."""


MAX_INFLATED = 2**30
"""Bytes of a deflated file; all others take no more memory than they weigh."""


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


def parse(file: BinaryFile, *, pixels: bool) -> Dataset:
    """The file from its start: with its pixels as they stand there, or all that precedes them.

    Raises:
        ImageError: the file is no DICOM file or a damaged one.
    """
    with translated():
        file.seek(128)
        bare = file.read(4) != b"DICM"  # some leave the preamble out that the standard asks for
        file.seek(0)
        whole = _inflated(file)
        dataset = pydicom().dcmread(whole, force=bare, stop_before_pixels=not pixels)
        if "TransferSyntaxUID" not in dataset.file_meta:
            implicit, little_endian = dataset.original_encoding
            names = {
                (True, True): "ImplicitVRLittleEndian",
                (False, True): "ExplicitVRLittleEndian",
            }
            name = names.get((implicit, little_endian), "ExplicitVRBigEndian")
            dataset.file_meta.TransferSyntaxUID = getattr(pydicom().uid, name)
        return dataset


def _inflated(file: BinaryFile) -> BinaryFile:
    """The file, its deflated part unpacked no further than ``MAX_INFLATED``."""
    head = file.read(1024)
    file.seek(0)
    if DEFLATED not in head:
        return file
    from pydicom.filereader import read_dataset

    file.seek(132)
    read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
    meta_bytes = file.tell()
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(file.read(), MAX_INFLATED)
    if inflater.unconsumed_tail:
        raise ImageTooLargeError(
            f"at most {MAX_INFLATED:,} bytes are unpacked of a deflated DICOM file; save it as "
            "explicit VR little endian"
        )
    file.seek(0)
    return io.BytesIO(file.read(meta_bytes).replace(DEFLATED, PLAIN) + content)
