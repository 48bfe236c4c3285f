import io
import struct
import tracemalloc
import warnings
import zlib

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import PIL.PngImagePlugin
import pytest

from seg.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from seg.images import ClassInfo, Limits, Mask, encode_mask, read_image, read_mask

GREY = np.arange(6, dtype=np.uint8).reshape(2, 3) * 50
COLOR = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10


def saved(pixels, kind="PNG", **options):
    buffer = io.BytesIO()
    picture = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def bilevel_png(width, height):
    """A PNG of zeros, 1 bit a pixel, written by hand: no encoder has to hold it."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * height, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_a_lossless_picture_is_read_as_it_was_saved(kind):
    np.testing.assert_array_equal(read_image(saved(GREY, kind)).array, GREY[None])
    np.testing.assert_array_equal(read_image(saved(COLOR, kind)).array, np.moveaxis(COLOR, 2, 0))


def test_a_lossless_webp_is_read_as_it_was_saved():
    array = read_image(saved(COLOR, "WEBP", lossless=True)).array
    np.testing.assert_array_equal(array, np.moveaxis(COLOR, 2, 0))


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 3)], ids=["grey", "colour"])
def test_a_png_of_16_bits_keeps_them(shape):
    pixels = np.random.default_rng(0).integers(0, 2**16, shape, np.uint16)
    array = read_image(imagecodecs.png_encode(pixels)).array
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(np.moveaxis(array, 0, -1).squeeze(), pixels)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("samples", [2, 4], ids=["grey", "colour"])
def test_transparency_is_left_out_and_told_where_it_says_something(samples, depth):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 4, samples)).astype(depth)
    read = read_image(imagecodecs.png_encode(pixels))
    np.testing.assert_array_equal(read.array, np.moveaxis(pixels, 2, 0)[: samples - 1])
    assert [note.code for note in read.notes] == ["transparency_left_out"]
    pixels[..., -1] = 255
    assert read_image(imagecodecs.png_encode(pixels)).notes == ()


@pytest.mark.parametrize("samples", [2, 4], ids=["grey", "colour"])
def test_a_mask_that_only_its_transparency_tells_is_refused(samples):
    drawn = np.array([[0, 0, 255], [0, 255, 255]], np.uint8)
    white = np.stack([np.full_like(drawn, 255)] * (samples - 1) + [drawn], axis=-1)
    with pytest.raises(ImageError, match="3 pixels of the mask are transparent"):
        read_mask(imagecodecs.png_encode(white))
    black = np.stack([drawn] * samples, axis=-1)
    np.testing.assert_array_equal(read_mask(imagecodecs.png_encode(black)).array, drawn)


def test_a_grey_value_that_a_png_calls_transparent_is_a_class_number_as_any():
    content = saved(PIL.Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)), transparency=1)
    assert read_mask(content).array.tolist() == [[0, 1], [2, 1]]


def test_a_palette_is_colour_in_an_image_and_class_number_in_a_mask():
    picture = PIL.Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
    picture.putpalette([9, 9, 9, 255, 0, 0, 0, 0, 255])
    content = saved(picture)
    assert read_image(content).array[:, 0, 1].tolist() == [255, 0, 0]
    assert read_mask(content).array.tolist() == [[0, 1], [2, 1]]


def test_one_bit_is_black_and_white_in_an_image_and_zero_and_one_in_a_mask():
    content = saved(np.array([[True, False]]))
    assert read_image(content).array.tolist() == [[[255, 0]]]
    assert read_mask(content).array.tolist() == [[1, 0]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_photo_is_turned_upright_as_its_exif_says(kind, orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    content = saved(COLOR, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    upright = PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(read_image(content).array, np.moveaxis(np.asarray(upright), 2, 0))


def test_a_png_may_say_after_its_pixels_or_in_a_text_how_it_is_turned():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    before = saved(COLOR, "PNG", exif=exif)
    at, pixels, end = (
        before.index(b"eXIf") - 4,
        before.index(b"IDAT") - 4,
        before.index(b"IEND") - 4,
    )
    after = before[:at] + before[pixels:end] + before[at:pixels] + before[end:]
    text = PIL.PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    for content in (before, after, saved(COLOR, "PNG", pnginfo=text)):
        upright = read_image(content).array
        np.testing.assert_array_equal(upright, np.moveaxis(np.rot90(COLOR, -1), 2, 0))


def test_a_cmyk_jpeg_becomes_rgb():
    picture = PIL.Image.fromarray(COLOR).convert("CMYK")
    assert read_image(saved(picture, "JPEG")).array.shape == (3, 2, 4)


def test_a_print_resolution_is_no_spacing():
    assert read_image(saved(GREY, dpi=(300, 300))).spacing is None


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind):
    frames = [PIL.Image.fromarray(COLOR // step) for step in (1, 2, 4)]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedImageError, match="an animation of 3; send one frame"):
        read_image(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_a_flat_picture_is_no_volume(kind):
    with pytest.raises(ImageError, match=f"a volume is needed, a {kind} is flat"):
        read_image(saved(COLOR, kind), dims=3)


def test_a_pixel_bomb_is_refused_by_its_header():
    content = bilevel_png(12_000, 12_000)
    assert len(content) < 20_000
    tracemalloc.start()
    with pytest.raises(ImageTooLargeError, match="100,000,000 pixels a plane are read, got 144,"):
        read_image(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_every_family_is_held_to_the_limits(kind):
    with pytest.raises(ImageTooLargeError, match="at most 7 pixels a plane are read, got 8"):
        read_image(saved(COLOR, kind), limits=Limits(max_pixels=7))


def test_pillows_own_limit_neither_warns_nor_raises(monkeypatch):
    content = saved(COLOR)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(content).array.shape == (3, 2, 4)


def test_pillows_own_limit_on_webp_is_told_as_ours(monkeypatch):
    content = saved(COLOR, "WEBP")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(ImageTooLargeError, match="too large to be decoded"):
        read_image(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_half_a_picture_is_refused(kind):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    content = saved(pixels, kind)
    with pytest.raises(ImageError, match=f"the {kind} is damaged or cut short"):
        read_image(content[: len(content) // 2])


@pytest.mark.parametrize("count", [2, 3, 17, 256])
def test_a_png_mask_shows_class_colours_and_holds_class_numbers(count):
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (count, 3))
    classes = [
        ClassInfo(index=i, name=str(i), color=tuple(map(int, c))) for i, c in enumerate(colors)
    ]
    labels = rng.integers(0, count, (37, 41))
    picture = PIL.Image.open(io.BytesIO(encode_mask(Mask(labels), "png", classes)))
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), labels)
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), colors[labels])


def test_a_volume_is_refused_as_png_with_the_formats_that_work(classes):
    with pytest.raises(UnsupportedImageError, match="take tiff, nifti or npz"):
        encode_mask(Mask(np.zeros((2, 3, 4), np.uint8)), "png", classes)


def test_what_a_png_says_beside_its_pixels_is_written_nowhere(caplog):
    # of a space that is not RGB, which libpng tells with the profile's name
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("LAB")).tobytes()
    told = PIL.PngImagePlugin.PngInfo()
    told.add_text("Comment", "Zzyzx^Anna", zip=True)
    told.add(b"tIME", b"\xff" * 7)
    for pixels in (COLOR, GREY):
        image = read_image(io.BytesIO(saved(pixels, pnginfo=told, icc_profile=profile)))
        np.testing.assert_array_equal(image.array, read_image(io.BytesIO(saved(pixels))).array)
    assert not caplog.records
