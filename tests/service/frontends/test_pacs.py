"""The round trip of docs/clinic.md, with a PACS that really runs: Debian's Orthanc."""

import json
import shutil
import socket
import subprocess
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydicom.uid import generate_uid

from tests.seg.images.dicom.files import content_of, series_of
from tests.service.conftest import served, until_status

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def orthanc(folder):
    """A client of an Orthanc on loopback that holds nothing."""
    if not shutil.which("Orthanc") or not DICOMWEB.exists():
        pytest.skip("no Orthanc with DICOMweb here: make pacs")
    port = free_port()
    configuration = {
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "DicomServerEnabled": False,
        "Plugins": [str(DICOMWEB)],
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(configuration))
    with (folder / "orthanc.txt").open("wb") as log:
        server = subprocess.Popen(["Orthanc", str(file)], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            until_status(client, "/system", 200, server)
            yield client
    finally:
        server.terminate()
        server.wait(60)


def test_a_series_of_a_pacs_gets_a_segmentation_beside_it(tmp_path, tiny_package_3d):
    uids = {name: generate_uid() for name in ("FrameOfReferenceUID", "StudyInstanceUID")}
    uids["SeriesInstanceUID"] = generate_uid()
    volume = np.kron(np.arange(60).reshape(3, 4, 5) * 4, np.ones((4, 6, 7))).astype(np.uint8)
    slices = series_of(volume, np.diag([0.8, 1.5, 3, 1.0]), PatientID="P1", **uids)
    with (
        orthanc(tmp_path) as pacs,
        served(tiny_package_3d, tmp_path / "log.txt", SEG_PROVIDER="cpu") as service,
    ):
        for each in slices:
            pacs.post("/instances", content=content_of(each)).raise_for_status()
        wanted = {"Level": "Series", "Query": {"SeriesInstanceUID": uids["SeriesInstanceUID"]}}
        (known,) = pacs.post("/tools/find", json=wanted).json()
        archive = pacs.get(f"/series/{known}/archive").content
        until_status(service, "/readyz", 200)
        answer = service.post("/segment?format=dicom-seg", content=archive)
        assert answer.status_code == 200, answer.text
        stored = pacs.post("/instances", content=answer.content).json()
        assert stored["Status"] == "Success"
        asked = {"Modality": "SEG", "StudyInstanceUID": uids["StudyInstanceUID"]}
        (found,) = pacs.get("/dicom-web/series", params=asked).json()
        assert found["0020000E"]["Value"] != [uids["SeriesInstanceUID"]]
        tags = pacs.get(f"/instances/{stored['ID']}/tags?short").json()
    (referenced,) = tags["0008,1115"]
    assert referenced["0020,000e"] == uids["SeriesInstanceUID"]
    assert {part["0008,1155"] for part in referenced["0008,114a"]} == {
        each.SOPInstanceUID for each in slices
    }
    assert tags["0020,0052"] == uids["FrameOfReferenceUID"]
