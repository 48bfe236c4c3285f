"""Images whose decoders find too little memory, each in words of its own."""

import io

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile
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


def tiff(compression: str) -> bytes:
    """All of it in one strip, which is decoded at once."""
    file = io.BytesIO()
    tifffile.imwrite(file, FLAT, compression=compression, rowsperstrip=SIDE)
    return file.getvalue()


def picture(kind: str, **options: bool) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(FLAT).convert("RGB").save(file, kind, **options)
    return file.getvalue()


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


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(tiff("jpeg2000"), id="TIFF of JPEG 2000"),
        pytest.param(tiff("jpegxl"), id="TIFF of JPEG XL"),
        pytest.param(tiff("lzma"), id="TIFF of LZMA"),
        pytest.param(picture("WEBP", lossless=True), id="lossless WebP"),
        pytest.param(picture("WEBP"), id="WebP"),
        pytest.param(picture("JPEG", progressive=True), id="progressive JPEG"),
    ],
)
@pytest.mark.parametrize("megabytes", [20, 28, 40, 64])
def test_a_whole_picture_is_never_called_damaged_for_want_of_memory(
    content, megabytes, monkeypatch
):
    monkeypatch.setattr(image_decoder, "POLL_S", 60)  # by the decoder's own limit
    try:
        image = decoded(content, 2, max_decoding_mb=megabytes)
    except ImageTooLargeError:
        return
    assert image.spatial_shape == (SIDE, SIDE)


@pytest.mark.parametrize("kind", ["WEBP", "JPEG"])
def test_a_damaged_picture_is_called_so_where_there_is_memory(kind):
    content = picture(kind)
    with pytest.raises(ImageError, match=r"damaged|cut short") as refused:
        decoded(content[: len(content) // 2], 2, max_decoding_mb=2000)
    assert not isinstance(refused.value, ImageTooLargeError)


def test_a_damaged_strip_is_called_so_where_there_is_memory():
    content = bytearray(tiff("jpeg2000"))
    start = content.index(b"\xff\x4f\xff\x51")
    content[start + 100 : start + 300] = bytes(200)
    with pytest.raises(ImageError, match="damaged") as refused:
        decoded(bytes(content), 2, max_decoding_mb=2000)
    assert not isinstance(refused.value, ImageTooLargeError)


def test_a_damaged_image_is_called_so_where_there_is_memory():
    frame = bytearray(imagecodecs.jpeg2k_encode(FLAT[:100, :100]))
    frame[-20:] = bytes(20)
    content = compressed(FLAT[:100, :100], JPEG2000Lossless, bytes(frame[:-30]))
    with pytest.raises(ImageError, match="damaged") as refused:
        decoded(content, 2)
    assert not isinstance(refused.value, ImageTooLargeError)
