"""Small real files of every format, and ways to damage them that can be drawn again by a number."""

import gzip
import io
import re
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import PIL.Image
import SimpleITK
import tifffile
from pydicom.data import get_testdata_file

from seg.images import ClassInfo, Mask, encode_mask
from tests.seg.images.dicom.files import content_of, series_of
from tests.seg.images.zarr.files import write_zarr

GREY = np.random.default_rng(0).integers(0, 4, (13, 17)).astype(np.uint8)
COLOR = np.dstack([GREY] * 3)
STACK = np.stack([GREY] * 3)
CLASSES = [ClassInfo(index=i, name=str(i), color=(i, i, i)) for i in range(4)]
EXIF = PIL.Image.Exif()
EXIF[0x0112] = 6

DICOM_FILES = (
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_rle_2frame.dcm",
    "JPEG2000.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "JPEGLSNearLossless_16.dcm",
    "JPGExtended.dcm",
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "rtdose_1frame.dcm",
    "rtdose_rle.dcm",
    "liver_1frame.dcm",
)
"""What pydicom brings: plain and in most compressions, of several frames, a segmentation."""

EXTREMES = (0, 1, -1, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, -(2**31), 2**24, 10**6)
WORDS = (b"0", b"-1", b"1", b"nan", b"inf", b"1e308", b"99999999999999999999", b"65536", b"x", b"")
NUMBER = re.compile(rb"-?\d+(\.\d+)?")


def picture(kind, pixels=COLOR, **options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(array=STACK, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric="minisblack", **options)
    return buffer.getvalue()


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@cache
def small_files():
    """Contents by name; an archive is a dict of its files, so that each of them can be damaged."""
    nifti = nibabel.Nifti1Image(np.moveaxis(STACK, 0, -1), np.diag([2, 2, 3, 1.0])).to_bytes()
    affine = np.diag([0.7, 0.9, 2.5, 1.0])
    slices = series_of(STACK.astype(np.int16), affine, RescaleIntercept=-10)
    with TemporaryDirectory() as folder:
        itk = _itk_files(Path(folder))
        zarrs = _zarr_files(Path(folder))
    return {
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
        "ome tiff": encode_mask(Mask(STACK, spacing=(3.0, 1.0, 1.0)), "tiff", CLASSES),
        "bigtiff": tiff(bigtiff=True),
        "nifti": nifti,
        "gzipped nifti": gzip.compress(nifti),
        "npz": encode_mask(Mask(GREY, spacing=(1.0, 2.0)), "npz", CLASSES),
        "npy": encode_mask(Mask(GREY), "npy", CLASSES),
        "dicom series": {f"{i}.dcm": content_of(dataset) for i, dataset in enumerate(slices)},
        **itk,
        **zarrs,
        **{name: Path(get_testdata_file(name)).read_bytes() for name in DICOM_FILES},
    }


def _itk_files(folder):
    image = SimpleITK.GetImageFromArray(STACK.astype(np.int16))
    image.SetSpacing((0.5, 0.5, 2.0))
    image.SetOrigin((1.0, 2.0, 3.0))
    found = {}
    for suffix in ("nrrd", "mha"):
        for kind, compressed in (("", False), ("compressed ", True)):
            SimpleITK.WriteImage(image, str(folder / f"a.{suffix}"), compressed)
            found[kind + suffix] = (folder / f"a.{suffix}").read_bytes()
    return found


def _zarr_files(folder):
    found = {}
    for version in ("0.4", "0.5"):
        write_zarr(folder / version, STACK, version=version, chunks=(2, 9, 9))
        found[f"ome-zarr {version}"] = {
            path.relative_to(folder / version).as_posix(): path.read_bytes()
            for path in sorted((folder / version).rglob("*"))
            if path.is_file()
        }
    return found


def whole(name):
    """The undamaged file."""
    content = small_files()[name]
    return zipped(content) if isinstance(content, dict) else content


def damaged(name, seed):
    """The file with a damage that depends on ``seed`` alone."""
    rng = np.random.default_rng(seed)
    content = small_files()[name]
    if isinstance(content, dict) and rng.random() < 0.7:  # a sound archive of unsound files
        return zipped(_files_damaged(content, rng))
    if name == "gzipped nifti" and rng.random() < 0.7:
        return gzip.compress(_bytes_damaged(gzip.decompress(content), rng), 1)
    return _bytes_damaged(whole(name), rng)


def _files_damaged(files, rng):
    files = dict(files)
    for _ in range(rng.integers(1, 3)):
        name, other = rng.choice(sorted(files), 2)
        way = rng.integers(8)
        if way == 0 and len(files) > 1:
            del files[name]
        elif way == 1:
            files[f"copy of {name}"] = files[name]
        elif way == 2:
            files[str(other)] = files[name]
        elif way == 3:
            files["../" * int(rng.integers(3)) + "etc/" + name] = b"x"
        else:
            files[str(name)] = _bytes_damaged(files[name], rng)
    return files


def _bytes_damaged(content, rng):
    block = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        WAYS[rng.integers(len(WAYS))](block, rng)
    return bytes(block)


def _place(block, rng):
    """Somewhere, most often in the first bytes, where headers are."""
    end = max(len(block), 1)
    return int(rng.integers(end if rng.random() < 0.5 else min(end, 600)))


def _overwrite_bytes(block, rng):
    for _ in range(rng.integers(1, 6)):
        if block:
            block[_place(block, rng)] = int(rng.choice((0, 1, 127, 128, 255, rng.integers(256))))


def _overwrite_number(block, rng):
    at, size = _place(block, rng), int(rng.choice((2, 4, 8)))
    number = int(rng.choice(EXTREMES)) % 256**size
    order = "little" if rng.random() < 0.5 else "big"
    block[at : at + size] = number.to_bytes(size, order)


def _overwrite_text(block, rng):
    found = list(NUMBER.finditer(bytes(block[:4096])))
    if found:
        match = found[rng.integers(len(found))]
        block[match.start() : match.end()] = WORDS[rng.integers(len(WORDS))]


def _cut(block, rng):
    del block[_place(block, rng) :]


def _remove_block(block, rng):
    at = _place(block, rng)
    del block[at : at + int(rng.integers(1, 64))]


def _repeat_block(block, rng):
    at = _place(block, rng)
    block[at:at] = block[at : at + int(rng.integers(1, 64))]


def _noise(block, rng):
    at = _place(block, rng)
    block[at : at + 32] = rng.bytes(int(rng.integers(1, 64)))


WAYS = (
    _overwrite_bytes,
    _overwrite_bytes,
    _overwrite_number,
    _overwrite_number,
    _overwrite_text,
    _cut,
    _remove_block,
    _repeat_block,
    _noise,
)
