"""Requests as no ordinary client sends them: each is refused in a sentence, or right."""

import json
import re
import socket

import pytest

from tests.service.conftest import png

IMAGE = png([[100] * 40] * 40)
NAME = b"Mustermann-Erika"
FORM = b"Content-Type: multipart/form-data; boundary=X\r\n"


def asked(client, request: bytes) -> tuple[int, bytes, bytes]:
    """Status, head and body of the last answer; 100 Continue is none."""
    with socket.create_connection((client.base_url.host, client.base_url.port), 30) as connection:
        connection.sendall(request)
        heard = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    heard = heard.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    head, _, body = heard.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


def request(line: bytes, headers: bytes = b"", body: bytes | None = None) -> bytes:
    length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
    head = line + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + length + headers
    return head + b"\r\n" + (body or b"")


def part(disposition: bytes, content: bytes = IMAGE) -> bytes:
    head = b"--X\r\nContent-Disposition: form-data; " + disposition
    return head + b"\r\n\r\n" + content + b"\r\n--X--\r\n"


POST = b"POST /segment"
FILE = b'name="image"; filename="x'
MIXED = b'"\r\nContent-Type: multipart/mixed; boundary=Y'
ODD = [
    pytest.param(request(POST, b"Authorization: a\r\nAuthorization: b\r\n", IMAGE), 400, id="keys"),
    pytest.param(
        request(POST, b"Authorization: Bearer a\r\nX-API-Key: A\r\n", IMAGE), 400, id="two keys"
    ),
    pytest.param(request(POST, b"Host: other\r\n", IMAGE), 400, id="two hosts"),
    pytest.param(
        request(b"POST /jobs", b"Idempotency-Key: a\r\nidempotency-key: b\r\n", IMAGE),
        400, id="idem",
    ),
    pytest.param(request(POST, b"Content-Length: 3\r\n", IMAGE), 400, id="two lengths"),
    pytest.param(request(POST, b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400, id="both"),
    pytest.param(
        request(POST, b"Transfer-Encoding: gzip, chunked\r\n") + b"0\r\n\r\n",
        400, id="packed chunks",
    ),
    pytest.param(request(POST, b"Content-Encoding: br\r\n", IMAGE), 415, id="brotli"),
    pytest.param(request(POST, b"Content-Encoding: gzip, gzip\r\n", IMAGE), 415, id="packed twice"),
    pytest.param(request(POST, b"Content-Encoding: identity\r\n", IMAGE), 200, id="as it is"),
    pytest.param(request(POST, b"Expect: 100-continue\r\n", IMAGE), 200, id="expects"),
    pytest.param(
        request(POST, b"Expect: 100-continue\r\nContent-Length: 99999999\r\n"), 413, id="too large"
    ),
    pytest.param(request(POST, b"Expect: 200-ok\r\n", IMAGE), 417, id="expects more"),
    pytest.param(b"GET /models HTTP/1.1\r\nConnection: close\r\n\r\n", 400, id="no host"),
    pytest.param(b"GET /models HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", 200, id="nobody"),
    pytest.param(b"GET /openapi.json HTTP/1.0\r\n\r\n", 200, id="before hosts"),
    pytest.param(request(b"GET /models").replace(b"localhost", b"a b"), 400, id="two words"),
    pytest.param(request(b"GET /models").replace(b"localhost", b"u@127.0.0.1"), 400, id="user"),
    pytest.param(request(b"GET /models").replace(b"localhost", b"[::1]:80"), 200, id="address"),
    pytest.param(request(POST, b"Range: bytes=0-3\r\n", IMAGE), 200, id="a range of an answer"),
    pytest.param(request(b"GET /openapi.json", b"Range: bytes=5-2\r\n"), 200, id="range"),
    pytest.param(request(b"TRACE /models"), 405, id="trace"),
    pytest.param(request(b"OPTIONS /docs.json"), 405, id="what BentoML answers"),
    pytest.param(request(b"GET http://localhost/models"), 200, id="absolute"),
    pytest.param(request(b"GET HTTP://LOCALHOST:80/models?a=/"), 200, id="absolute with a port"),
    pytest.param(request(b"GET http://other.example/models"), 400, id="another host"),
    pytest.param(request(b"GET https://u@localhost/models"), 400, id="another's user"),
    pytest.param(request(b"GET /models/team%2fcells"), 404, id="a slash in a name"),
    pytest.param(request(b"GET localhost:80"), 400, id="authority"),
    pytest.param(request(b"CONNECT other.example:443"), 400, id="connect"),
    pytest.param(request(b"GET /page/..%2f..%2fapp.py"), 404, id="out of its folder"),
    pytest.param(request(b"GET /jobs/%00" + NAME), 404, id="nul"),
    pytest.param(request(b"GET /models/%ff" + NAME), 404, id="no letters"),
    pytest.param(request(b"GET /models?" + b"a=1&" * 3000), 414, id="long query"),
    pytest.param(request(POST, FORM, part(FILE + b"\xff" + NAME + b'"')), 200, id="name"),
    pytest.param(request(POST, FORM, part(b'name="im\xffage"; filename="x"')), 422, id="field"),
    pytest.param(request(POST, FORM, part(FILE + b'"', b"")), 422, id="empty part"),
    pytest.param(request(POST, FORM, b"--X--\r\n"), 422, id="no part"),
    pytest.param(
        request(POST, FORM, part(FILE + MIXED, b"--Y\r\n\r\n" + IMAGE + b"\r\n--Y--")),
        415, id="a form in a form",
    ),
    pytest.param(request(b"POST /infer_patches", b"", b"[" * 10**5), 413, id="depth"),
    pytest.param(request(b"POST /infer_patches", b"", b'{"\xff": NaN}'), 422, id="no JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "status"), ODD)
def test_an_odd_request_is_answered_rightly_or_refused_in_a_sentence(
    client, server_log, sent, status
):
    found, head, body = asked(client, sent)
    assert found == status
    if status >= 400:
        assert b"application/problem+json" in head
        assert json.loads(body)["detail"]
    assert NAME.decode() not in server_log.read_text()


def test_a_head_is_answered_as_a_get_without_its_body(client):
    for path in json.loads(client.get("/openapi.json").text)["paths"]:
        plain = re.sub(r"\{[^}]*\}", "x", path).encode()
        status, _, body = asked(client, request(b"HEAD " + plain))
        assert (status < 500 or status == 503, body) == (True, b""), path
