"""A service with DICOMweb on, and a PACS that asks for a password."""

import io
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pydicom
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom.uid import generate_uid

from tests.orthanc import free_port, orthanc, put, root_of
from tests.seg.images.dicom.files import content_of, series_of
from tests.service.conftest import served, until_status

PATIENT = "MRN 4711-0815"
"""No id of a job is like it by chance."""
WHO = ("radiology", "s3cret:word")


class Rubbish(BaseHTTPRequestHandler):
    """What answers where no DICOMweb is: a page of the web, whatever it is asked."""

    def do_GET(self):
        body = b"<html>log in first</html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """In no log."""


@pytest.fixture(scope="module")
def rubbish():
    with answering(Rubbish) as root:
        yield root


@pytest.fixture(scope="module")
def mistaken():
    with answering(Mistaken) as root:
        yield root


class Mistaken(BaseHTTPRequestHandler):
    """An archive that has every series, and sends another one than it is asked for."""

    def do_GET(self):
        kind = "application/dicom+json"
        asked = self.path.rpartition("SeriesInstanceUID=")[2]
        known = {"0020000D": "1.2.3", "0020000E": asked, "00080060": "CT", "00201209": 12}
        body = json.dumps([{tag: {"Value": [value]} for tag, value in known.items()}]).encode()
        if "SeriesInstanceUID=" not in self.path:
            kind = 'multipart/related; type="application/dicom"; boundary=b'
            head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
            slices = study(np.diag([0.8, 1.5, 3, 1.0]))
            body = b"".join(head + content_of(each) + b"\r\n" for each in slices) + b"--b--"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """In no log."""


@contextmanager
def answering(handler):
    """The root of what a handler of HTTP says is an archive's DICOMweb."""
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/dicom-web"
    server.shutdown()


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    with orthanc(tmp_path_factory.mktemp("pacs"), auth=WHO) as client:
        yield client


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("dicomweb") / "log.txt"


@pytest.fixture(scope="module")
def service(pacs, log, rubbish, mistaken, tiny_package_3d):
    secret = log.parent / "secret"
    secret.write_text(":".join(WHO))
    wrong = log.parent / "wrong.json"
    wrong.write_text(json.dumps({"username": "radiology", "password": "guessed"}))
    archives = {
        "pacs": root_of(pacs),
        "away": f"http://127.0.0.1:{free_port()}/dicom-web",
        "rubbish": rubbish,
        "locked-out": root_of(pacs),
        "mistaken": mistaken,
    }
    with served(
        tiny_package_3d,
        log,
        SEG_PROVIDER="cpu",
        SEG_FRONTENDS="dicomweb",
        SEG_DICOMWEB=",".join(f"{name}={root}" for name, root in archives.items()),
        SEG_DICOMWEB_PACS_FILE=str(secret),
        SEG_DICOMWEB_LOCKED_OUT_FILE=str(wrong),
        SEG_DICOMWEB_RETRY_S="1",
        SEG_MAX_JOB_MB="1",
    ) as client:
        until_status(client, "/readyz", 200)
        yield client


def study(affine, shape=(3, 4, 5), **attributes):
    """The slices of a series with names of its own, whose grey values are all classes."""
    uids = {name: generate_uid() for name in ("FrameOfReferenceUID", "StudyInstanceUID")}
    uids["SeriesInstanceUID"] = generate_uid()
    grey = np.arange(np.prod(shape)).reshape(shape) * (255 // np.prod(shape))
    volume = np.kron(grey, np.ones((4, 6, 7))).astype(np.uint8)
    return series_of(volume, affine, PatientID=PATIENT, **uids, **attributes)


def as_enhanced(slices):
    """A series as one file of all its frames."""
    names = (slices[0].SeriesInstanceUID, 1, generate_uid(), 1)
    whole = LegacyConvertedEnhancedCTImage(slices, *names)
    return [pydicom.dcmread(io.BytesIO(content_of(whole)))]


@pytest.fixture
def stored(pacs):
    """A series in the PACS."""

    def store(affine=None, enhanced=False, **attributes):
        slices = study(np.diag([0.8, 1.5, 3, 1.0]) if affine is None else affine, **attributes)
        if enhanced:
            slices = as_enhanced(slices)
        put(pacs, slices)
        return slices

    return store
