"""STOW-RS in: what a PACS forwards becomes jobs, whose results come back to it."""

import io
import json

import httpx
import numpy as np
import pydicom
import pytest

from seg.dicomweb.archive import Archive
from seg.dicomweb.credentials import Credentials
from seg.images import read_image, read_mask
from seg.inference import Predictor
from seg.model_package import ModelPackage
from service.middleware.key_file import new_key, write_keys
from tests.orthanc import free_port, instances_in, orthanc, printed, put, root_of, series_in
from tests.seg.images.dicom.files import content_of, write_series
from tests.service.conftest import served, until, until_status
from tests.service.frontends.dicomweb.conftest import study
from tests.service.frontends.dicomweb.worlds import in_the_world

AFFINE = np.diag([0.8, 1.5, 3, 1.0])
HEADING = "A PACS that forwards"
RULES = """
- modality: CT
  description: never
  model: another
- modality: [CT, PT]
  slices: [12, 40]
  orientation: axial
  format: [SEG, RTSTRUCT]
"""


@pytest.fixture(scope="module")
def forwarding(tmp_path_factory, tiny_package_3d):
    """A PACS that forwards by STOW-RS, and the service that it forwards to."""
    folder = tmp_path_factory.mktemp("forwarding")
    ours = free_port()
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    forwards = json.loads(printed(HEADING, "json"))
    (server,) = forwards["DicomWeb"]["Servers"].values()
    server["Url"] = server["Url"].replace("127.0.0.1:3000", f"127.0.0.1:{ours}")
    key, server["Password"] = new_key("pacs", ["jobs", "segment"])
    other, _ = other_key = new_key("reading room", ["segment"])
    write_keys(folder / "keys.json", [key, other])
    script = folder / "forward.lua"
    script.write_text(printed(HEADING, "lua"))
    with (
        orthanc(folder / "pacs", DicomWeb=forwards["DicomWeb"], LuaScripts=[str(script)]) as pacs,
        served(
            tiny_package_3d,
            folder / "log.txt",
            port=ours,
            SEG_PROVIDER="cpu",
            SEG_FRONTENDS="dicomweb",
            SEG_DICOMWEB=f"pacs={root_of(pacs)}",
            SEG_DICOM_RULES=str(rules),
            SEG_DICOM_SILENCE_S="0.5",
            SEG_LOWEST_DICE="0.5",
            SEG_DICOMWEB_RETRY_S="2",
            SEG_KEYS="required",
            SEG_KEYS_FILE=str(folder / "keys.json"),
        ) as service,
    ):
        service.headers["Authorization"] = f"Bearer {server['Password']}"
        service.headers["X-Other-Key"] = other_key[1]
        until_status(service, "/readyz", 200)
        yield pacs, service


def forward(pacs, uid):
    """As a script of Orthanc, or its user, has it sent; in requests of ten instances."""
    asked = {"Level": "Series", "Query": {"SeriesInstanceUID": str(uid)}}
    resources = pacs.post("/tools/find", json=asked).json()
    wish = {"Resources": resources, "Synchronous": True}
    return pacs.post("/dicom-web/servers/seg/stow", json=wish)


def job_of(service, answer):
    job = {}

    def is_over():
        job.update(service.get(answer.headers["Location"]).json())
        return job["state"] in ("done", "failed")

    until(is_over)
    return job


def body_of(slices):
    """``multipart/related``, as a PACS sends it: without a blank line more than needed."""
    head = b"--b0undary\r\nContent-Type: application/dicom\r\n\r\n"
    parts = b"".join(head + content_of(each) + b"\r\n" for each in slices)
    kind = 'multipart/related; type="application/dicom"; boundary="b0undary"'
    return {"content": parts + b"--b0undary--\r\n", "headers": {"Content-Type": kind}}


def test_a_stable_series_is_forwarded_in_pieces_and_gets_one_result_of_each_kind(
    forwarding, tiny_package_3d, tmp_path
):
    pacs, service = forwarding
    slices = study(AFFINE)
    put(pacs, slices)
    until(lambda: len(instances_in(pacs, "SEG")) == len(instances_in(pacs, "RTSTRUCT")) == 1)
    (content,) = instances_in(pacs, "SEG")
    image = read_image(write_series(tmp_path / "slices", slices), dims=3)
    wanted = Predictor(ModelPackage.load(tiny_package_3d)).predict(image)
    assert in_the_world(read_mask(io.BytesIO(content), dims=3)) == in_the_world(wanted)
    found = pydicom.dcmread(io.BytesIO(content))
    assert len(found.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == len(slices)
    assert found.SeriesDescription.startswith("DRAFT: ")  # of which the model predicts no Dice
    before = len(service.get("/jobs").json()["jobs"])
    assert forward(pacs, found.SeriesInstanceUID).status_code == 200  # our own result comes back
    assert forward(pacs, slices[0].SeriesInstanceUID).status_code == 200  # the same series again
    assert len(service.get("/jobs").json()["jobs"]) == before
    assert len(instances_in(pacs, "SEG")) == 1


def test_the_answer_lists_what_was_taken_and_names_the_job(forwarding):
    _, service = forwarding
    slices = study(AFFINE)
    answer = service.post("/dicom-web/studies", **body_of(slices))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    stored = answer.json()["00081199"]["Value"]
    assert {each["00081155"]["Value"][0] for each in stored} == {
        str(each.SOPInstanceUID) for each in slices
    }
    job = job_of(service, answer)
    assert job["state"] == "done", job["problem"]
    assert len(job["result"]["stored"]) == 2


def test_slices_that_come_late_make_a_job_of_the_whole_series(forwarding):
    _, service = forwarding
    slices = study(AFFINE, shape=(5, 4, 5))
    first = service.post("/dicom-web/studies", **body_of(slices[:12]))
    job_of(service, first)
    second = service.post("/dicom-web/studies", **body_of(slices[12:]))
    job = job_of(service, second)
    assert second.headers["Location"] != first.headers["Location"]
    assert job["state"] == "done", job["problem"]
    mask = service.get(job["links"]["result"]).content
    assert mask.startswith(b"PK")


def test_a_series_of_which_the_pacs_has_more_is_not_segmented_in_part(forwarding):
    pacs, service = forwarding
    slices = study(AFFINE, shape=(5, 4, 5), Modality="PT")  # of which nothing is forwarded
    put(pacs, slices)
    job = job_of(service, service.post("/dicom-web/studies", **body_of(slices[:15])))
    assert job["state"] == "failed"
    assert "15 of the 20 instances came" in job["problem"]["detail"]
    again = service.post("/dicom-web/studies", **body_of(slices))  # sent again, and all of it
    assert job_of(service, again)["state"] == "done"


def test_one_name_for_series_of_two_patients_is_two_series(forwarding):
    pacs, service = forwarding
    first, second = study(AFFINE), study(AFFINE, PatientName="Another")
    for each in second:
        each.SeriesInstanceUID = first[0].SeriesInstanceUID
    answer = service.post("/dicom-web/studies", **body_of([*first, *second]))
    assert (answer.status_code, len(answer.json()["00081199"]["Value"])) == (200, 24)
    studies = {str(each[0].StudyInstanceUID) for each in (first, second)}
    until(lambda: studies <= {each["0020000D"]["Value"][0] for each in series_in(pacs)})


def test_series_that_no_rule_fits_are_taken_and_left_alone(forwarding):
    _, service = forwarding
    before = len(service.get("/jobs").json()["jobs"])
    for slices in (study(AFFINE, Modality="MR"), study(AFFINE[[2, 0, 1, 3]])):
        answer = service.post("/dicom-web/studies", **body_of(slices))
        assert answer.status_code == 200
        assert "Location" not in answer.headers
    assert len(service.get("/jobs").json()["jobs"]) == before


def test_what_is_no_dicom_is_listed_as_failed(forwarding):
    _, service = forwarding
    slices = study(AFFINE)[:2]
    body = body_of(slices)
    broken = body["content"].replace(content_of(slices[0]), b"no DICOM")
    answer = service.post("/dicom-web/studies", content=broken, headers=body["headers"])
    assert answer.status_code == 202
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xC000]
    only = body["content"].replace(content_of(slices[0]), b"x").replace(content_of(slices[1]), b"")
    answer = service.post("/dicom-web/studies", content=only, headers=body["headers"])
    assert answer.status_code == 400
    named = study(AFFINE)[:1]
    named[0].StudyInstanceUID = "1/../2"
    answer = service.post("/dicom-web/studies", **body_of(named))
    assert answer.status_code == 400
    answer = service.post("/dicom-web/studies/1.2.3", **body)
    assert answer.status_code == 409
    answer = service.post(
        "/dicom-web/studies", content=body["content"][:-20], headers=body["headers"]
    )
    assert answer.status_code == 400
    assert "cut off" in json.loads(answer.text)["detail"]


def test_a_multipart_related_body_is_an_image_everywhere(forwarding, tiny_package_3d, tmp_path):
    _, service = forwarding
    slices = study(AFFINE)
    image = read_image(write_series(tmp_path / "slices", slices), dims=3)
    wanted = Predictor(ModelPackage.load(tiny_package_3d)).predict(image)
    answer = service.post("/segment?format=nifti", **body_of(slices))
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(read_mask(answer.content, dims=3).array, wanted.array)
    job = job_of(service, service.post("/jobs", **body_of(slices)))
    assert job["state"] == "done"
    nothing = service.post("/segment", **body_of([]))
    assert (nothing.status_code, "no part" in nothing.text) == (422, True)


def test_the_client_of_this_library_stores_into_the_service(forwarding):
    _, service = forwarding
    slices = study(AFFINE)
    token = service.headers["Authorization"].removeprefix("Bearer ")
    with Archive(root_of(service), Credentials(token=token)) as archive:
        files = [(io.BytesIO(content_of(each)), len(content_of(each))) for each in slices]
        assert len(archive.store(files)) == len(slices)


def test_only_a_key_for_jobs_lets_a_pacs_in(forwarding):
    _, service = forwarding
    body = body_of(study(AFFINE)[:1])
    for headers, status in (
        ({"Authorization": "Basic c2VnOm5vIGtleQ=="}, 401),
        ({"Authorization": "Basic"}, 401),
        ({"Authorization": f"Bearer {service.headers['X-Other-Key']}"}, 403),
    ):
        answer = httpx.post(
            f"{service.base_url}/dicom-web/studies",
            content=body["content"],
            headers={**body["headers"], **headers},
        )
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
