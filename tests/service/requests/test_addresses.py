"""Images that are fetched, from HTTP and HTTPS servers that really listen."""

import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from seg.errors import ConfigError
from service.problems.response import Problem
from service.requests.addresses import AllowList, _is_public, _plain
from tests.service.conftest import labels_of, png, serving
from tests.service.jobs.test_jobs import finished
from tests.service.routes.test_errors import problem

IMAGE = png(np.random.default_rng(0).integers(0, 255, (50, 60)))
CHUNK = 65536


class Archive(BaseHTTPRequestHandler):
    """Pictures, and all that can go wrong with them."""

    sent = 0
    foreign = ""

    def do_GET(self):
        found = {
            "/image.png": lambda: self.answer(200, IMAGE),
            "/moved": lambda: self.answer(302, b"", Location="/image.png"),
            "/round": lambda: self.answer(302, b"", Location="/round"),
            "/away": lambda: self.answer(302, b"", Location=self.foreign),
            "/endless": self.endless,
            "/still": lambda: self.server.never.wait(60),
            "/large": lambda: self.answer(200, b"", **{"Content-Length": "999999999"}),
        }
        found.get(self.path, lambda: self.answer(404, b"none"))()

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def endless(self):
        self.send_response(200)
        self.end_headers()
        try:
            while Archive.sent < 200_000_000:
                self.wfile.write(bytes(CHUNK))
                Archive.sent += CHUNK
        except OSError:
            pass

    def log_message(self, *_):
        pass


@contextmanager
def listening(certificate=None):
    """The port of an archive; by HTTPS where it has a certificate."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    server.never = threading.Event()
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.never.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def archive():
    with listening() as port:
        Archive.foreign = f"http://localhost:{port}/image.png"
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def secure_archives(certificates):
    """Ports of two archives; the service trusts the certificate of the first."""
    with listening(certificates["trusted"]) as trusted, listening(certificates["foreign"]) as other:
        yield trusted, other


@pytest.fixture(scope="module")
def fetching(archive, secure_archives, certificates, tiny_package, tmp_path_factory):
    port = archive.rpartition(":")[2]
    trusted, other = secure_archives
    allowed = f"{archive},http://localhost.localdomain:{port},http://0.0.0.0:{port}=10.0.0.0/8"
    allowed += f",127.0.0.1:{trusted},127.0.0.1:{other},localhost:{trusted}=127.0.0.0/8"
    settings = {"SEG_URL_ALLOW": allowed, "SEG_MAX_BODY_MB": "1", "SEG_UPLOAD_IDLE_S": "2"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificates["trusted"]))
        with serving(tiny_package, tmp_path_factory.mktemp("urls"), **settings) as client:
            yield client


def asked(client, *urls, path="/segment", field="url"):
    return client.post(path, files=[(field, (None, url)) for url in urls])


def test_an_image_is_fetched_and_segmented_as_if_it_had_been_sent(fetching, archive):
    sent = fetching.post("/segment", files={"image": IMAGE})
    for path in ("/image.png", "/moved"):
        found = asked(fetching, archive + path)
        assert found.status_code == 200, found.text
        np.testing.assert_array_equal(labels_of(found.content), labels_of(sent.content))


def test_an_image_is_fetched_by_https_from_who_has_the_name_s_certificate(
    fetching, secure_archives
):
    trusted, other = secure_archives
    sent = fetching.post("/segment", files={"image": IMAGE})
    found = asked(fetching, f"https://127.0.0.1:{trusted}/image.png")
    assert found.status_code == 200, found.text
    assert found.content == sent.content
    for url in (f"https://127.0.0.1:{other}", f"https://localhost:{trusted}"):
        assert "cannot be reached" in problem(asked(fetching, f"{url}/image.png"), 502)


def test_several_addresses_are_several_images_and_a_job_takes_them_too(fetching, archive):
    urls = [f"{archive}/image.png"] * 2
    answer = asked(fetching, *urls, field="urls")
    assert answer.headers["Content-Type"] == "application/zip"
    job = asked(fetching, urls[0], path="/jobs?format=png").json()
    assert finished(fetching, job)["state"] == "done"


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        pytest.param("/none", 502, "answered 404", id="not there"),
        pytest.param("/round", 502, "redirects more than", id="in circles"),
        pytest.param("/away", 422, "not listed", id="redirect to another host"),
        pytest.param("/large", 413, "more bytes", id="too large by its length"),
        pytest.param("/still", 504, "in time", id="stands still"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence(fetching, archive, path, status, sentence):
    found = problem(asked(fetching, archive + path), status)
    assert sentence in found
    assert "127.0.0.1" not in found


def test_a_file_over_the_limit_is_cut_off_not_read(fetching, archive):
    problem(asked(fetching, f"{archive}/endless"), 413)
    assert Archive.sent < 100_000_000


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/image.png",
        "http://127.0.0.1:1/image.png",
        "http://user@{host}/image.png",
        "http://127.1:{port}/image.png",
        "http://[::1]:{port}/image.png",
        "http://{host}.example/image.png",
        "file:///etc/passwd",
        "//{host}/image.png",
        "http://{host}\\@example/",
        "nonsense",
        "",
    ],
)
def test_only_listed_hosts_are_asked(fetching, archive, url):
    host = archive.removeprefix("http://")
    problem(asked(fetching, url.format(host=host, port=host.rpartition(":")[2])), 422)


def test_a_listed_name_does_not_open_this_machine(fetching, archive):
    port = archive.rpartition(":")[2]
    answer = asked(fetching, f"http://0.0.0.0:{port}/image.png")
    assert "private network" in problem(answer, 422)


def test_nothing_is_fetched_where_nothing_is_listed(client, archive):
    assert "SEG_URL_ALLOW" in problem(asked(client, f"{archive}/image.png"), 422)


def test_names_may_lie_in_the_internet_or_in_the_network_of_their_entry():
    allowed = AllowList.parsed("images.example, https://pacs.ward:8443=10.1.0.0/16,http://10.0.0.9")
    assert allowed.networks[allowed.check("https://images.example/a?b=c")] is None
    assert str(allowed.networks[allowed.check("https://pacs.ward:8443/x")]) == "10.1.0.0/16"
    assert str(allowed.networks[allowed.check("http://10.0.0.9/x")]) == "10.0.0.9/32"
    for url in ("http://images.example/a", "https://pacs.ward/x", "https://IMAGES.example.org/"):
        with pytest.raises(Problem, match="422"):
            allowed.check(url)


@pytest.mark.parametrize("entry", ["ftp://a", "https://a/b", "a=b", "https://u@h", "a:99999999"])
def test_an_entry_that_is_no_origin_keeps_the_service_from_starting(entry):
    with pytest.raises(ConfigError, match="SEG_URL_ALLOW"):
        AllowList.parsed(entry)


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        *((private, False) for private in ("10.0.0.1", "127.0.0.1", "169.254.169.254", "0.0.0.0")),
        *((private, False) for private in ("::1", "fe80::1", "fc00::1", "100.64.0.1", "224.0.0.1")),
        *((carrier, False) for carrier in ("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::")),
    ],
)
def test_addresses_of_this_network_are_told_from_those_of_the_internet(address, is_public):
    from ipaddress import ip_address

    assert _is_public(_plain(ip_address(address))) is is_public
