"""Headers that are read in one way only, though they say it in an odd one, or refused by name."""

import io
import os
import re
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile

from seg.errors import ImageError
from seg.images import open_image, read_image
from tests.seg.images.dicom.files import content_of, series_of, slice_of, write_series

VOLUME = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
AFFINE = np.array([[0, 0, 2.0, -10], [-0.5, 0, 0, 5], [0, 1, 0, 3], [0, 0, 0, 1]])
META = (
    b"ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\n"
    b"ElementSpacing = 0.5 -1 2\nOffset = 1 2 3\nElementDataFile = LOCAL\n"
)
STORED = np.random.default_rng(0).integers(0, 2**12, (4, 6)).astype(np.uint16)


def nifti(at, word):
    image = nibabel.Nifti1Image(VOLUME.T, AFFINE)
    image.set_qform(AFFINE, 1)
    image.set_sform(AFFINE @ np.diag([1, 1, -1, 1]), 1)
    content = bytearray(image.to_bytes())
    struct.pack_into("<h", content, at, word)
    return bytes(content)


def test_a_sform_whose_code_is_below_zero_is_none():
    np.testing.assert_allclose(read_image(nifti(254, -1)).affine, AFFINE, atol=1e-6)


@pytest.mark.parametrize(
    ("at", "word", "sentence"),
    [
        (123, 7, "unit of length by number 7"),
        (70, 128, "got RGB; save each colour as a channel"),
        (70, 32, "got complex64; save its magnitude"),
    ],
)
def test_what_a_nifti_header_may_not_say_is_named(at, word, sentence):
    with pytest.raises(ImageError, match=sentence):
        read_image(nifti(at, word))


def test_a_negative_size_in_a_metaimage_turns_its_axis_round_as_in_itk(tmp_path):
    path = tmp_path / "a.mha"
    path.write_bytes(META + VOLUME.tobytes())
    itk = SimpleITK.ReadImage(str(path))
    corner = itk.TransformIndexToPhysicalPoint((3, 2, 1))
    assert corner == (2.5, 0, 5)
    ours = read_image(path).affine @ [3, 2, 1, 1]
    np.testing.assert_allclose(ours[:3], np.array(corner) * [-1, -1, 1])


def test_a_pipe_is_not_waited_for(tmp_path):
    for name in ("a.tif", "a.raw"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "a.mhd").write_bytes(META.replace(b"LOCAL", b"a.raw"))
    with pytest.raises(ImageError, match="a folder, a pipe or a device"):
        read_image(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="not beside it"):
        read_image(tmp_path / "a.mhd")


@pytest.mark.parametrize("highest", [11, 13, 15])
@pytest.mark.parametrize("signed", [False, True])
def test_stored_bits_lie_where_high_bit_says(highest, signed):
    meant = STORED.astype(np.int16) - 2**11 if signed else STORED
    moved = meant << (highest - 11)
    dataset = slice_of(moved, BitsStored=12, HighBit=highest)
    np.testing.assert_array_equal(read_image(content_of(dataset)).array[0], meant)


def test_a_high_bit_that_is_not_true_is_passed_over():
    dataset = slice_of(STORED, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(read_image(content_of(dataset)).array[0], STORED)
    dataset = slice_of(STORED | 0x8001, BitsStored=12, HighBit=15)
    with pytest.raises(ImageError, match="from bit 4 on"):
        read_image(content_of(dataset))


@pytest.mark.parametrize("name", ["SamplesPerPixel", "PhotometricInterpretation", "BitsStored"])
def test_a_dicom_attribute_that_can_mean_one_thing_only_may_be_missing(name):
    dataset = slice_of(STORED)
    delattr(dataset, name)
    np.testing.assert_array_equal(read_image(content_of(dataset)).array[0], STORED)


def test_a_dicom_attribute_that_could_mean_two_things_is_named():
    dataset = slice_of(STORED)
    del dataset.PixelRepresentation
    with pytest.raises(ImageError, match="lacks PixelRepresentation"):
        read_image(content_of(dataset))
    dataset = slice_of(STORED)
    del dataset.PixelData
    with pytest.raises(ImageError, match="a size and no pixels"):
        read_image(content_of(dataset))


OME = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="6" SizeY="4" SizeZ="{z}" '
    'SizeC="1" SizeT="1"><Channel ID="Channel:0:0"/>{data}</Pixels></Image></OME>'
)


@pytest.mark.parametrize(
    ("z", "data"),
    [(99_999_999, "<TiffData/>"), (1, '<TiffData IFD="0" PlaneCount="99999999"/>')],
)
def test_planes_without_end_are_not_listed(z, data):
    buffer = io.BytesIO()
    header = OME.format(z=z, data=data).encode()
    tifffile.imwrite(buffer, STORED, description=header, metadata=None)
    with pytest.raises(ImageError, match="more than 1,280,000 planes"):
        read_image(buffer.getvalue())


FOUR = np.random.default_rng(1).integers(0, 999, (4, 8, 9)).astype(np.uint16)


def test_a_fourth_channel_is_none_of_transparency_where_the_file_names_it(tmp_path):
    path = tmp_path / "four.tif"
    tifffile.imwrite(
        path, FOUR, photometric="rgb", planarconfig="separate", metadata={"axes": "CYX"}
    )
    np.testing.assert_array_equal(read_image(path).array, FOUR)
    with open_image(path) as source:
        assert source.channels == 4


def test_transparency_that_says_something_is_not_left_out_without_a_word(tmp_path):
    path = tmp_path / "four.tif"
    tifffile.imwrite(path, np.moveaxis(FOUR, 0, -1), photometric="rgb", metadata=None)
    image = read_image(path)
    np.testing.assert_array_equal(image.array, FOUR[:3])
    assert "a channel was left out" in image.notes[0]
    opaque = np.moveaxis(FOUR, 0, -1).copy()
    opaque[..., 3] = 999
    tifffile.imwrite(path, opaque, photometric="rgb", metadata=None)
    assert read_image(path).notes == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"BZh91AY", "packed by bzip2"),
        (b"\xfd7zXZ\0", "packed by xz"),
        (b"\0\0\0\1\0\0", "MGH file of FreeSurfer"),
        (struct.pack("<i", 348) + bytes(344), "Analyze file, which does not say left from right"),
        (struct.pack(">i", 348) + bytes(344), "Analyze file, which does not say left from right"),
        (b"P6 2 2 255\n", "PPM picture"),
    ],
)
def test_files_that_are_not_read_are_named(content, words):
    with pytest.raises(ImageError, match=words):
        read_image(content)


def test_an_nrrd_of_complex_numbers_is_no_image_of_two_channels():
    header = (
        "NRRD0004\ntype: float\ndimension: 3\nsizes: 2 4 3\nendian: little\nencoding: raw\n"
        "kinds: complex domain domain\n\n"
    )
    with pytest.raises(ImageError, match="got complex ones; save its magnitude"):
        read_image(header.encode() + bytes(96))


def test_the_slice_of_a_series_that_is_cut_is_named(tmp_path):
    slices = series_of(np.stack([STORED] * 3), np.diag([1.0, 1, 2, 1]))
    folder = write_series(tmp_path / "series", slices)
    path = max(folder.iterdir())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ImageError, match="the DICOM file is damaged") as refused:
        read_image(folder)
    assert re.search(r"slice \d of 3( \(InstanceNumber \d\))?: ", str(refused.value))
    assert path.name not in str(refused.value)  # it may be a patient's
