"""Who is in a picture is said in masks that refer to it, and nowhere else."""

import io
import json
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.seg.images.dicom.files import content_of, series_of
from tests.service.conftest import served, until_status
from tests.service.jobs.test_jobs import finished

MARK = "Zzyzx"
BORN, CHARSET, INTERCEPT = b"19560131", b"ISO_IR 100", b"-1234.5678"
PATIENT = {
    "PatientName": f"{MARK}^Anna",
    "PatientID": f"{MARK}-1",
    "PatientBirthDate": BORN.decode(),
    "SpecificCharacterSet": CHARSET.decode(),
    "PatientComments": f"sister of {MARK}",
    "ReferringPhysicianName": f"Dr {MARK}",
    "InstitutionName": f"{MARK} Hospital",
    "StudyDescription": f"head of {MARK}",
    "AccessionNumber": MARK,
    "RescaleIntercept": INTERCEPT.decode(),
}
NAME = f"{MARK}^Anna.dcm"
FRAME = "1.2.826.0.1.3680043.8.498.1"


def slices(**changed) -> list[bytes]:
    voxels = np.full((6, 20, 16), 128, np.int16)
    whole = {**PATIENT, "FrameOfReferenceUID": FRAME, "SliceThickness": 2, **changed}
    return [content_of(each) for each in series_of(voxels, np.diag([1.5, 1.5, 2, 1]), **whole)]


def archive(files: list[bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as target:
        for number, file in enumerate(files):
            target.writestr(f"{MARK}/{MARK}_{number}.dcm", file)
    return content.getvalue()


def rewritten(old: bytes) -> bytes:
    """The series with a value that cannot be, which a decoder may quote."""
    new = MARK.encode().ljust(len(old), b"_")
    files = slices()
    assert all(old in file for file in files)
    return archive([file.replace(old, new) for file in files])


def nifti() -> bytes:
    image = nibabel.Nifti1Image(np.full((20, 16, 6), 128, np.uint8), np.eye(4))
    image.header["descrip"] = MARK
    return image.to_bytes()


WHOLE = archive(slices())


def unfit() -> dict[str, bytes]:
    """What is refused, or read for all that; by what is wrong with it."""
    return {
        "lacks slices": archive(slices()[:2] + slices()[4:]),
        "twice": archive(slices() * 2),
        "two series": archive(slices() + slices(SeriesInstanceUID="1.2.3.4")),
        "tags cut": archive([file[:400] for file in slices()]),
        "pixels cut": archive([file[:-100] for file in slices()]),
        "one of them is none": archive([*slices(), MARK.encode() * 100]),
        "a birth date that is none": rewritten(BORN),
        "a character set that is none": rewritten(CHARSET),
        "an intercept that is none": rewritten(INTERCEPT),
        "a long name": archive(slices(PatientName=MARK * 30)),
        "archive cut": WHOLE[: len(WHOLE) // 2],
        "NIfTI cut": nifti()[:1000],
        "text": MARK.encode() * 100,
    }


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("patients") / "log.txt"


@pytest.fixture(scope="module")
def server(tiny_package_3d, log):
    with served(tiny_package_3d, log) as client:
        until_status(client, "/readyz", 200)
        yield client


def said_of(client, content: bytes) -> dict[str, str]:
    """All that the service says of an image, but for the answers that it succeeds with."""
    kind = f"image/{MARK}"
    form = {"image": (NAME, content, kind)}
    answers = {
        path: client.post(path, content=content, headers={"Content-Type": kind})
        if path == "/picture"
        else client.post(path, files=form)
        for path in ("/segment", "/segment?format=dicom-seg,json", "/picture", "/jobs")
    }
    several = [("images", (NAME, each, kind)) for each in (content, WHOLE)]
    answers["several"] = client.post("/segment", files=several)
    with zipfile.ZipFile(io.BytesIO(answers["several"].content)) as report:
        said = {"report": report.read("report.json").decode()}
    job = answers["/jobs"].json()
    said["job"] = json.dumps([job, finished(client, job)])
    said["events"] = client.get(job["links"]["events"]).text
    answers["result"] = client.get(job["links"]["result"])
    for name, answer in answers.items():
        assert answer.status_code < 500, (name, answer.text)
        said[name] = f"{answer.headers}{'' if answer.is_success else answer.text}"
    return said


def test_a_mask_that_refers_to_a_patient_s_images_names_the_patient(server):
    answer = server.post("/segment?format=dicom-seg", content=WHOLE)
    assert answer.status_code == 200
    assert MARK.encode() in answer.content


@pytest.mark.filterwarnings("ignore:The PN component length")  # pydicom, as it is drawn
def test_nothing_else_that_is_said_or_kept_names_a_patient(server, log):
    for name, content in {"whole": WHOLE, **unfit()}.items():
        said = said_of(server, content)
        assert {what: text for what, text in said.items() if MARK in text} == {}, name
    server.get(f"/jobs/{MARK}")
    server.get(f"/patients/{MARK}")
    assert MARK not in server.get("/metrics").text
    assert [line for line in log.read_text().splitlines() if MARK in line] == []
    kept = [file for file in (log.parent / "jobs").rglob("*") if file.is_file()]
    assert [file for file in kept if MARK in str(file)] == []
    queue = [file for file in kept if file.name.startswith("jobs.sqlite")]
    assert queue
    assert [file for file in queue if MARK.encode() in file.read_bytes()] == []
