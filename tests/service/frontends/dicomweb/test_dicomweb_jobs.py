"""``POST /dicomweb/jobs``, with a PACS that really runs: Debian's Orthanc."""

import io
import re

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from seg.images import MASK_FORMATS, read_image, read_mask
from seg.inference import Predictor
from seg.model_package import ModelPackage
from tests.orthanc import printed, series_in
from tests.seg.images.dicom.files import write_series
from tests.service.conftest import until
from tests.service.frontends.dicomweb.conftest import PATIENT
from tests.service.frontends.dicomweb.worlds import in_the_world

TURNED = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0], [0.48, 0.64, 0.6]])
GRIDS = {
    "axial": np.diag([0.8, 1.5, 3, 1.0]),
    "sagittal": np.array([[0, 0, 3, 5], [0.8, 0, 0, 7], [0, -1.5, 0, 9], [0, 0, 0, 1.0]]),
    "tilted": np.block([[TURNED * [0.8, 1.5, 3], np.array([[5], [6], [7]])], [0, 0, 0, 1]]),
}


def over(service, job):
    """A job when nothing more will happen to it."""
    seen = {}

    def is_over():
        seen.update(service.get(f"/jobs/{job['id']}").json())
        return seen["state"] in ("done", "failed")

    until(is_over)
    return seen


def asked(service, slices, **more):
    names = {"study": str(slices[0].StudyInstanceUID), "series": str(slices[0].SeriesInstanceUID)}
    answer = service.post("/dicomweb/jobs", json={"source": "pacs", **names, **more})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/jobs/{answer.json()['id']}"
    return over(service, answer.json())


def stored_in(pacs, uid):
    (known,) = pacs.post(
        "/tools/find", json={"Level": "Instance", "Query": {"SOPInstanceUID": uid}}
    ).json()
    return pacs.get(f"/instances/{known}/file").content


def test_a_series_of_the_pacs_gets_the_mask_that_predict_gives_beside_it(
    service, pacs, stored, tiny_package_3d, tmp_path
):
    slices = stored(GRIDS["tilted"], enhanced=True)
    job = asked(service, slices, format="dicom-seg", model="nearest-level")
    assert job["state"] == "done", job["problem"]
    (uid,) = job["result"]["stored"]
    content = stored_in(pacs, uid)
    image = read_image(write_series(tmp_path / "slices", slices), dims=3)
    wanted = Predictor(ModelPackage.load(tiny_package_3d)).predict(image)
    found = read_mask(io.BytesIO(content), dims=3)
    assert in_the_world(found) == in_the_world(wanted)
    found = pydicom.dcmread(io.BytesIO(content))
    (referenced,) = found.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == slices[0].SeriesInstanceUID
    assert {each.ReferencedSOPInstanceUID for each in referenced.ReferencedInstanceSequence} == {
        each.SOPInstanceUID for each in slices
    }
    assert found.FrameOfReferenceUID == slices[0].FrameOfReferenceUID
    in_study = series_in(pacs, StudyInstanceUID=slices[0].StudyInstanceUID)
    assert len(in_study) == 2


def test_several_formats_are_stored_together(service, pacs, stored):
    slices = stored()
    job = asked(service, slices, format=["SEG", "RTSTRUCT", "SR", "SC"])
    assert job["state"] == "done", job["problem"]
    found = [pydicom.dcmread(io.BytesIO(stored_in(pacs, u))) for u in job["result"]["stored"]]
    kinds = {each.Modality: each for each in found}
    assert kinds.keys() == {"SEG", "RTSTRUCT", "SR", "OT"}
    assert kinds["SEG"].SOPInstanceUID in str(kinds["SR"].ContentSequence)
    assert service.get(job["links"]["result"]).headers["content-type"] == "application/zip"


def test_the_archive_finds_the_study_of_a_series(service, stored):
    slices = stored()
    job = asked(service, slices, study=None)
    assert job["state"] == "done", job["problem"]


def test_the_same_request_twice_is_one_job(service, stored):
    slices = stored()
    wish = {"source": "pacs", "series": str(slices[0].SeriesInstanceUID)}
    key = {"Idempotency-Key": "once"}
    first, second = (service.post("/dicomweb/jobs", json=wish, headers=key) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    other = service.post("/dicomweb/jobs", json={**wish, "format": "rtstruct"}, headers=key)
    assert other.status_code == 422
    over(service, first.json())


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"source": "elsewhere"}, "source is one of pacs, away, rubbish, locked-out, mistaken"),
        ({"source": "http://127.0.0.1:1/dicom-web"}, "source is one of"),
        ({"series": "1.2/../3"}, "a UID has digits and dots"),
        ({"series": None}, "a UID has digits and dots"),
        ({"study": "Meier^Anna"}, "a UID has digits and dots"),
        ({"format": "nifti"}, "an archive stores DICOM"),
        ({"format": "gif"}, "format must be one of"),
        ({"model": "other"}, "no model"),
        ({"url": "http://127.0.0.1/"}, "there is no field 'url'"),
        ({"classes": ["spleen"]}, "spleen"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_in_a_sentence(service, wish, words):
    answer = service.post("/dicomweb/jobs", json={"source": "pacs", "series": "1.2.3", **wish})
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert "Meier" not in answer.text


def test_what_is_no_json_is_refused(service):
    assert service.post("/dicomweb/jobs", content=b"\x00").status_code == 422
    assert service.post("/dicomweb/jobs", json=[1]).status_code == 422
    assert service.post("/dicomweb/jobs", content=b" " * 100_000).status_code == 413


@pytest.mark.parametrize(
    ("source", "status", "words"),
    [
        ("pacs", 404, "the archive pacs has no such series"),
        ("away", 504, "the archive away cannot be reached"),
        ("rubbish", 502, "the archive rubbish answered something that is no JSON"),
        ("locked-out", 502, "asks for other credentials (401)"),
    ],
)
def test_a_job_says_why_its_series_cannot_be_had(service, source, status, words):
    wish = {"source": source, "series": generate_uid()}
    job = over(service, service.post("/dicomweb/jobs", json=wish).json())
    assert job["state"] == "failed"
    assert job["problem"]["status"] == status
    assert words in job["problem"]["detail"]
    assert wish["series"] not in job["problem"]["detail"]


def test_another_series_than_the_one_asked_for_is_not_segmented(service):
    wish = {"source": "mistaken", "series": generate_uid(), "destination": "pacs"}
    job = over(service, service.post("/dicomweb/jobs", json=wish).json())
    assert (job["state"], job["problem"]["status"]) == ("failed", 422)
    assert "there is no DICOM series" in job["problem"]["detail"]


def test_a_series_of_more_bytes_than_a_job_may_have_is_left_where_it_is(service, stored):
    slices = stored(shape=(30, 20, 20))
    job = asked(service, slices)
    assert (job["state"], job["problem"]["status"]) == ("failed", 413)
    assert "1 MB" in job["problem"]["detail"]


def test_a_result_waits_for_an_archive_that_is_away_and_is_kept_when_it_stays_so(service, stored):
    job = asked(service, stored(), destination="away")
    assert (job["state"], job["problem"]["status"]) == ("failed", 504)
    assert "the archive away cannot be reached" in job["problem"]["detail"]


def test_no_uid_and_no_password_is_logged(service, log, stored):
    slices = stored()
    asked(service, slices)
    text = log.read_text()
    assert "/dicomweb/jobs" in text
    for secret in (slices[0].SeriesInstanceUID, slices[0].StudyInstanceUID, "s3cret", PATIENT):
        assert str(secret) not in text


def test_every_dicom_format_may_be_stored(service):
    names = [name for name, each in MASK_FORMATS.items() if each.media_type == "application/dicom"]
    assert len(names) >= 3
    for name in names:
        wish = {"source": "away", "series": "1.2.3", "format": name}
        assert service.post("/dicomweb/jobs", json=wish).status_code == 202


def test_ohif_s_configuration_leads_to_what_it_asks_an_archive_for(service, pacs, stored):
    roots = dict(re.findall(r"(\w+Root): \"(.+?)\"", printed("3D Slicer and OHIF", "js")))
    slices = stored()
    asked(service, slices)
    study = f"{roots['qidoRoot']}/studies/{slices[0].StudyInstanceUID}"
    found = pacs.get(f"{study}/series", params={"Modality": "SEG"}).json()
    (mask,) = [each["0020000E"]["Value"][0] for each in found]
    study = study.replace(roots["qidoRoot"], roots["wadoRoot"], 1)
    (told,) = pacs.get(f"{study}/series/{mask}/metadata").json()
    reference = told["00081115"]["Value"][0]["0020000E"]["Value"]  # by which OHIF lays it on
    assert reference == [str(slices[0].SeriesInstanceUID)]
    name = f"{slices[0].SeriesInstanceUID}/instances/{slices[0].SOPInstanceUID}"
    frame = pacs.get(f"{study}/series/{name}/frames/1")
    assert slices[0].PixelData in frame.content
    names = f"studyUID={study.rpartition('/')[2]}&seriesUID={mask}"
    names += f"&objectUID={told['00080018']['Value'][0]}&contentType=application/dicom"
    answer = pacs.get(f"{roots['wadoUriRoot']}?requestType=WADO&{names}")
    assert pydicom.dcmread(io.BytesIO(answer.content)).Modality == "SEG"
