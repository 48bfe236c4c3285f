"""Files as other programs write them, which nibabel, ITK or ImageJ open."""

import gzip
import io
import struct
import zlib

import nibabel
import numpy as np
import PIL.Image
import pytest
import SimpleITK
import tifffile

from seg.errors import ImageError, UnsupportedImageError
from seg.images import open_image, read_image, read_mask

VOLUME = np.arange(8 * 10 * 12, dtype=np.int16).reshape(8, 10, 12)
NIFTI = nibabel.Nifti1Image(VOLUME.T, np.diag([1.5, 1.5, 3, 1.0]))
NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 12 10 8\nendian: little\n"
META = "ObjectType = Image\nNDims = 3\nDimSize = 12 10 8\nElementType = MET_SHORT\n"


@pytest.mark.parametrize("behind", [b"\r\n", b"\0" * 100, b"trailing words"])
def test_bytes_behind_the_end_of_gzip_are_no_voxels(tmp_path, behind):
    path = tmp_path / "tail.nii.gz"
    path.write_bytes(gzip.compress(NIFTI.to_bytes()) + behind)
    np.testing.assert_array_equal(read_image(path).array[0], VOLUME)
    with open_image(path) as source:
        np.testing.assert_array_equal(
            source.read((slice(0, 8), slice(0, 10), slice(0, 12)))[0], VOLUME
        )


def test_a_wrong_checksum_is_still_damage():
    content = bytearray(gzip.compress(NIFTI.to_bytes()))
    content[-6] ^= 1
    with pytest.raises(ImageError, match="damaged or cut short"):
        read_image(bytes(content))


def with_qform():
    image = nibabel.Nifti1Image(VOLUME.T, None)
    image.set_qform(np.diag([1.5, 1.5, 3, 1.0]), 1)
    image.set_sform(None, 0)
    return bytearray(image.to_bytes())


@pytest.mark.parametrize(("at", "word"), [(80, (-1.5,)), (256, (1.0000002, 0, 0)), (108, (0.0,))])
def test_a_nifti_header_that_is_a_little_off_is_read_as_others_read_it(tmp_path, at, word):
    content = with_qform()
    struct.pack_into(f"<{len(word)}f", content, at, *word)
    (tmp_path / "odd.nii").write_bytes(content)
    image = read_image(tmp_path / "odd.nii")
    np.testing.assert_array_equal(image.array[0], VOLUME)
    np.testing.assert_allclose(np.abs(np.diag(image.affine)[:3]), [1.5, 1.5, 3], rtol=1e-6)


@pytest.mark.parametrize("name", ["./x.raw", ".\\x.raw", "sub/x.raw"])
def test_a_header_may_name_a_file_below_it(tmp_path, name):
    (tmp_path / "sub").mkdir()
    for place in (tmp_path, tmp_path / "sub"):
        (place / "x.raw").write_bytes(VOLUME.tobytes())
    (tmp_path / "a.nhdr").write_text(f"{NRRD}encoding: raw\ndata file: {name}\n")
    (tmp_path / "a.mhd").write_text(f"{META}ElementDataFile = {name}\n")
    for header in ("a.nhdr", "a.mhd"):
        np.testing.assert_array_equal(read_image(tmp_path / header).array[0], VOLUME)


@pytest.mark.parametrize("name", ["../x.raw", "/etc/passwd", "sub/../../x.raw", "C:\\x.raw"])
def test_a_header_may_not_name_a_file_elsewhere(tmp_path, name):
    (tmp_path / "a.nhdr").write_text(f"{NRRD}encoding: raw\ndata file: {name}\n")
    with pytest.raises(ImageError, match="a file beside it, not a path elsewhere"):
        read_image(tmp_path / "a.nhdr")


@pytest.mark.parametrize("split", [1, 900, 1919])
def test_gzip_may_have_several_members(split):
    raw = VOLUME.tobytes()
    members = gzip.compress(raw[:split]) + gzip.compress(raw[split:])
    content = f"{NRRD}encoding: gzip\n\n".encode() + members
    np.testing.assert_array_equal(read_image(content).array[0], VOLUME)


@pytest.mark.parametrize("kind", ["list", "pattern"])
@pytest.mark.parametrize("format", ["nhdr", "mhd"])
def test_voxels_may_be_spread_over_many_files(tmp_path, kind, format):
    for z, plane in enumerate(VOLUME):
        (tmp_path / f"slice{z + 1:03}.raw").write_bytes(plane.tobytes())
    listed = "LIST\n" + "\n".join(f"slice{z:03}.raw" for z in range(1, 9))
    named = listed if kind == "list" else "slice%03d.raw 1 8 1"
    start = f"{NRRD}encoding: raw\ndata file: " if format == "nhdr" else f"{META}ElementDataFile = "
    path = tmp_path / f"many.{format}"
    path.write_text(f"{start}{named}\n")
    np.testing.assert_array_equal(read_image(path).array[0], VOLUME)
    judge = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    np.testing.assert_array_equal(judge, VOLUME)


@pytest.mark.parametrize(
    "named", ["%s%s.raw 1 8 1", "x%03d.raw 1 8", "x%099d.raw 1 2 1", "x%d 1 9e9 1"]
)
def test_a_pattern_that_is_none_is_refused(tmp_path, named):
    (tmp_path / "many.nhdr").write_text(f"{NRRD}encoding: raw\ndata file: {named}\n")
    with pytest.raises(ImageError, match="NRRD header"):
        read_image(tmp_path / "many.nhdr")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_grey_png_mask_of_few_bits_holds_numbers(bits):
    numbers = np.arange(2**bits if bits < 8 else 200, dtype=np.uint8).reshape(1, -1)
    binary = np.unpackbits(numbers[..., np.newaxis], axis=-1)[..., 8 - bits :]
    row = np.packbits(binary.reshape(-1)).tobytes()
    header = struct.pack(">IIBBBBB", numbers.shape[1], 1, bits, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    content += chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(read_mask(content).array, numbers)
    assert read_image(content).array.max() == (255 if bits < 8 else 199)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_how_opaque_a_pixel_of_a_tiff_is_is_no_channel(mode):
    colors = len(mode) - 1
    pixels = np.random.default_rng(0).integers(0, 255, (6, 7, len(mode)), np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels, mode).save(buffer, "TIFF")
    found = read_image(buffer.getvalue(), dims=2).array
    np.testing.assert_array_equal(found, np.moveaxis(pixels[..., :colors], -1, 0))


def test_planes_of_red_green_blue_and_opacity_are_a_colour_picture():
    planes = np.random.default_rng(0).integers(0, 255, (4, 6, 7), np.uint8)
    buffer = io.BytesIO()
    options = {"photometric": "rgb", "planarconfig": "separate", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(buffer, planes, **options)
    np.testing.assert_array_equal(read_image(buffer.getvalue(), dims=2).array, planes[:3])


def test_channels_that_nobody_calls_opacity_stay(tmp_path):
    planes = np.random.default_rng(0).integers(0, 255, (2, 6, 7), np.uint8)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, planes, photometric="minisblack", planarconfig="separate")
    np.testing.assert_array_equal(read_image(buffer.getvalue(), dims=2).array, planes)


def slide(path, described=True):
    picture = np.random.default_rng(0).integers(0, 255, (256, 320, 3), dtype=np.uint8)
    says = "Aperio Image Library v12\r\n320x256 [0,0 320x256] (64x64) RAW|AppMag = 40|MPP = 0.2520"
    more = {"photometric": "rgb", "metadata": None}
    texts = [says, "Aperio Image Library v12\r\nthumbnail 80x64", "label 80x96", "macro 200x96"]
    with tifffile.TiffWriter(path) as tiff:
        for number, pixels in enumerate(
            (picture, picture[::4, ::4], picture[:96, :80], picture[:96])
        ):
            named = {"description": texts[number]} if described else {}
            reduced = {} if number == 0 else {"subfiletype": 1}
            tile = {"tile": (64, 64)} if number == 0 else {}
            tiff.write(np.ascontiguousarray(pixels), **more, **named, **reduced, **tile)
    return picture


@pytest.mark.parametrize("described", [True, False], ids=["Aperio", "reduced copies"])
def test_a_slide_is_its_picture_and_not_its_label(tmp_path, described):
    picture = slide(tmp_path / "slide.svs", described)
    image = read_image(tmp_path / "slide.svs", dims=2)
    np.testing.assert_array_equal(image.array, np.moveaxis(picture, -1, 0))
    if described:
        assert image.spacing == pytest.approx((0.252e-3, 0.252e-3))
    with open_image(tmp_path / "slide.svs", dims=2) as source:
        assert (source.spatial_shape, source.spacing) == (image.spatial_shape, image.spacing)
        part = source.read((slice(10, 90), slice(20, 300)))
    np.testing.assert_array_equal(part, image.array[:, 10:90, 20:300])


def test_an_ome_tiff_that_another_file_describes_says_so(tmp_path):
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<BinaryOnly MetadataFile="a.companion.ome" UUID="urn:uuid:1"/></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((3, 6, 7), np.uint8), description=xml)
    with pytest.raises(UnsupportedImageError, match="another file describes them"):
        read_image(tmp_path / "a.ome.tif", dims=3)


@pytest.mark.parametrize(
    ("beginning", "words"),
    [
        (b"ZISRAWFILE", "CZI file of Zeiss; open it in Fiji"),
        (b"\x70\0\0\0\x10\0\0\0\x2a", "LIF file of Leica"),
        (b"\xda\xce\xbe\x0a", "ND2 file of Nikon"),
        (b"\x89HDF\r\n\x1a\n", "HDF5 file"),
    ],
)
def test_files_of_microscopes_are_named_with_what_to_do(beginning, words):
    with pytest.raises(UnsupportedImageError, match=words):
        read_image(beginning + bytes(400))
