"""Instances that are sent: what they take, in whatever number and of whatever make they come."""

import copy
import dataclasses
import io
from contextlib import ExitStack

import anyio
import numpy as np
import pytest
from pydicom.uid import ImplicitVRLittleEndian, RLELossless
from starlette.requests import Request

from benchmarks.drills.attacks import deflated
from seg.errors import ImageError
from seg.images.dicom.instance_facts import InstanceFacts, are_two, instance_facts
from service.archives.instances import facts_of_sent
from service.decoding.image_decoder import ImageDecoder
from service.frontends.dicomweb.stow import DUPLICATE, MOST_SERIES, NO_ROOM, _Sorted
from service.problems.response import Problem
from service.requests import uploads
from service.requests.open_files import OPEN_FILES
from service.settings import Settings
from tests.seg.images.dicom.files import content_of, series_of

SLICE, *_ = series_of(np.zeros((2, 8, 8), np.int16), np.diag([1.0, 1.0, 2.0, 1.0]))


def read_from(part):
    """An instance that is its number and a series of its own."""
    number = part.read().decode()
    return InstanceFacts(
        sop_class="1.2",
        instance=f"1.3.{number}",
        series=f"1.4.{number}",
        study="1.5",
        modality="CT",
        description="",
        slices=1,
        thickness_mm=None,
        direction="axial",
    )


def test_a_request_has_so_many_series_and_gives_their_files_back():
    with ExitStack() as files:
        found = _Sorted(files, None, read_from)
        for number in range(MOST_SERIES + 2):
            found.begin({})
            found.write(str(number).encode())
            found.end()
        assert OPEN_FILES.count == len(found.series) == len(found.taken) == MOST_SERIES
        assert [reason for _, reason in found.refused] == [NO_ROOM] * 2
    assert OPEN_FILES.count == 0


def test_of_two_images_of_one_name_the_second_is_refused_and_one_sent_again_is_not():
    def read(part):
        place = float(part.read())
        return dataclasses.replace(read_from(io.BytesIO(b"1")), position=(0.0, 0.0, place))

    with ExitStack() as files:
        found = _Sorted(files, None, read)
        for place in (b"1", b"2", b"1"):
            found.begin({})
            found.write(place)
            found.end()
        assert [reason for _, reason in found.refused] == [DUPLICATE]
        assert len(found.taken) == 2


def test_a_body_has_so_many_parts(monkeypatch):
    monkeypatch.setattr(uploads, "MAX_FILES", 3)
    body = b"--b\r\n\r\n1\r\n" * 4 + b"--b--\r\n"

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"multipart/related; boundary=b")]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    with ExitStack() as files, pytest.raises(Problem, match="3 parts") as raised:
        anyio.run(uploads.read_related, request, _Sorted(files, None, read_from))
    assert raised.value.status_code == 413


def test_what_an_instance_is_comes_over_from_the_process_that_read_it():
    content = content_of(SLICE)
    facts = facts_of_sent(io.BytesIO(content), ImageDecoder(Settings()), lambda: None)
    assert facts == instance_facts(io.BytesIO(content))
    assert facts.instance == SLICE.SOPInstanceUID


def test_other_pixels_are_another_image_however_they_are_written():
    image, other = copy.deepcopy(SLICE), copy.deepcopy(SLICE)
    other.PixelData = image.PixelData[:-2] + b"\1\0"
    implicit, renamed = copy.deepcopy(image), copy.deepcopy(image)
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    renamed.PatientName = "Corrected^By^The^Archive"
    renamed.DataSetTrailingPadding = bytes(10)
    packed = copy.deepcopy(other)
    packed.compress(RLELossless, generate_instance_uid=False)

    def look(each):
        return instance_facts(io.BytesIO(content_of(each))).look

    assert are_two(look(other), look(image))
    assert are_two(look(other), look(implicit))
    assert not are_two(look(renamed), look(image))
    assert not are_two(look(implicit), look(image))
    assert not are_two(look(packed), look(image))  # nobody knows: it may be packed in many ways


@pytest.mark.parametrize("content", [deflated(200 << 20), b"1.2.3"], ids=["a bomb", "no file"])
def test_an_instance_that_would_grow_is_none(content):
    decoder = ImageDecoder(Settings(max_decoding_mb=60))
    with pytest.raises(ImageError):
        facts_of_sent(io.BytesIO(content), decoder, lambda: None)
    assert decoder.budget.used == 0


def test_reading_an_instance_ends_when_nobody_waits():
    def check():
        raise Problem(504, "too late")

    decoder = ImageDecoder(Settings(max_decoding_mb=500))
    with pytest.raises(Problem, match="too late"):
        facts_of_sent(io.BytesIO(deflated(200 << 20)), decoder, check)
