"""Whatever happens to a file on its way, reading it ends in an image or in an ``ImageError``."""

import gzip
import io
import logging
import warnings

import nibabel
import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from seg.errors import ImageError
from seg.images import ClassInfo, Image, Limits, Mask, encode_mask, read_image, read_mask

SMALL = Limits(max_pixels=10**5, max_voxels=10**5, max_bytes=10**6)
GREY = np.random.default_rng(0).integers(0, 4, (13, 17)).astype(np.uint8)
CLASSES = [ClassInfo(index=i, name=str(i), color=(i, i, i)) for i in range(4)]
EXIF = PIL.Image.Exif()
EXIF[0x0112] = 6


COLOR = np.dstack([GREY] * 3)
STACK = np.stack([GREY] * 3)


def picture(kind, pixels=COLOR, **options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(array=STACK, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric="minisblack", **options)
    return buffer.getvalue()


NIFTI = nibabel.Nifti1Image(np.stack([GREY] * 3, axis=-1), np.diag([2, 2, 3, 1.0])).to_bytes()

FILES = {
    "png": picture("PNG", exif=EXIF),
    "png of 16 bits": picture("PNG", GREY.astype(np.uint16) * 9999),
    "palette png": encode_mask(Mask(GREY), "png", CLASSES),
    "one-bit png": picture("PNG", GREY > 1),
    "jpeg": picture("JPEG", exif=EXIF),
    "bmp": picture("BMP"),
    "webp": picture("WEBP"),
    "tiff": tiff(),
    "tiled tiff": tiff(np.tile(GREY, (3, 3)), tile=(16, 16), compression="lzw", predictor=True),
    "imagej tiff": tiff(imagej=True, resolution=(2, 2), metadata={"unit": "um", "spacing": 3}),
    "ome tiff": encode_mask(Mask(np.stack([GREY] * 3), spacing=(3.0, 1.0, 1.0)), "tiff", CLASSES),
    "bigtiff": tiff(bigtiff=True),
    "nifti": NIFTI,
    "gzipped nifti": gzip.compress(NIFTI),
    "npz": encode_mask(Mask(GREY, spacing=(1.0, 2.0)), "npz", CLASSES),
}


@pytest.fixture(autouse=True)
def _quiet_libraries():
    """What Pillow, tifffile and nibabel remark on damaged files is of no interest here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@st.composite
def damages(draw):
    """Bytes to be overwritten, most of them in the header, and where the file ends."""
    place = st.one_of(st.floats(0, 0.1), st.floats(0, 1))
    byte = st.one_of(st.sampled_from([0, 1, 127, 128, 255]), st.integers(0, 255))
    overwritten = draw(st.lists(st.tuples(place, byte), max_size=5))
    return overwritten, draw(st.one_of(st.just(1.0), st.floats(0, 1)))


def damaged(content, damage):
    overwritten, end = damage
    block = bytearray(content)
    for place, byte in overwritten:
        block[int(place * (len(block) - 1))] = byte
    return bytes(block[: int(end * len(block))])


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=40, deadline=None)
@given(damage=damages(), dims=st.sampled_from([None, 2, 3]))
def test_a_damaged_file_is_an_image_error_or_an_image(name, damage, dims):
    content = damaged(FILES[name], damage)
    for read, kind in ((read_image, Image), (read_mask, Mask)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                result = read(content, dims=dims, limits=SMALL)
            except ImageError:
                continue
        assert isinstance(result, kind)


@pytest.mark.parametrize("name", [name for name in FILES if "nifti" not in name])
@settings(max_examples=10, deadline=None)
@given(noise=st.binary(max_size=600))
def test_noise_behind_a_true_beginning_is_an_image_error(name, noise):
    with pytest.raises(ImageError):
        read_image(FILES[name][:12] + noise, limits=SMALL)


@pytest.mark.parametrize("name", [name for name in FILES if "jpeg" not in name])
def test_a_file_cut_short_is_never_read_as_another_image(name):
    content = FILES[name]
    read = read_mask if name == "npz" else read_image
    whole = read(content)
    for length in range(0, len(content), max(1, len(content) // 60)):
        try:
            part = read(content[:length])
        except ImageError:
            continue
        np.testing.assert_array_equal(part.array, whole.array)
        assert part.spacing == whole.spacing
