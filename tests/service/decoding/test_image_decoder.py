import gzip
import io
import os
import signal
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import nibabel
import numpy as np
import psutil
import pydicom
import pytest
import tifffile

from seg.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from seg.images import ClassInfo, Limits, Mask, encode_mask, read_image
from service.decoding import decoders, image_decoder
from service.decoding.budget import DecodingBudget
from service.decoding.channel import Message
from service.decoding.crossing import INLINE, UnknownTypeError, packed, unpacked
from service.decoding.image_decoder import ImageDecoder
from service.errors import DecodingFullError, RequestCancelledError, SchedulerClosedError
from service.settings import Settings
from tests.seg.images.dicom.files import content_of, series_of
from tests.service.conftest import png

CLASSES = (
    ClassInfo(index=0, name="background", color=(0, 0, 0)),
    ClassInfo(index=1, name="thing", color=(255, 0, 0)),
)
VOXELS = np.random.default_rng(0).integers(-500, 500, (5, 32, 24), np.int16)


def nothing() -> None:
    pass


def decoded(content: bytes, dims: int, check=nothing, **settings):
    settings = {"max_decoding_mb": 500, **settings}
    decoder = ImageDecoder(Settings(**settings))
    return decoder.image([io.BytesIO(content)], dims=dims, limits=Limits(), check=check)


def tiff() -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, VOXELS[0])
    return buffer.getvalue()


def nifti(voxels=VOXELS) -> bytes:
    image = nibabel.Nifti1Image(voxels, np.diag([1.5, 2.0, 3.0, 1.0]))
    return gzip.compress(image.to_bytes(), 1)


def series(**whole) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, each in enumerate(series_of(VOXELS, np.diag([1.5, 1.5, 2, 1]), **whole)):
            archive.writestr(f"{number}.dcm", content_of(each))
    return buffer.getvalue()


def zeros(mebibytes: int) -> bytes:
    """A volume of zeros that is a thousand times smaller when it is packed, in many members."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((mebibytes, 1024, 512))
    header["magic"], header["vox_offset"] = b"n+1", 352
    begin = gzip.compress(header.binaryblock + bytes(4))
    return begin + mebibytes * gzip.compress(bytes(1 << 20))


ENDLESS = np.zeros((1000, 10_000), np.float32)
"""Takes seconds to write as JSON."""


@pytest.mark.parametrize(("made", "dims"), [(tiff, 2), (nifti, 3), (series, 3)])
def test_an_image_comes_over_as_it_is_read(made, dims):
    expected, image = read_image(made(), dims=dims), decoded(made(), dims)
    np.testing.assert_array_equal(image.array, expected.array)
    assert image.array.dtype == expected.array.dtype
    assert image.spacing == expected.spacing
    np.testing.assert_array_equal(image.affine, expected.affine)
    assert image.array.flags.writeable


def test_headers_come_over_with_every_value():
    content = series(
        PatientName="Groß^Jörg",
        SpecificCharacterSet="ISO_IR 100",
        PatientID="7",
        FrameOfReferenceUID=pydicom.uid.generate_uid(),
    )
    expected, image = read_image(content, dims=3), decoded(content, 3)
    assert len(image.headers) == len(VOXELS)
    for ours, theirs in zip(image.headers, expected.headers, strict=True):
        assert ours == theirs
        assert ours.file_meta == theirs.file_meta
    mask = Mask.on_grid_of(image, (image.array[0] > 0).astype(np.uint8))
    made = pydicom.dcmread(io.BytesIO(encode_mask(mask, "dicom-seg", CLASSES, image)))
    assert made.PatientName == "Groß^Jörg"


def test_large_arrays_come_over_as_well():
    voxels = np.random.default_rng(1).integers(0, 99, (40, 200, 200), np.int16)
    image = decoded(nifti(voxels), 3)
    np.testing.assert_array_equal(image.array, read_image(nifti(voxels), dims=3).array)


def test_what_is_refused_is_refused_in_the_same_words():
    for content, kind in ((b"text", UnsupportedImageError), (tiff()[:-90], ImageError)):
        with pytest.raises(kind) as expected:
            read_image(content, dims=2)
        with pytest.raises(kind) as error:
            decoded(content, 2)
        assert str(error.value) == str(expected.value)


def test_a_decoding_that_nobody_waits_for_is_ended():
    begun, asked = time.monotonic(), []

    def check() -> None:
        asked.append(decoder_processes())
        if len(asked) > 3:
            raise RequestCancelledError

    with pytest.raises(RequestCancelledError):
        ImageDecoder(Settings(max_decoding_mb=4000)).as_json(ENDLESS, check)
    assert time.monotonic() - begun < 20
    until(lambda: any(map(is_dead, asked[-1])))  # not all of them: others may be idle


def test_one_that_takes_too_much_cpu_is_ended():
    decoder = ImageDecoder(Settings(max_decoding_s=0.5, max_decoding_mb=8000))
    with pytest.raises(ImageTooLargeError, match=r"took more than 0\.5 s.*SEG_MAX_DECODING_S"):
        decoder.as_json(ENDLESS, nothing)


def test_one_that_takes_too_much_memory_is_ended():
    with pytest.raises(ImageTooLargeError, match="SEG_MAX_DECODING_MB"):
        decoded(zeros(200), 3, max_decoding_mb=60)
    assert decoded(nifti(), 3, max_decoding_mb=60).dims == 3


def test_it_is_ended_by_its_own_limit_too_where_nobody_looks(monkeypatch):
    monkeypatch.setattr(image_decoder, "POLL_S", 60)
    with pytest.raises(ImageTooLargeError, match="than decoding may have here"):
        decoded(zeros(200), 3, max_decoding_mb=60)


def test_two_that_take_too_much_together_are_not_both_decoded():
    decoder, over = ImageDecoder(Settings(max_decoding_mb=230)), threading.Barrier(2)

    def tried(_: int) -> str:
        try:
            image = decoder.image([io.BytesIO(zeros(60))], dims=3, limits=Limits(), check=nothing)
        except DecodingFullError as error:
            over.wait(20)
            return type(error).__name__
        over.wait(20)
        return f"{image.dims} done"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(tried, range(2))) == ["3 done", "DecodingFullError"]
    assert decoder.budget.used == 0


def test_the_newest_gives_way_and_small_ones_pass():
    budget = DecodingBudget(100 << 20)
    first, second, small = (budget.lease() for _ in range(3))
    first.take(70 << 20)
    with pytest.raises(DecodingFullError):
        second.take(40 << 20)
    second.release()
    small.take(10 << 20)
    first.take(99 << 20)
    with pytest.raises(ImageTooLargeError):
        first.take(101 << 20)


def test_an_older_one_gives_way_to_what_is_done():
    budget = DecodingBudget(100 << 20)
    older, newer = (budget.lease() for _ in range(2))
    older.take(30 << 20)
    newer.keep(60 << 20)
    with pytest.raises(DecodingFullError):
        older.take(41 << 20)
    newer.release()
    older.take(100 << 20)


def test_a_file_that_breaks_its_decoder_breaks_nothing_else():
    hit: list[psutil.Process] = []

    def check() -> None:
        hit[:] = decoder_processes()
        for each in hit:
            each.send_signal(signal.SIGSEGV)

    with pytest.raises(ImageError, match="broke the program that decodes it"):
        ImageDecoder(Settings(max_decoding_mb=4000)).as_json(ENDLESS, check)
    assert hit
    until(lambda: all(map(is_dead, hit)))
    assert decoded(nifti(), 3).dims == 3


def test_decoders_that_were_killed_while_they_waited_are_not_asked():
    with ThreadPoolExecutor(3) as pool:
        assert [each.dims for each in pool.map(lambda _: decoded(nifti(), 3), range(3))] == [3] * 3
    for each in (waiting := decoder_processes()):
        each.send_signal(signal.SIGSEGV)
    until(lambda: all(map(is_dead, waiting)))
    assert decoded(nifti(), 3).dims == 3


def test_decoders_come_back_when_what_makes_them_was_killed():
    assert decoded(nifti(), 3).dims == 3
    waiting = decoder_processes()
    fork_server().kill()
    until(lambda: all(map(is_dead, waiting)))
    assert decoded(nifti(), 3).dims == 3


def test_a_small_png_is_decoded_where_it_came_in(monkeypatch):
    monkeypatch.setattr(decoders.Decoders, "lend", None)
    assert decoded(png(np.zeros((40, 50))), 2).spatial_shape == (40, 50)


def test_many_small_png_are_a_large_image(monkeypatch):
    monkeypatch.setattr(decoders.Decoders, "lend", None)
    one = png(np.zeros((1000, 1000)))
    decoder = ImageDecoder(Settings())
    for number in (1, 2):
        files = [io.BytesIO(one) for _ in range(number)]
        with nullcontext() if number == 1 else pytest.raises(TypeError):
            decoder.image(files, dims=2, limits=Limits(), check=nothing)


def test_a_png_that_can_unpack_to_much_is_none_of_the_small(monkeypatch):
    monkeypatch.setattr(decoders.Decoders, "lend", None)
    noise = np.random.default_rng(0).integers(0, 255, (700, 700), np.uint8)
    with pytest.raises(TypeError):
        decoded(png(noise), 2)


def test_what_runs_is_ended_when_the_service_is():
    decoder = ImageDecoder(Settings(max_decoding_mb=4000))
    with pytest.raises(SchedulerClosedError):
        decoder.as_json(ENDLESS, decoder.close)


@pytest.mark.parametrize(
    "name",
    [
        ("os", "system"),
        ("seg.images.reading", "read_image"),
        ("service.decoding.channel", "Message"),
    ],
)
def test_a_decoder_can_name_no_code(name):
    with pytest.raises(UnknownTypeError):
        unpacked(Message({"type": list(name), "fields": {}}))
    with pytest.raises(UnknownTypeError):
        packed(os.system)


def test_open_files_and_files_in_memory_are_handed_over(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff())
    decoder = ImageDecoder(Settings())
    with (tmp_path / "a.tif").open("rb") as file:
        image = decoder.image([file, io.BytesIO(tiff())], dims=2, limits=Limits(), check=nothing)
    np.testing.assert_array_equal(image.array, np.stack([VOXELS[0], VOXELS[0]]))


def fork_server() -> psutil.Process:
    children = psutil.Process().children()
    return next(each for each in children if "fork_server" in " ".join(each.cmdline()))


def decoder_processes() -> list[psutil.Process]:
    return fork_server().children()


def is_dead(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("size", [10, 2 * INLINE], ids=["in the message", "in a file"])
@pytest.mark.parametrize("turned", [False, True])
def test_an_array_crosses_however_it_lies_in_memory(size, turned):
    array = np.arange(size, dtype=np.uint16).reshape(2, -1)
    array = array.T if turned else array
    message = packed(array)
    found = unpacked(message)
    message.close()
    np.testing.assert_array_equal(found, array)
