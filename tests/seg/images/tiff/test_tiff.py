import io
import struct

import numpy as np
import pytest
import tifffile

from seg.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from seg.images import (
    Image,
    Limits,
    Mask,
    encode_mask,
    open_image,
    read_image,
    read_mask,
    write_image,
)
from seg.images.tiff.structure import MAX_PAGES

FLAT = np.random.default_rng(0).integers(0, 200, (9, 11)).astype(np.uint8)
STACK = np.random.default_rng(1).integers(0, 200, (5, 9, 11)).astype(np.uint16)
COLOR = np.random.default_rng(2).integers(0, 200, (9, 11, 3)).astype(np.uint8)


def saved(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_the_files_own_numbers_are_read(dtype, byteorder, compression):
    array = FLAT.astype(dtype)
    read = read_image(saved(array, byteorder=byteorder, compression=compression)).array
    assert read.dtype == dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read[0], array)


def test_bigtiff_and_tiles_are_read():
    array = np.tile(FLAT, (4, 4))
    read = read_image(saved(array, bigtiff=True, tile=(16, 16))).array
    np.testing.assert_array_equal(read[0], array)


def test_rgb_is_three_channels_and_loses_its_alpha():
    alpha = np.full((9, 11, 1), 7, np.uint8)
    for pixels in (COLOR, np.concatenate([COLOR, alpha], axis=2)):
        read = read_image(saved(pixels, photometric="rgb")).array
        np.testing.assert_array_equal(read, np.moveaxis(COLOR, 2, 0))


def test_a_mask_that_only_its_transparency_tells_is_refused():
    drawn = np.where(FLAT > 99, 255, 0).astype(np.uint8)
    white = np.stack([np.full_like(drawn, 255)] * 3 + [drawn], axis=2)
    with pytest.raises(ImageError, match="transparent and have a class number"):
        read_mask(saved(white, photometric="rgb", extrasamples=["unassalpha"]))


def test_a_mask_that_its_compression_has_altered_is_refused():
    tiles = {"tile": (16, 16), "photometric": "minisblack"}
    with pytest.raises(UnsupportedImageError, match="alters class numbers"):
        read_mask(saved(FLAT, compression="jpeg", **tiles))
    assert read_image(saved(FLAT, compression="jpeg", **tiles)).spatial_shape == FLAT.shape
    for compression in ("zlib", "lzw", "packbits"):
        kept = read_mask(saved(FLAT, compression=compression, **tiles)).array
        np.testing.assert_array_equal(kept, FLAT)


def test_samples_that_are_no_alpha_are_channels():
    pixels = np.random.default_rng(0).integers(0, 9, (9, 11, 5)).astype(np.uint8)
    content = saved(pixels, photometric="rgb", extrasamples=["unspecified", "unspecified"])
    np.testing.assert_array_equal(read_image(content).array, np.moveaxis(pixels, 2, 0))


def test_pages_are_z_for_a_volume_and_channels_for_a_flat_image():
    content = saved(STACK, metadata=None, photometric="minisblack")
    np.testing.assert_array_equal(read_image(content).array, STACK[None])
    np.testing.assert_array_equal(read_image(content, dims=3).array, STACK[None])
    np.testing.assert_array_equal(read_image(content, dims=2).array, STACK)


@pytest.mark.parametrize("options", [{}, {"ome": True}], ids=["tifffile", "ome"])
def test_named_axes_hold_whatever_their_order(options):
    array = np.random.default_rng(0).integers(0, 9, (2, 3, 9, 11)).astype(np.uint8)
    content = saved(array, metadata={"axes": "ZCYX"}, photometric="minisblack", **options)
    np.testing.assert_array_equal(read_image(content).array, array.swapaxes(0, 1))


def test_an_imagej_hyperstack_is_read_by_its_own_axes():
    array = np.random.default_rng(0).integers(0, 9, (2, 3, 9, 11)).astype(np.uint8)
    content = saved(array, imagej=True, metadata={"axes": "ZCYX"})
    np.testing.assert_array_equal(read_image(content).array, array.swapaxes(0, 1))


def test_a_palette_is_colour_in_an_image_and_class_number_in_a_mask():
    colormap = np.zeros((3, 256), np.uint16)
    colormap[:, 1] = 255 * 257, 0, 128 * 257
    content = saved(np.array([[0, 1]], np.uint8), photometric="palette", colormap=colormap)
    assert read_image(content).array[:, 0, 1].tolist() == [255, 0, 128]
    assert read_mask(content).array.tolist() == [[0, 1]]


def test_display_colours_of_imagej_are_no_palette():
    lut = np.zeros((3, 256), np.uint8)
    lut[1] = np.arange(256)
    content = saved(FLAT, imagej=True, photometric="palette", colormap=lut.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(content).array, FLAT[None])


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_white_is_bright_whatever_number_stands_for_it(photometric):
    stored = 255 - FLAT if photometric == "miniswhite" else FLAT
    np.testing.assert_array_equal(read_image(saved(stored, photometric=photometric)).array[0], FLAT)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_one_bit_is_black_and_white_in_an_image_and_zero_and_one_in_a_mask(photometric):
    seen = np.array([[True, False, True]])
    stored = seen != (photometric == "miniswhite")
    content = saved(stored, photometric=photometric, software="a scanner")
    assert read_image(content).array.tolist() == [[[255, 0, 255]]]
    assert read_mask(content).array.tolist() == [[1, 0, 1]]


def test_truth_values_that_tifffile_wrote_are_what_they_were():
    content = saved(np.array([[True, False, True]]))  # which says that 0 is white
    assert read_mask(content).array.tolist() == [[1, 0, 1]]
    assert read_image(content).array.tolist() == [[[255, 0, 255]]]


@pytest.mark.parametrize(
    ("array", "options", "words"),
    [
        pytest.param(
            FLAT.astype(np.complex64), {}, "whole or real numbers is needed", id="complex"
        ),
        pytest.param(
            np.dstack([FLAT] * 4), {"photometric": "separated"}, "got SEPARATED", id="cmyk"
        ),
        pytest.param(STACK, {"metadata": {"axes": "TYX"}}, "one moment is needed", id="frames"),
    ],
)
def test_what_is_no_plain_image_is_refused(array, options, words):
    with pytest.raises(UnsupportedImageError, match=words):
        read_image(saved(array, **options))


def test_two_images_of_which_none_is_the_main_one_are_refused():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(FLAT)
        writer.write(FLAT[:4])
    with pytest.raises(UnsupportedImageError, match="this one holds 2; save the one"):
        read_image(buffer.getvalue())


def test_an_ome_header_opens_no_other_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("secret.tif", STACK[:1], ome=True, metadata={"axes": "ZYX"})
    plane = '<TiffData FirstZ="{z}" IFD="0"><UUID FileName="{name}">urn:{z}</UUID></TiffData>'
    planes = "".join(plane.format(z=z, name="secret.tif") for z in range(2))
    header = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="11" '
        f'SizeY="9" SizeZ="2" SizeC="1" SizeT="1"><Channel ID="C:0"/>{planes}</Pixels></Image>'
        "</OME>"
    )
    tifffile.imwrite("named.tif", STACK[1:3], description=header, metadata=None)
    with pytest.raises(ImageError, match="lacks pages that its header announces"):
        read_image(tmp_path / "named.tif")


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": {"axes": "ZYX"}},
        {"metadata": None},
        {"imagej": True},
        {"compression": "lzw"},
        {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 1, "PhysicalSizeY": 1}},
    ],
    ids=["tifffile", "pages", "imagej", "lzw", "ome"],
)
def test_a_file_cut_short_is_never_read_as_another_image(options):
    content = saved(STACK, photometric="minisblack", **options)
    whole = read_image(content)
    for length in range(len(content) - 1, 8, -97):
        try:
            part = read_image(content[:length])
        except ImageError:
            continue
        np.testing.assert_array_equal(part.array, whole.array)
        assert part.spacing == whole.spacing


def test_an_image_in_an_enormous_tile_is_refused():
    content = bytearray(saved(np.tile(FLAT, (4, 4)), tile=(16, 16), compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as tiff:
        tags = [tiff.pages[0].tags[name] for name in ("TileWidth", "TileLength")]
    for tag in tags:  # the value stands in the last four bytes of the tag
        struct.pack_into("<HIHH", content, tag.offset + 2, 3, 1, 65520, 0)
    with pytest.raises(ImageTooLargeError, match="pixels a plane are read, got 4,292,870,400"):
        read_image(bytes(content))


def test_a_large_image_is_refused_by_its_header():
    with pytest.raises(ImageTooLargeError, match="at most 98 pixels a plane are read, got 99"):
        read_image(saved(FLAT), limits=Limits(max_pixels=98))
    with pytest.raises(ImageTooLargeError, match="at most 494 voxels are read, got 495"):
        read_image(saved(STACK, photometric="minisblack"), dims=3, limits=Limits(max_voxels=494))


def pages_of(*nexts):
    """A TIFF of pages without tags; each names the page that follows, counted from 1, or 0."""
    where = [0, *(8 + 6 * number for number in range(len(nexts)))]
    pages = b"".join(struct.pack("<HI", 0, where[number]) for number in nexts)
    return b"II*\0" + struct.pack("<I", 8) + pages


def test_what_stands_in_a_tag_is_not_logged(caplog):
    tag = (305, "s", 0, b"Jane Doe \x81\x8d\x8f\x90", True)  # Software, in no known encoding
    content = saved(FLAT, software=False, extratags=[tag])
    np.testing.assert_array_equal(read_image(content).array[0], FLAT)
    assert b"Jane Doe" in content
    assert not caplog.records


def test_pages_that_run_in_a_circle_are_refused():
    with pytest.raises(ImageError, match="run in a circle"):
        read_image(pages_of(*range(2, 151), 130))


def test_a_million_pages_are_refused_before_they_are_read():
    with pytest.raises(ImageTooLargeError, match="at most 20,000 pages are read"):
        read_image(pages_of(*range(2, MAX_PAGES + 2), 0))


def test_a_stack_written_for_a_mask_is_small_and_for_an_image_is_exact(tmp_path, classes):
    labels = np.zeros((4, 64, 64), np.uint8)
    labels[:, 20:40, 20:40] = 2
    assert len(encode_mask(Mask(labels), "tiff", classes)) < labels.size / 4
    write_image(tmp_path / "image.tif", Image(labels[None]))
    assert (tmp_path / "image.tif").stat().st_size > labels.size


def test_other_programs_find_axes_spacing_and_resolution(tmp_path):
    image = Image(np.zeros((2, 3, 9, 11), np.uint16), spacing=(3.0, 0.5, 0.25))
    write_image(tmp_path / "image.tif", image)
    with tifffile.TiffFile(tmp_path / "image.tif") as tiff:
        assert tiff.series[0].axes == "CZYX"
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        assert [pixels[f"PhysicalSize{axis}"] for axis in "ZYX"] == [3.0, 0.5, 0.25]
        assert pixels["PhysicalSizeZUnit"] == "mm"
        assert tiff.pages[0].get_resolution("millimeter") == (4.0, 2.0)


def test_numbers_that_ome_tiff_lacks_are_refused(tmp_path):
    with pytest.raises(UnsupportedImageError, match="got int64; convert to float32"):
        write_image(tmp_path / "image.tif", Image(np.zeros((1, 4, 5), np.int64)))
    assert not list(tmp_path.iterdir())


def test_equal_images_become_equal_files(tmp_path):
    array = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    for name in ("a.tif", "b.tif"):
        write_image(tmp_path / name, Image(array))
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def stack_of_imagej(values, lines, folder):
    """A file as ImageJ writes it, and what is read of it as a whole and in parts."""
    tifffile.imwrite(
        folder / "a.tif", values, metadata=None, photometric="minisblack", byteorder=">",
        description=f"ImageJ=1.53t\nimages={len(values)}\nslices={len(values)}\n{lines}\n",
    )  # fmt: skip
    whole = read_image(folder / "a.tif", dims=3).array
    with open_image(folder / "a.tif", dims=3) as source:
        parts = source.read(tuple(slice(0, n) for n in source.spatial_shape))
    np.testing.assert_array_equal(whole, parts)
    assert whole.dtype == parts.dtype
    return whole[0]


SIGNED = np.array([[[-1000, 60], [-32768, 32767]]] * 2, np.int64)


def test_signed_numbers_of_imagej_are_signed(tmp_path):
    stored = (SIGNED + 32768).astype(np.uint16)
    found = stack_of_imagej(stored, "cf=0\nc0=-32768.0\nc1=1.0\nvunit=Gray Value", tmp_path)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, SIGNED)


def test_values_of_imagej_are_calibrated(tmp_path):
    stored = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    line = stack_of_imagej(stored, "cf=0\nc0=0.5\nc1=0.25", tmp_path)
    np.testing.assert_allclose(line, 0.5 + 0.25 * stored)
    square = stack_of_imagej(stored, "cf=1\nc0=1\nc1=0\nc2=2", tmp_path)
    np.testing.assert_allclose(square, 1 + 2.0 * stored**2)
    none = stack_of_imagej(stored, "unit=um", tmp_path)
    assert none.dtype == np.uint8


def test_a_curve_that_is_not_read_is_refused(tmp_path):
    with pytest.raises(UnsupportedImageError, match=r"calibration curve \(cf=7\)"):
        stack_of_imagej(np.zeros((2, 2, 2), np.uint16), "cf=7\nc0=1\nc1=2", tmp_path)
