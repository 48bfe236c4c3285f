"""C-STORE in and out, with Orthanc and dcmtk as peers."""

import copy
import io
import shutil
import subprocess

import pydicom
import pynetdicom
import pytest

from seg.images import read_image, read_mask
from seg.inference import Predictor
from seg.model_package import ModelPackage
from service.dicom import main
from tests.orthanc import free_port, instances_in, orthanc, put
from tests.seg.images.dicom.files import write_series
from tests.service.conftest import until
from tests.service.frontends.dicomweb.conftest import PATIENT, study
from tests.service.frontends.dicomweb.test_dicomweb_jobs import GRIDS
from tests.service.frontends.dicomweb.worlds import in_the_world

AFFINE = GRIDS["axial"]
SILENCE_S, BROKEN_S = 0.5, 4.0
RULES = """
- modality: CT
  format: SEG
- modality: MR
  format: [SEG, RTSTRUCT]
  destination: away
"""


@pytest.fixture(scope="module")
def clinic(tmp_path_factory, receiving):
    """An Orthanc and ``service.dicom``, each the other's peer."""
    folder = tmp_path_factory.mktemp("clinic")
    ours, theirs = free_port(), free_port()
    dicom = {
        "DicomServerEnabled": True,
        "DicomAet": "ORTHANC",
        "DicomPort": theirs,
        "DicomModalities": {"seg": ["SEG", "127.0.0.1", ours]},
    }
    peers = {
        "pacs": f"ORTHANC@127.0.0.1:{theirs}",
        "scanner": "STORESCU@localhost:104",
        "away": f"NOBODY@127.0.0.1:{free_port()}",
        "elsewhere": "ELSEWHERE@192.0.2.1:104",
    }
    with (
        orthanc(folder / "pacs", **dicom) as pacs,
        receiving(
            folder / "seg",
            ours,
            SEG_DICOM_PEERS=",".join(f"{name}={peer}" for name, peer in peers.items()),
            rules=RULES,
            SEG_DICOM_SILENCE_S=str(SILENCE_S),
            SEG_DICOM_BROKEN_S=str(BROKEN_S),
            SEG_DICOMWEB_RETRY_S="1",
            SEG_MAX_JOB_MB="1",
        ) as service,
    ):
        yield pacs, service


def send(pacs, slices):
    asked = {"Level": "Series", "Query": {"SeriesInstanceUID": str(slices[0].SeriesInstanceUID)}}
    pacs.post(
        "/modalities/seg/store", json={"Resources": pacs.post("/tools/find", json=asked).json()}
    ).raise_for_status()


def tool(name, *arguments):
    program = shutil.which(name, path="/usr/local/bin:/usr/bin")  # pynetdicom has some of that name
    if program is None:
        pytest.skip(f"no {name} of dcmtk here: make pacs")
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


def masks_of(pacs, slices):
    """The SEGs in the PACS that refer to a series."""
    found = [pydicom.dcmread(io.BytesIO(content)) for content in instances_in(pacs, "SEG")]
    return [
        each
        for each in found
        if each.ReferencedSeriesSequence[0].SeriesInstanceUID == slices[0].SeriesInstanceUID
    ]


def test_a_series_that_a_pacs_sends_gets_the_mask_that_predict_gives(
    clinic, tiny_package_3d, tmp_path
):
    pacs, _ = clinic
    slices = study(GRIDS["tilted"])
    put(pacs, slices)
    send(pacs, slices)
    until(lambda: masks_of(pacs, slices))
    (mask,) = masks_of(pacs, slices)
    content = io.BytesIO()
    mask.save_as(content)
    image = read_image(write_series(tmp_path / "slices", slices), dims=3)
    wanted = Predictor(ModelPackage.load(tiny_package_3d)).predict(image)
    assert in_the_world(read_mask(content.getvalue(), dims=3)) == in_the_world(wanted)
    referenced = mask.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {each.ReferencedSOPInstanceUID for each in referenced} == {
        each.SOPInstanceUID for each in slices
    }


def test_the_same_series_again_and_our_own_results_make_no_job(clinic):
    pacs, service = clinic
    slices = study(AFFINE)
    put(pacs, slices)
    send(pacs, slices)
    until(lambda: masks_of(pacs, slices))
    jobs = len(service.lines("job begun"))
    again = len(service.lines("series received"))
    send(pacs, slices)
    send(pacs, masks_of(pacs, slices))
    until(lambda: len(service.lines("series received")) > again)
    assert len(masks_of(pacs, slices)) == 1
    assert len(service.lines("job begun")) == jobs


def test_a_series_is_complete_when_its_association_is_released(clinic, tmp_path):
    _, service = clinic
    slices = study(AFFINE)
    folder = write_series(tmp_path / "slices", slices)
    sent = tool(
        "storescu", "-aet", "STORESCU", "-aec", "SEG", "+sd", "127.0.0.1", service.port, folder
    )
    assert sent.returncode == 0, sent.stderr
    until(lambda: service.lines("series received")[-1].get("peer") == "scanner")
    assert service.lines("series received")[-1]["instances"] == len(slices)


def test_a_series_that_broke_off_waits_for_its_sender(clinic):
    pacs, service = clinic
    slices = study(AFFINE)
    put(pacs, slices)
    entity = pynetdicom.AE("ORTHANC")
    entity.add_requested_context(slices[0].SOPClassUID, slices[0].file_meta.TransferSyntaxUID)

    def sent(part):
        association = entity.associate("127.0.0.1", service.port, ae_title="SEG")
        assert association.is_established
        assert all(association.send_c_store(each).Status == 0 for each in part)
        return association

    sent(slices[:7]).abort()
    sent(slices).release()
    until(lambda: masks_of(pacs, slices))
    (mask,) = masks_of(pacs, slices)
    referenced = mask.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert len(referenced) == len(slices)
    assert service.lines("series received")[-1]["instances"] == len(slices)


def test_a_series_whose_sender_does_not_come_back_has_a_warning(clinic):
    pacs, service = clinic
    slices = study(AFFINE)
    put(pacs, slices)
    entity = pynetdicom.AE("ORTHANC")
    entity.add_requested_context(slices[0].SOPClassUID, slices[0].file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", service.port, ae_title="SEG")
    assert all(association.send_c_store(each).Status == 0 for each in slices[:8])
    association.abort()
    until(lambda: masks_of(pacs, slices))
    (mask,) = masks_of(pacs, slices)
    assert "slices may be missing" in mask.SegmentSequence[0].SegmentDescription


def test_what_cannot_be_taken_is_refused_by_its_status(clinic):
    _, service = clinic
    large, nameless = study(AFFINE, shape=(6, 40, 40))[0], study(AFFINE)[0]
    large.SeriesDescription, large.PixelData = "large", bytes(1_100_000)
    large.Rows, large.Columns = 1000, 1100
    nameless.StudyInstanceUID = ""
    for title, dataset, status, words in (
        ("ORTHANC", large, 0xA700, "no room now"),
        ("ORTHANC", nameless, 0xC000, "a UID missing"),
        ("ELSEWHERE", study(AFFINE)[0], 0x0124, "may not send from this address"),
    ):
        entity = pynetdicom.AE(title)
        entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
        association = entity.associate("127.0.0.1", service.port, ae_title="SEG")
        answer = association.send_c_store(dataset)
        association.release()
        assert answer.Status == status
        assert words in answer.ErrorComment


def test_of_two_images_of_one_name_the_second_is_refused_and_one_sent_again_is_not(clinic):
    _, service = clinic
    series = study(AFFINE)
    one, other = series[0], copy.deepcopy(series[1])
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    entity = pynetdicom.AE("ORTHANC")
    entity.add_requested_context(one.SOPClassUID, one.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", service.port, ae_title="SEG")
    ended = len(service.lines("job ended"))
    answers = [association.send_c_store(each) for each in (one, other, *series)]
    association.release()
    assert [answer.Status for answer in answers] == [0, 0xC000] + [0] * len(series)
    until(lambda: len(service.lines("job ended")) > ended)
    assert "that of another image" in answers[1].ErrorComment


def test_only_peers_are_answered(clinic):
    _, service = clinic
    for ours, theirs, status in (("STORESCU", "SEG", 0), ("OTHER", "SEG", 1), ("STORESCU", "X", 1)):
        asked = tool("echoscu", "-aet", ours, "-aec", theirs, "127.0.0.1", service.port)
        assert (asked.returncode != 0) == bool(status), asked.stderr


def test_a_result_that_cannot_be_sent_fails_and_is_done_when_the_series_comes_again(clinic):
    pacs, service = clinic
    slices = study(AFFINE, Modality="MR")
    put(pacs, slices)
    for _ in range(2):
        ended = len(service.lines("job ended"))
        send(pacs, slices)
        until(lambda: len(service.lines("job ended")) > ended)  # noqa: B023  asked at once


def test_a_series_that_is_no_volume_is_refused_in_a_sentence_in_the_log(clinic):
    pacs, service = clinic
    slices = study(AFFINE)
    put(pacs, [*slices[:4], *slices[5:]])
    failed = len(service.lines("job failed"))
    send(pacs, slices)
    until(lambda: len(service.lines("job failed")) > failed)
    line = service.lines("job failed")[-1]
    assert line["status"] == 422
    assert "lacks slices" in line["reason"]
    assert slices[0].SeriesInstanceUID not in service.log.read_text()


def test_no_name_of_a_patient_and_no_uid_is_logged(clinic):
    pacs, service = clinic
    slices = study(AFFINE, PatientName="Meier^Anna", SeriesDescription="of Meier")
    put(pacs, slices)
    send(pacs, slices)
    until(lambda: masks_of(pacs, slices))
    text = service.log.read_text()
    assert "series received" in text
    assert service.lines("error") == []
    for secret in ("Meier", slices[0].SeriesInstanceUID, slices[0].StudyInstanceUID, PATIENT):
        assert str(secret) not in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"SEG_DICOM_PEERS": "pacs=ORTHANC"}, "an entry is like"),
        ({"SEG_DICOM_PEERS": "pacs=A@h:1/tls"}, "SEG_DICOM_TLS_FILE"),
        ({"SEG_DICOM_HOST": "0.0.0.0"}, "SEG_DICOM_PEERS lists those that may call"),
        ({"SEG_DICOM_TITLE": "A TITLE THAT IS TOO LONG"}, "SEG_DICOM_TITLE"),
        ({"SEG_PACKAGE": "nowhere"}, "is no model package"),
    ],
    ids=["entry", "tls", "host", "title", "package"],
)
def test_a_setting_that_cannot_be_ends_in_one_sentence(
    tiny_package_3d, tmp_path, monkeypatch, capsys, settings, words
):
    # lines of later tests would go to this one's output, which is closed by then
    monkeypatch.setattr("service.observability.logs.configure_logging", lambda: None)
    places = {"SEG_JOBS_FILES": tmp_path / "jobs", "SEG_DICOM_SPOOL": tmp_path / "received"}
    for name, value in ({"SEG_PACKAGE": tiny_package_3d} | places | settings).items():
        monkeypatch.setenv(name, str(value))
    assert main([]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
