"""Flat pictures: PNG, JPEG, BMP and WebP, through Pillow.

They say nothing about millimetres: the resolution that they may carry is one for printing.
Letters: ``c`` channels.
"""

import io
import logging
import zlib
from collections.abc import Sequence

import imagecodecs
import numpy as np
import PIL.Image
from jaxtyping import Real, Shaped
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from seg.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from seg.images.grid.classes import ClassInfo
from seg.images.grid.image import Image, Mask
from seg.images.grid.limits import ReadOptions
from seg.images.grid.opacity import check_opaque, left_out
from seg.images.grid.upright import ORIENTATION_TAG, upright_turn
from seg.images.storage.decoding_room import decoding_room
from seg.images.storage.files import DAMAGE, BinaryFile

# It quotes what stands in a file beside its pixels, as the name of a colour profile.
logging.getLogger("imagecodecs").addFilter(lambda record: False)

PNG_BITS_AT = 24
"""Byte that says how many bits a sample has."""

WITH_OPACITY = ("LA", "RGBA")
"""Modes of pictures of which each pixel says how opaque it is."""

Pixels = Shaped[np.ndarray, "..."]
"""Axes (y, x) or (y, x, c)."""

PNG_BEGINS = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
EXIF_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""How a text in a PNG begins that may say how the picture is turned."""
LONGEST = max(map(len, EXIF_TEXTS))


def read_png(file: BinaryFile, options: ReadOptions) -> Image:
    """The picture; 16 bits stay 16 bits, a palette becomes RGB, transparency is left out."""
    return _read(PngImageFile, file, options)


def read_jpeg(file: BinaryFile, options: ReadOptions) -> Image:
    """The picture, turned upright as its EXIF orientation says."""
    return _read(JpegImageFile, file, options)


def read_bmp(file: BinaryFile, options: ReadOptions) -> Image:
    """The picture."""
    return _read(BmpImageFile, file, options)


def read_webp(file: BinaryFile, options: ReadOptions) -> Image:
    """The picture; an animation is refused."""
    width, height = _webp_size(file.read(30))
    file.seek(0)
    return _read(WebPImageFile, file, options, announced=4 * width * height)


def encode_png(mask: Mask, classes: Sequence[ClassInfo]) -> bytes:
    """A palette PNG: a pixel's value is its class index, its colour is the class colour.

    Raises:
        UnsupportedImageError: the mask is a volume.
    """
    if mask.dims != 2:
        raise UnsupportedImageError(
            "a PNG holds a 2D mask, this one is a volume; take tiff, nifti or npz, "
            "or overlay for a picture of one slice"
        )
    palette = np.zeros((max(entry.index for entry in classes) + 1, 3), np.uint8)
    for entry in classes:
        palette[entry.index] = entry.color
    picture = PIL.Image.fromarray(mask.array.astype(np.uint8))
    picture.putpalette(palette.tobytes())
    # Label maps are runs. Measured on 256 x 256: run lengths 0.35 ms and 3.1 kB, deflate's
    # default level 1.6 ms and 3.3 kB.
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def _read(
    plugin: type[ImageFile], file: BinaryFile, options: ReadOptions, announced: int = 0
) -> Image:
    """The picture.

    Args:
        plugin: reads its format.
        file: is read from its start.
        options: what is wanted of it.
        announced: samples for which the plugin takes memory when it opens the file.
    """
    # The plugin itself, not PIL.Image.open: no guessing of the format, and no size check that
    # warns, raises another type and hangs on a global variable.
    try:
        with decoding_room(announced):
            opened = plugin(file)
        with opened as picture:
            _check(picture, options)
            with decoding_room(picture.height * picture.width * len(picture.getbands())):
                planes, opacity = _planes(picture, file, options.labels)
            if options.labels:
                check_opaque(planes, opacity)
            notes = () if options.labels else left_out(opacity, str(picture.format))
            planes = upright_turn(_orientation(picture, file)).there(planes)
    except ImageError:
        raise
    except PIL.Image.DecompressionBombError as error:
        raise ImageTooLargeError(f"the picture is too large to be decoded: {error}") from error
    except DAMAGE as error:
        raise ImageError(
            f"the {_name(plugin)} is damaged or cut short ({error}); send the whole file"
        ) from error
    return Image(np.ascontiguousarray(planes), notes=notes)


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height that the first bytes of a WebP announce; 0 where they do not.

    Source: RFC 9649, sections 2.5 to 2.7.
    """
    kind = head[12:16]
    if kind == b"VP8X":
        return _number(head[24:27]) + 1, _number(head[27:30]) + 1
    if kind == b"VP8L":
        bits = _number(head[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _number(head[26:28]) & 0x3FFF, _number(head[28:30]) & 0x3FFF


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "little")


def _name(plugin: type[ImageFile]) -> str:
    return plugin.__name__.removesuffix("ImageFile").upper()


def _check(picture: ImageFile, options: ReadOptions) -> None:
    if options.dims == 3:
        raise ImageError(
            f"a volume is needed, a {picture.format} is flat; send a TIFF stack or a NIfTI file"
        )
    frames = getattr(picture, "n_frames", 1)
    if frames != 1:
        raise UnsupportedImageError(
            f"one picture is needed, this {picture.format} is an animation of {frames}; "
            "send one frame"
        )
    itemsize = {"I": 4, "F": 4}.get(picture.mode, 2 if picture.mode.startswith("I;") else 1)
    channels = 3 if picture.mode == "P" else len(picture.getbands())
    options.limits.check((picture.height, picture.width), channels, itemsize)


def _planes(
    picture: ImageFile, file: BinaryFile, labels: bool
) -> tuple[Real[np.ndarray, "c y x"], Real[np.ndarray, "a y x"]]:
    """Intensities, and how opaque each pixel is, where the file tells it."""
    pixels = _pixels(picture, file, labels)
    planes = pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    if len(planes) in (2, 4):  # grey or colours, and transparency
        return planes[:-1], planes[-1:]
    return planes, planes[:0]


def _pixels(picture: ImageFile, file: BinaryFile, labels: bool) -> Pixels:
    """Array (y, x) or (y, x, c), the last of two or four channels being transparency."""
    if picture.mode == "1":  # as a mask the class indices 0 and 1, as a picture black and white
        return np.asarray(picture).astype(np.uint8) * np.uint8(1 if labels else 255)
    if picture.mode == "P" and labels:
        return np.asarray(picture)
    if isinstance(picture, PngImageFile) and picture.mode != "P":
        # libpng, because Pillow cuts 16-bit colour to 8 bits; it is the faster one as well
        file.seek(0)
        samples: Pixels = imagecodecs.png_decode(file.read())
        if picture.mode not in WITH_OPACITY and samples.ndim == 3:  # one colour is transparent
            samples = samples[..., 0] if samples.shape[2] == 2 else samples[..., :3]
        return samples // _stretch(file) if labels and samples.ndim == 2 else samples
    if picture.mode == "La":
        return np.asarray(picture.convert("LA"))
    if picture.mode in ("L", "RGB", "I", "F", *WITH_OPACITY) or picture.mode.startswith("I;"):
        return np.asarray(picture)
    return np.asarray(picture.convert("RGB"))


def _stretch(file: BinaryFile) -> int:
    """What a grey PNG of 2 or 4 bits is multiplied by to be seen: its numbers are class numbers."""
    file.seek(PNG_BITS_AT)
    bits = file.read(1)[0]
    return {2: 85, 4: 17}.get(bits, 1)


def _orientation(picture: ImageFile, file: BinaryFile) -> int:
    # A PNG that does not speak of it would be decoded once more to look for it.
    if isinstance(picture, PngImageFile) and not _png_has_exif(file):
        return 1
    return int(picture.getexif().get(ORIENTATION_TAG, 1))


def _png_has_exif(file: BinaryFile) -> bool:
    """Whether a chunk may say how the picture is turned; it may stand after the pixels."""
    place = len(PNG_BEGINS)
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return False
        kind, length = head[4:], int.from_bytes(head[:4], "big")
        if kind == b"eXIf" or (kind in TEXTS and file.read(LONGEST).startswith(EXIF_TEXTS)):
            return True
        place += length + 12
