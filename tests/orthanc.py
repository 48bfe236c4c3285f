"""Debian's Orthanc, a PACS that really runs, for tests."""

import json
import shutil
import socket
import subprocess
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.seg.images.dicom.files import content_of
from tests.service.conftest import ROOT, until_status

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
PAGE = (ROOT / "docs" / "clinic.md").read_text(encoding="utf-8")


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def printed(heading, kind):
    """A block of docs/clinic.md below a heading, as it is printed."""
    text = PAGE.partition(f"## {heading}\n")[2]
    return text.partition(f"```{kind}\n")[2].partition("```")[0]


@contextmanager
def orthanc(folder, *, auth=None, **configuration):
    """A client of an Orthanc on loopback, with what lies in the folder's storage.

    Its configuration is the one that docs/clinic.md prints, at ports and folders of its own.
    With ``auth``, a name and a password are asked for; the configuration may be added to.
    """
    if not shutil.which("Orthanc") or not DICOMWEB.exists():
        pytest.skip("no Orthanc with DICOMweb here: make pacs")
    folder.mkdir(exist_ok=True)
    port = configuration.pop("HttpPort", None) or free_port()
    whole = {
        **json.loads(printed("Orthanc, by DICOMweb", "json")),
        "HttpPort": port,
        "RemoteAccessAllowed": auth is not None,
        "AuthenticationEnabled": auth is not None,
        "RegisteredUsers": dict([auth]) if auth else {},
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "StableAge": 1,
        **configuration,
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(whole))
    with (folder / "orthanc.txt").open("ab") as log:
        server = subprocess.Popen(["Orthanc", str(file)], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, auth=auth) as client:
            until_status(client, "/system", 200, server)
            yield client
    finally:
        server.terminate()
        server.wait(60)


def root_of(pacs):
    """Of its DICOMweb."""
    return str(pacs.base_url).rstrip("/") + "/dicom-web"


def put(pacs, slices):
    """Store slices by Orthanc's own REST."""
    for each in slices:
        pacs.post("/instances", content=content_of(each)).raise_for_status()


def series_in(pacs, **asked):
    """What QIDO-RS finds."""
    return pacs.get("/dicom-web/series", params=asked).json()


def names_in(pacs, modality):
    """Orthanc's names of all instances of a modality."""
    asked = {"Level": "Instance", "Query": {"Modality": modality}}
    return sorted(pacs.post("/tools/find", json=asked).json())


def instances_in(pacs, modality):
    """The files of all instances of a modality."""
    return [pacs.get(f"/instances/{each}/file").content for each in names_in(pacs, modality)]
