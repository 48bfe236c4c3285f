"""Decoders of compressed DICOM frames that pydicom lacks, and a look into frames before decoding.

gdcm, which pydicom would take, ends the whole process on damaged frames; nothing here does. The
names ``DECODER_DEPENDENCIES`` and ``is_available`` are what pydicom asks of a decoder's module.
"""

import struct
from typing import Any

import imagecodecs
import numpy as np
from jaxtyping import Shaped

from seg.errors import ImageError

JPEG = (
    "1.2.840.10008.1.2.4.51",  # extended, 8 or 12 bits
    "1.2.840.10008.1.2.4.57",  # lossless
    "1.2.840.10008.1.2.4.70",  # lossless, first-order prediction
)
JPEG_2000 = (
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",  # high-throughput, as the next two
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
)
DECODER_DEPENDENCIES = dict.fromkeys((*JPEG, *JPEG_2000), ("imagecodecs",))

JPEG_LS = 0xF7
"""The marker that tells JPEG-LS. CharLS takes seconds to notice that 64 x 64 pixels lack their
end."""

START_OF_FRAME = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), JPEG_LS)
"""JPEG markers that tell the size; the last one is JPEG-LS's."""

STANDALONE = (0x01, *range(0xD0, 0xD8))
"""JPEG markers without a length."""

J2K_START = b"\xff\x4f\xff\x51"


def is_available(uid: str) -> bool:
    """Whether ``decode_frame`` knows the transfer syntax."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(content: bytes, runner: Any) -> bytes:
    """The samples of one frame, interleaved, as pydicom asks for them of a plugin."""
    if str(runner.transfer_syntax) in JPEG:
        # no conversion of colours here: pydicom does it where the header asks for it
        pixels: Shaped[np.ndarray, ...] = imagecodecs.jpeg8_decode(
            content, colorspace=0, outcolorspace=0
        )
    else:
        pixels = imagecodecs.jpeg2k_decode(content)
        if runner.photometric_interpretation in ("YBR_ICT", "YBR_RCT"):  # undone by the decoder
            runner.set_option("photometric_interpretation", "RGB")
    runner.set_option("bits_allocated", 8 * pixels.itemsize)
    runner.set_option("planar_configuration", 0)
    return pixels.tobytes()


def check_frame(content: bytes, rows: int, columns: int, samples: int) -> None:
    """Pass where a compressed frame is of the size that the DICOM header announces.

    Decoders take the size in the frame: a damaged one may ask for any memory and time.

    Raises:
        ImageError: it is of another size, or says none.
    """
    try:
        size = _jpeg_size(content) if content[:2] == b"\xff\xd8" else _j2k_size(content)
    except (struct.error, LookupError, ValueError):
        size = None
    if size != (rows, columns, samples):
        raise ImageError(
            "the compressed pixels are damaged or not of the size that the DICOM header "
            f"announces, {rows} x {columns} with {samples} samples; send the whole file"
        )


def _jpeg_size(content: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and samples of a JPEG stream, or of a JPEG-LS stream that has its end."""
    at = 2
    while at < len(content):
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in STANDALONE:
            at += 2
        elif marker in START_OF_FRAME:
            if marker == JPEG_LS and not content.rstrip(b"\0").endswith(b"\xff\xd9"):
                return None
            rows, columns, samples = struct.unpack_from(">HHB", content, at + 5)
            return rows, columns, samples
        else:
            at += 2 + max(struct.unpack_from(">H", content, at + 2)[0], 2)
    return None


def _j2k_size(content: bytes) -> tuple[int, int, int]:
    """The same of a JPEG 2000 codestream, also within a JP2 file."""
    at = content.index(J2K_START) + 8
    x1, y1, x0, y0 = struct.unpack_from(">4I", content, at)
    (samples,) = struct.unpack_from(">H", content, at + 32)
    return y1 - y0, x1 - x0, samples
