"""How far a file is followed that is small when it is packed."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from pydicom import Dataset, Sequence

from seg.errors import ImageError, ImageTooLargeError
from seg.images import read_image
from seg.images.dicom import bounds
from seg.images.storage import files
from tests.seg.images.dicom.files import content_of, slice_of

PLANE = np.arange(64 * 64, dtype=np.int16).reshape(64, 64)
UNDEFINED = 0xFFFFFFFF
SEQUENCE = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, UNDEFINED)
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)
EMPTY = struct.pack("<HH2sH", 8, 0x16, b"UI", 0)


def head(content: bytes | None = None) -> bytes:
    """Of a file in Explicit VR Little Endian, up to the end of its group 2.

    Each file has names of its own, which are not always as long.
    """
    content = content or content_of(slice_of(PLANE))
    (length,) = struct.unpack_from("<I", content, 140)
    return content[: 144 + length]


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", content)
    return buffer.getvalue()


def with_pixels(size: int) -> bytes:
    """A file of 64 x 64 whose pixel element has so many bytes."""
    whole = content_of(slice_of(PLANE))
    at = whole.index(struct.pack("<HH2s", 0x7FE0, 0x10, b"OW"))
    return whole[: at + 8] + struct.pack("<I", size) + bytes(size)


def deflated(content: bytes) -> bytes:
    meta = head(content)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(content[len(meta) :]) + packer.flush()
    plain = b"1.2.840.10008.1.2.1\0"
    longer = meta.replace(
        b"UI" + struct.pack("<H", len(plain)) + plain,
        b"UI" + struct.pack("<H", 22) + b"1.2.840.10008.1.2.1.99",
    )
    (length,) = struct.unpack_from("<I", longer, 140)
    return longer[:140] + struct.pack("<I", length + 2) + longer[144:] + body


@pytest.fixture
def few_reads(monkeypatch):
    monkeypatch.setattr(bounds, "MAX_READS", 20_000)


@pytest.mark.usefixtures("few_reads")
@pytest.mark.parametrize(
    "endless",
    [
        bytes(132)[:128] + b"DICM" + bytes(1 << 20),
        head() + EMPTY * 100_000,
        head() + SEQUENCE + ITEM + EMPTY * 100_000,
        head() + SEQUENCE + (ITEM + EMPTY) * 100_000,
    ],
    ids=["zeros", "elements", "elements in an item", "items in items"],
)
def test_elements_without_end_are_not_followed(endless):
    for content in (endless, zipped(endless)):
        with pytest.raises(ImageError):
            read_image(content)
    with pytest.raises(ImageTooLargeError, match="pieces of a DICOM file"):
        read_image(bytes(128) + b"DICM" + bytes(1 << 20))


def test_what_announces_no_length_is_not_looked_through_again_and_again(monkeypatch):
    monkeypatch.setattr(bounds, "SPARE_BYTES", 1 << 20)
    unknown = struct.pack("<HH2sHI", 9, 0x1010, b"UN", 0, UNDEFINED)
    with pytest.raises(ImageTooLargeError, match="read again and again"):
        read_image(head() + unknown + ITEM * 20_000)


def test_an_element_before_the_pixels_may_not_be_a_film():
    large = struct.pack("<HH2sHI", 8, 0x17, b"OB", 0, bounds.MAX_HEADER + 2)
    with pytest.raises(ImageTooLargeError, match="before the pixels"):
        read_image(head() + large + bytes(1 << 20))


@pytest.mark.parametrize("packed", [zipped, deflated, lambda content: content])
def test_far_more_pixels_than_the_image_has_are_not_read(packed):
    assert read_image(packed(with_pixels(2 * PLANE.size))).spatial_shape == PLANE.shape
    with pytest.raises(ImageTooLargeError, match="far more bytes of pixels"):
        read_image(packed(with_pixels(5 << 20)))


@pytest.mark.parametrize("packed", [zipped, deflated])
def test_what_unpacks_to_much_is_never_whole_in_memory(packed, monkeypatch):
    monkeypatch.setattr(files, "UNPACKED_IN_MEMORY", 1 << 20)
    content = packed(with_pixels(60 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(ImageTooLargeError):
            read_image(content)
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()


def test_a_deflated_file_is_unpacked_no_further_than_allowed(monkeypatch):
    monkeypatch.setattr(bounds, "MAX_INFLATED", 1 << 20)
    with pytest.raises(ImageTooLargeError, match="are unpacked"):
        read_image(deflated(with_pixels(2 << 20)))


def test_frames_without_end_are_refused_before_they_are_looked_at_one_by_one():
    groups = Sequence([Dataset()])  # of one frame alone: to look at the second is an error
    attributes = {"NumberOfFrames": 2**31 - 1, "PerFrameFunctionalGroupsSequence": groups}
    content = content_of(slice_of(np.zeros((8, 8), np.uint8), **attributes))
    with pytest.raises(ImageTooLargeError, match="voxels are read"):
        read_image(content, dims=3)
