"""Images whose decoders find too little memory, each in words of its own."""

import imagecodecs
import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from seg.errors import ImageError, ImageTooLargeError
from service.decoding import image_decoder
from tests.seg.images.dicom.test_codecs import compressed
from tests.service.decoding.test_image_decoder import decoded

SIDE = 4000
FLAT = np.zeros((SIDE, SIDE), np.uint8)


def run_length() -> bytes:
    segment = bytes([0x81, 0]) * (SIDE * SIDE // 128)
    return np.array([1, 64, *[0] * 14], "<u4").tobytes() + segment


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        pytest.param(JPEG2000Lossless, imagecodecs.jpeg2k_encode(FLAT), id="JPEG 2000"),
        pytest.param(JPEGBaseline8Bit, imagecodecs.jpeg_encode(FLAT), id="JPEG"),
        pytest.param(RLELossless, run_length(), id="RLE"),
    ],
)
@pytest.mark.parametrize("megabytes", [24, 32, 40, 48])
def test_a_whole_image_is_never_called_damaged_for_want_of_memory(
    syntax, frame, megabytes, monkeypatch
):
    monkeypatch.setattr(image_decoder, "POLL_S", 60)  # by the decoder's own limit
    content = compressed(FLAT, syntax, frame)
    try:
        image = decoded(content, 2, max_decoding_mb=megabytes)
    except ImageTooLargeError:
        return
    assert image.array.shape == (1, SIDE, SIDE)


def test_a_damaged_image_is_called_so_where_there_is_memory():
    frame = bytearray(imagecodecs.jpeg2k_encode(FLAT[:100, :100]))
    frame[-20:] = bytes(20)
    content = compressed(FLAT[:100, :100], JPEG2000Lossless, bytes(frame[:-30]))
    with pytest.raises(ImageError, match="damaged") as refused:
        decoded(content, 2)
    assert not isinstance(refused.value, ImageTooLargeError)
