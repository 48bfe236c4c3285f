"""One package, asked in every way in which a clinic asks: all masks are those of seg.predict."""

import io
import json
from pathlib import Path

import pydicom
import pytest

from seg.images import read_mask
from seg.predict.__main__ import main
from tests.orthanc import free_port, instances_in, orthanc, put, root_of
from tests.packages import write_package
from tests.seg.images.dicom.files import write_series
from tests.service.conftest import served, until, until_status
from tests.service.frontends.dicomweb.conftest import as_enhanced, study
from tests.service.frontends.dicomweb.test_dicomweb_jobs import GRIDS
from tests.service.frontends.dicomweb.test_dicomweb_jobs import over as job_over
from tests.service.frontends.dicomweb.worlds import in_the_world

SERIES = (*GRIDS, "enhanced")
"""How slices lie; one is a file of all frames, which are tilted."""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """One that looks otherwise to each side of a voxel: no mirror of an image has its mask."""
    return write_package(
        tmp_path_factory.mktemp("ways") / "package", patch=(8, 16, 16), lopsided=True
    )


@pytest.fixture(scope="module")
def clinic(tmp_path_factory, package, receiving):
    """A PACS, and both services of the package, each known to the others."""
    folder = tmp_path_factory.mktemp("clinic")
    web, ours, theirs = free_port(), free_port(), free_port()
    known = {
        "DicomServerEnabled": True,
        "DicomAet": "ORTHANC",
        "DicomPort": theirs,
        "DicomModalities": {"seg": ["SEG", "127.0.0.1", ours]},
        "DicomWeb": {"Servers": {"seg": {"Url": f"http://127.0.0.1:{web}/dicom-web/"}}},
    }
    settings = {
        "SEG_PROVIDER": "cpu",
        "SEG_FRONTENDS": "monailabel,dicomweb",
        "SEG_SESSIONS": str(folder / "sessions"),
        "SEG_DICOM_SILENCE_S": "0.5",
    }
    peers = {"SEG_DICOM_PEERS": f"pacs=ORTHANC@127.0.0.1:{theirs}"}
    with (
        orthanc(folder / "pacs", **known) as pacs,
        receiving(folder / "seg", ours, of=package, **peers),
        served(
            package,
            folder / "log.txt",
            port=web,
            SEG_DICOMWEB=f"pacs={root_of(pacs)}",
            **settings,
        ) as service,
    ):
        until_status(service, "/readyz", 200)
        yield pacs, service


def masks_of(pacs, slices):
    """The files of all masks of a series in a PACS."""
    uid = slices[0].SeriesInstanceUID
    return [
        content
        for content in instances_in(pacs, "SEG")
        if pydicom.dcmread(io.BytesIO(content)).ReferencedSeriesSequence[0].SeriesInstanceUID == uid
    ]


@pytest.mark.parametrize("kind", SERIES)
def test_every_way_gives_the_mask_of_predict_at_the_same_places(
    clinic, package, peer, tmp_path, kind
):
    pacs, service = clinic
    slices = study(GRIDS["tilted" if kind == "enhanced" else kind])
    if kind == "enhanced":
        slices = as_enhanced(slices)
    folder = write_series(tmp_path / "slices", slices)
    assert main([str(package), str(folder), "--out", str(tmp_path / "wanted")]) == 0
    wanted = in_the_world(read_mask(tmp_path / "wanted" / "slices.nii.gz", dims=3))
    assert set(wanted.values()) == {1, 2}
    put(pacs, slices)
    names = {"study": str(slices[0].StudyInstanceUID), "series": str(slices[0].SeriesInstanceUID)}
    found = {
        f"MONAI Label, {ending}": in_the_world(read_mask(file, dims=3))
        for ending, file in asked_by_monai_label(peer, service, folder, names["series"], tmp_path)
    }

    def stored_by(way, ask):
        before = masks_of(pacs, slices)
        ask()
        until(lambda: len(masks_of(pacs, slices)) > len(before))
        (new,) = [each for each in masks_of(pacs, slices) if each not in before]
        found[way] = in_the_world(read_mask(new, dims=3))

    def asked_for():
        wish = {"source": "pacs", **names, "format": "SEG"}
        job = job_over(service, service.post("/dicomweb/jobs", json=wish).json())
        assert job["state"] == "done", job["problem"]

    resources = pacs.post(
        "/tools/find",
        json={"Level": "Series", "Query": {"SeriesInstanceUID": names["series"]}},
    ).json()

    def sent(path):
        wish = {"Resources": resources, "Synchronous": True}
        pacs.post(path, json=wish).raise_for_status()

    def asked_by_predict():
        address = f"dicomweb+{root_of(pacs)}/studies/{names['study']}/series/{names['series']}"
        assert main([str(package), address, "--store"]) == 0

    stored_by("DICOMweb, asked for", asked_for)
    stored_by("DICOMweb, forwarded", lambda: sent("/dicom-web/servers/seg/stow"))
    stored_by("C-STORE", lambda: sent("/modalities/seg/store"))
    stored_by("seg.predict --store", asked_by_predict)
    assert {way for way, mask in found.items() if mask != wanted} == set()
    assert len(masks_of(pacs, slices)) == 4


def asked_by_monai_label(peer, service, folder, series, tmp_path):
    """What its client gets of a session of the series, in each form that Slicer and OHIF read."""
    client = peer.MONAILabelClient(str(service.base_url), tmpdir=str(tmp_path))
    (model,) = client.info()["models"]
    status, answer, _ = peer.MONAILabelUtils.http_upload(
        "PUT", client.get_server_url(), "/session/", {}, sorted(folder.iterdir())
    )
    assert status == 200
    session = json.loads(answer)["session_id"]
    for ending in (".nii.gz", ".nrrd", ".seg.nrrd"):
        file, _ = client.infer(model, "", {"result_extension": ending}, session_id=session)
        yield ending, Path(file)
    file, _ = client.infer(model, series, {"result_extension": ".nrrd"})  # as OHIF asks
    yield "of the archive", Path(file)
    asked = service.post(f"/infer/{model}?session_id={session}&output=dicom_seg")
    yield "dicom_seg", asked.content


def test_a_series_that_no_archive_has_is_refused_in_a_sentence(clinic, peer, tmp_path):
    _, service = clinic
    client = peer.MONAILabelClient(str(service.base_url), tmpdir=str(tmp_path))
    (model,) = client.info()["models"]
    with pytest.raises(peer.MONAILabelClientException) as raised:
        client.infer(model, "1.2.3", {})
    assert "404" in raised.value.msg
    assert "the archive pacs has no such series" in raised.value.msg
