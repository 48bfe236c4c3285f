"""Archives that answer otherwise than Orthanc does: over HTTP, each answer written by hand."""

import io
import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pydicom
import pytest

from seg.dicomweb.archive import Archive, FoundSeriesFacts
from seg.errors import ArchiveAwayError, ArchiveError, NotInArchiveError
from tests.seg.images.dicom.files import content_of, series_of

BOUNDARY = "e5d4"


@dataclass
class Answer:
    """Of an archive."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def archive_that(answers: Callable[[str, str, dict[str, str]], Answer]):
    """A client of an archive that answers method, path and query so."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            answer = answers(self.command, url.path, query)
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = _answer  # noqa: N815  as the library calls them

        def log_message(self, *_):
            """In no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        with Archive(f"http://127.0.0.1:{server.server_port}/dicom-web") as archive:
            yield archive
    finally:
        server.shutdown()
        server.server_close()


def entry(**values):
    tags = {"study": "0020000D", "series": "0020000E", "count": "00201209", "instance": "00080018"}
    return {tags[name]: {"Value": [value]} for name, value in values.items()}


def listed(*entries):
    return Answer(body=json.dumps(entries).encode(), headers={"Content-Type": "application/json"})


def pages_of(entries, size):
    return lambda method, path, query: listed(*entries[int(query.get("offset", 0)) :][:size])


ALL = [entry(study="1.2", series=f"1.2.{n}", count=3) for n in range(7)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_all_pages_of_a_list_are_asked_for(size):
    with archive_that(pages_of(ALL, size)) as archive:
        assert [each.series for each in archive.series("1.2")] == [f"1.2.{n}" for n in range(7)]


@pytest.mark.parametrize("status", [200, 400, 501])
def test_an_archive_that_knows_no_pages_has_sent_all(status):
    def answers(method, path, query):
        return listed(*ALL) if status == 200 or "offset" not in query else Answer(status)

    with archive_that(answers) as archive:
        assert len(archive.series("1.2")) == 7


def test_an_archive_that_passes_over_what_it_is_asked_by_is_searched():
    with archive_that(pages_of(ALL, 2)) as archive:
        (found,) = archive.series("1.2", "1.2.5")
        assert found.series == "1.2.5"
        with pytest.raises(NotInArchiveError, match="no such series"):
            archive.series("1.2", "1.2.9")


@pytest.mark.parametrize("answer", [Answer(204), Answer(200), listed()], ids=["204", "200", "[]"])
def test_an_empty_answer_is_no_series(answer):
    with archive_that(lambda *_: answer) as archive, pytest.raises(NotInArchiveError):
        archive.series("1.2", "1.2.3")


@pytest.mark.parametrize("odd", ["1.2.3", {"Value": [{"a": 1}]}, {"Value": {"a": 1}}, None])
def test_series_that_are_no_dicom_are_said_in_a_sentence(odd):
    several = listed({"0020000E": odd}, *ALL)
    with archive_that(lambda *_: several) as archive, pytest.raises(ArchiveError, match="no list"):
        archive.series("1.2")
    one = listed(entry(series="1.2.3") | {"00201209": odd})
    with archive_that(lambda *_: one) as archive, pytest.raises(ArchiveError, match="no DICOM"):
        archive.series("1.2", "1.2.3")


def multipart(contents, *, ends=True):
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(head + each + b"\r\n" for each in contents)
    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    end = f"--{BOUNDARY}--".encode() if ends else b""
    return Answer(body=body + end, headers={"Content-Type": kind})


@pytest.fixture(scope="module")
def slices():
    volume = np.zeros((3, 4, 5), np.int16)
    return [content_of(each) for each in series_of(volume, np.diag([0.8, 1.5, 3, 1.0]))]


def retrieved(answers, instances=None):
    facts = FoundSeriesFacts("1.2", "1.2.3", "CT", instances)
    with archive_that(answers) as archive:
        return archive.retrieve(facts, io.BytesIO(), 10**6)


def sends(contents, **options):
    """An archive that lists three instances one by one, and sends these."""

    def answers(method, path, query):
        if path.endswith("/instances"):
            entries = [entry(instance=f"1.2.3.{n}") for n in range(3)]
            return pages_of(entries, 2)(method, path, query)
        return multipart(contents, **options)

    return answers


def test_all_instances_are_retrieved(slices):
    assert retrieved(sends(slices)) == retrieved(sends(slices), instances=3) == 3


@pytest.mark.parametrize("instances", [None, 3], ids=["one by one", "in a number"])
def test_an_instance_that_is_listed_and_does_not_come_is_missed(slices, instances):
    with pytest.raises(ArchiveAwayError, match="sent 2 of the 3 instances"):
        retrieved(sends(slices[:2]), instances)


def test_what_does_not_end_as_it_says_is_asked_for_again(slices):
    with pytest.raises(ArchiveAwayError, match="before its last boundary"):
        retrieved(sends(slices, ends=False))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(206), ArchiveAwayError, "a part of the series"),
        (Answer(401), ArchiveError, "asks for other credentials"),
        (Answer(302, headers={"Location": "/x"}), ArchiveError, "redirects, which is not"),
        (Answer(410), ArchiveError, "answered 410"),
        (Answer(503), ArchiveAwayError, "cannot do it now"),
        (Answer(body=b"<html>"), ArchiveError, "no multipart/related"),
        (multipart([b"pixels"]), ArchiveError, "no DICOM file"),
    ],
    ids=["206", "401", "302", "410", "503", "page", "bulk data"],
)
def test_what_is_no_series_is_said_in_a_sentence(answer, kind, words):
    with pytest.raises(ArchiveError, match=words) as raised:
        retrieved(lambda *_: answer, instances=1)
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("7", 7), (None, 100), ("soon", None), ("1e9", 3600)],
    ids=["seconds", "date", "word", "years"],
)
def test_an_archive_says_when_it_wants_to_be_asked_again(told, seconds):
    told = told or formatdate(time() + 100, usegmt=True)  # of now, not of when tests were collected
    answer = Answer(503, headers={"Retry-After": told})
    with pytest.raises(ArchiveAwayError) as raised:
        retrieved(lambda *_: answer, instances=1)
    wanted = raised.value.again_s
    assert wanted == seconds if seconds is None else wanted == pytest.approx(seconds, abs=20)


def store_answer(status, *, stored=(), failed=()):
    body = {
        "00081199": {"vr": "SQ", "Value": [{"00081155": {"Value": [uid]}} for uid in stored]},
        "00081198": {
            "vr": "SQ",
            "Value": [
                {"00081155": {"Value": [uid]}, "00081197": {"Value": [reason]}}
                for uid, reason in failed
            ],
        },
    }
    return Answer(status, json.dumps(body).encode())


def stored_in(answer, contents):
    with archive_that(lambda *_: answer) as archive:
        return archive.store([(io.BytesIO(each), len(each)) for each in contents], "1.2")


def uids_of(contents):
    return [str(pydicom.dcmread(io.BytesIO(each)).SOPInstanceUID) for each in contents]


def test_what_is_stored_already_is_stored(slices):
    first, second = uids_of(slices[:2])
    answer = store_answer(202, stored=[first], failed=[(second, 0x0111)])
    assert stored_in(answer, slices[:2]) == [first, second]
    answer = store_answer(409, failed=[(first, 0x0111)])
    assert stored_in(answer, slices[:1]) == [first]


def test_a_bare_200_says_that_all_is_stored(slices):
    assert stored_in(Answer(200), slices) == uids_of(slices)


@pytest.mark.parametrize(
    ("status", "reason", "kind", "words"),
    [
        (202, 0x0110, ArchiveError, r"stored 1 of 2 instances \(202\): it failed on them"),
        (202, 0xA700, ArchiveAwayError, "it is out of space"),
        (202, 0xC122, ArchiveError, "takes no such compression"),
        (409, 0xA900, ArchiveError, r"stored 1 of 2 instances \(409\): they do not match"),
        (400, 0xC000, ArchiveError, r"\(400\): it cannot read them"),
    ],
)
def test_what_is_stored_in_part_is_not_stored(slices, status, reason, kind, words):
    first, second = uids_of(slices[:2])
    answer = store_answer(status, stored=[first], failed=[(second, reason)])
    with pytest.raises(ArchiveError, match=words) as raised:
        stored_in(answer, slices[:2])
    assert type(raised.value) is kind
    assert second not in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(200, b"<html>welcome</html>"), "something that is no JSON"),
        (Answer(200, b"[]"), "no list of what it stored"),
        (Answer(200, b"{}"), "stored 0 of 1"),
        (Answer(409), "answered 409"),
        (Answer(400, b"no"), "answered 400"),
        (Answer(413), "answered 413"),
        (Answer(401), "asks for other credentials"),
    ],
)
def test_what_is_no_answer_to_a_store_is_said_in_a_sentence(slices, answer, words):
    with pytest.raises(ArchiveError, match=words):
        stored_in(answer, slices[:1])
