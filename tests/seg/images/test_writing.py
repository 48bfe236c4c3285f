import re

import numpy as np
import pytest

from seg.errors import ImageError, UnsupportedImageError
from seg.images import MASK_FORMATS, Image, Mask, encode_mask, write_image, write_mask
from tests.seg.images.dicom.files import slice_of

VOLUME = Mask(np.array([[[0, 1, 2]]]), (1.0, 1.0, 1.0), np.eye(4))
MASK = Mask(np.array([[0, 1, 2]]), (1.0, 1.0), np.eye(4))
HEADER = slice_of(np.zeros((1, 3), np.int16), FrameOfReferenceUID="1.2", SliceThickness=1)
IMAGE = Image(np.zeros((1, 1, 3), np.uint8), (1.0, 1.0), np.eye(4), (HEADER,))


@pytest.mark.parametrize("name", MASK_FORMATS)
def test_every_format_writes_what_its_suffix_says(name, classes):
    content = encode_mask(MASK, name, classes, IMAGE)
    if MASK_FORMATS[name].suffix.endswith(".dcm"):
        content = content[128:]
    begins = {
        ".png": b"\x89PNG",
        ".tif": b"II*",
        ".nii.gz": b"\x1f\x8b",
        ".npz": b"PK",
        ".npy": b"\x93NUMPY",
        ".json": b"{",
        ".seg.nrrd": b"NRRD",
        ".dcm": b"DICM",
        ".sr.dcm": b"DICM",
        ".sc.dcm": b"DICM",
        ".csv": b"index,name,",
        ".geojson": b'{"type":"FeatureCollection"',
        ".rle.json": b'{"images":',
    }
    assert content.startswith(begins[MASK_FORMATS[name].suffix])


@pytest.mark.parametrize("name", MASK_FORMATS)
def test_every_format_says_whether_it_holds_a_volume(name, classes):
    image = Image(IMAGE.array[:, None], (1.0, 1.0, 1.0), np.eye(4), (HEADER,))
    if 3 in MASK_FORMATS[name].dims:
        assert encode_mask(VOLUME, name, classes, image)
    else:
        with pytest.raises(UnsupportedImageError, match="this one is a volume"):
            encode_mask(VOLUME, name, classes, image)


def test_media_types_are_whole():
    assert all(
        re.fullmatch(r"[a-z]+/[a-z+-]+", entry.media_type) for entry in MASK_FORMATS.values()
    )


def test_an_unknown_format_is_refused_with_the_known_ones(classes):
    with pytest.raises(
        UnsupportedImageError, match="written as png, tiff, nifti, npz, npy, nrrd, dicom-seg,"
    ):
        encode_mask(MASK, "bmp", classes)


@pytest.mark.parametrize("name", MASK_FORMATS)
def test_a_label_without_a_class_is_refused_in_every_format(name, classes):
    with pytest.raises(ImageError, match="classes go from 0 to 1, the mask holds labels 0 to 2"):
        encode_mask(MASK, name, classes[:2], IMAGE)


def test_a_mask_is_written_whole_or_not_at_all(tmp_path, classes):
    path = tmp_path / "new" / "mask.png"
    write_mask(path, MASK, "png", classes)
    before = path.read_bytes()
    with pytest.raises(ImageError):
        write_mask(path, MASK, "png", classes[:1])
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["mask.png"]


def test_an_image_is_written_by_its_suffix_only_where_that_is_known(tmp_path):
    with pytest.raises(UnsupportedImageError, match=r"written as \.tif, .*, got '\.png'"):
        write_image(tmp_path / "image.png", IMAGE)
    assert not list(tmp_path.iterdir())
