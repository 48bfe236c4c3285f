import io
import stat
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from seg.errors import ImageError, ImageTooLargeError
from seg.images import Image, Limits, encode_image, read_image
from tests.seg.images.dicom.files import content_of, series_of

VOLUME = np.random.default_rng(0).integers(-900, 900, (3, 4, 6)).astype(np.int16)
SLICES = {
    f"{i}.dcm": content_of(dataset)
    for i, dataset in enumerate(series_of(VOLUME, np.diag([0.7, 0.9, 2.5, 1])))
}


def zipped(files, links=()):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name in links:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "/etc/passwd", "C:/a", "..\\a", "\\\\host\\a"]
)
def test_names_that_leave_the_archive_are_refused(name):
    with pytest.raises(ImageError, match="names a path outside of itself"):
        read_image(zipped(SLICES | {name: b"x"}))


def test_links_are_refused():
    with pytest.raises(ImageError, match="holds a link; pack the files themselves"):
        read_image(zipped(SLICES, links=["a.dcm"]))


def test_a_bomb_is_refused_by_what_it_announces():
    with pytest.raises(ImageTooLargeError, match="at most 2,000,000 bytes are unpacked"):
        read_image(zipped({"a.dcm": bytes(10**7)}), limits=Limits(max_bytes=10**6))


def test_a_bomb_that_lies_about_its_size_is_refused():
    content = bytearray(zipped({"a.dcm": bytes(10**6)}))
    directory = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, directory + 24, 1000)  # the size that it unpacks to
    with pytest.raises(ImageError, match="damaged, encrypted or cut short"):
        read_image(bytes(content))


def test_what_is_no_image_is_unpacked_no_further_than_its_beginning():
    noise = np.random.default_rng(1).bytes(100_000)
    picture = encode_image(Image(np.arange(12, dtype=np.uint8).reshape(1, 3, 4)), "a.tif")
    packed = bytearray(zipped({"a.tif": picture, "notes.txt": noise}))
    packed[packed.index(noise[50_000:51_000])] ^= 1  # kept as it is by deflate
    with zipfile.ZipFile(io.BytesIO(packed)) as archive, pytest.raises(zipfile.BadZipFile):
        archive.read("notes.txt")  # whoever unpacks all of it finds that its sum is another
    np.testing.assert_array_equal(read_image(bytes(packed)).array.ravel(), np.arange(12))


def test_too_many_files_are_refused(monkeypatch):
    monkeypatch.setattr("seg.images.storage.folders.MAX_FILES", 2)
    with pytest.raises(ImageTooLargeError, match="at most 2 files are read, the ZIP has more"):
        read_image(zipped(SLICES))


def test_an_archive_without_an_image_is_refused():
    for files in ({}, {"a.txt": b"text"}):
        with pytest.raises(ImageError, match="no DICOM image among the files"):
            read_image(zipped(files))


def test_an_encrypted_archive_is_refused():
    content = bytearray(zipped(SLICES))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + flags] |= 1
    with pytest.raises(ImageError, match="damaged, encrypted or cut short"):
        read_image(bytes(content))


def test_an_archive_packed_in_a_way_that_is_not_read_is_told_so():
    content = bytearray(zipped(SLICES))
    deflate64 = 9
    for signature, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            struct.pack_into("<H", content, at + method, deflate64)
    with pytest.raises(ImageError, match="such as Deflate64; pack it anew, with Deflate"):
        read_image(bytes(content))


def test_what_macos_puts_beside_the_files_is_passed_over():
    beside = {f"__MACOSX/._{name}": b"\0\x05\x16\x07" * 50 for name in SLICES}
    np.testing.assert_array_equal(read_image(zipped(SLICES | beside)).array[0], VOLUME)


def test_libraries_of_few_formats_are_not_imported_before_they_are_needed():
    heavy = "highdicom", "SimpleITK", "zarr", "shapely", "torch"
    code = f"import sys, seg.images; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]"
