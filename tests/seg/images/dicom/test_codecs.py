from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from seg.errors import ImageError, UnsupportedImageError
from seg.images import read_image
from tests.seg.images.dicom.files import content_of, slice_of

GREY = np.random.default_rng(0).integers(0, 2**16, (12, 10)).astype(np.uint16)
LARGE = np.zeros((600, 500), np.uint16)
COLOR = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)


def compressed(pixels, syntax, *frames, **attributes):
    dataset = slice_of(pixels, **attributes)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate(list(frames))
    dataset["PixelData"].is_undefined_length = True
    return content_of(dataset)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (JPEGLosslessSV1, imagecodecs.ljpeg_encode),
        (JPEGLSLossless, imagecodecs.jpegls_encode),
        (JPEG2000Lossless, lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=0)),
        (HTJ2KLossless, lambda pixels: imagecodecs.htj2k_encode(pixels)),
    ],
    ids=["JPEG", "JPEG-LS", "JPEG 2000", "HTJ2K"],
)
def test_lossless_frames_of_sixteen_bits_come_back(syntax, encode):
    content = compressed(GREY, syntax, encode(GREY))
    np.testing.assert_array_equal(read_image(content).array[0], GREY)


def test_lossless_jpeg_of_signed_numbers_comes_back():
    signed = GREY.view(np.int16)
    content = compressed(signed, JPEGLosslessSV1, imagecodecs.ljpeg_encode(GREY))
    np.testing.assert_array_equal(read_image(content).array[0], signed)


@pytest.mark.parametrize("name", ["SC_rgb_jpeg_gdcm.dcm"])
def test_lossless_jpeg_is_what_gdcm_decodes(name):
    path = Path(get_testdata_file(name))
    judge = pydicom.pixels.pixel_array(path, decoding_plugin="gdcm")
    np.testing.assert_array_equal(np.moveaxis(read_image(path).array, 0, -1), judge)


def test_jpeg_of_twelve_bits_is_near_the_original():
    smooth = np.add.outer(np.arange(32), np.arange(40)).astype(np.uint16) * 50
    frame = imagecodecs.jpeg8_encode(smooth, level=98, bitspersample=12)
    image = read_image(compressed(smooth, JPEGExtended12Bit, frame, BitsStored=12, HighBit=11))
    assert np.abs(image.array[0].astype(int) - smooth).max() < 40


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        (JPEGLSLossless, imagecodecs.jpegls_encode(LARGE)),
        (JPEG2000Lossless, imagecodecs.jpeg2k_encode(LARGE, level=0)),
        (JPEGLosslessSV1, imagecodecs.ljpeg_encode(LARGE)),
        (JPEGBaseline8Bit, imagecodecs.jpeg8_encode(COLOR)),
        (JPEGBaseline8Bit, b"\xff\xd8" + bytes(40)),
        (JPEG2000Lossless, bytes(40)),
        (JPEGLSLossless, imagecodecs.jpegls_encode(GREY)[:-2]),
    ],
    ids=["JPEG-LS", "JPEG 2000", "JPEG", "colour", "no JPEG", "no JPEG 2000", "no end"],
)
def test_a_frame_that_is_not_what_the_header_announces_is_refused_before_it_is_decoded(
    syntax, frame
):
    words = "damaged or not of the size that the DICOM header announces, 12 x 10"
    with pytest.raises(ImageError, match=words):
        read_image(compressed(GREY, syntax, frame))


def test_a_compression_that_nobody_decodes_is_named():
    content = compressed(GREY, "1.2.840.10008.1.2.4.100", b"\0" * 40)
    with pytest.raises(UnsupportedImageError, match="compression MPEG2 Main Profile"):
        read_image(content)


def test_nothing_of_a_damaged_file_is_logged(caplog, recwarn):
    name = Path(get_testdata_file("MR_small_jp2klossless.dcm"))
    content = name.read_bytes().replace(b"\xff\x93", b"\x00\x00")
    with pytest.raises(ImageError):
        read_image(content)
    with pytest.raises(ImageError):
        read_image(content_of(slice_of(GREY, PatientName="Doe^Jane", Rows=13)))
    assert not caplog.records
    assert not [warning for warning in recwarn if "Doe" in str(warning.message)]
