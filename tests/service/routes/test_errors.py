import re
import socket
import time
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.service.conftest import log_lines, png, until

BRIGHT = [[100] * 40] * 40
IMAGE = png(BRIGHT)


def problem(answer, status: int) -> str:
    """The sentence of a problem+json answer of that status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    return body.get("detail", "")


def test_bytes_that_are_no_image_are_415(client):
    assert problem(client.post("/segment", content=b"hello, this is text"), 415)


def test_a_truncated_image_is_422(client):
    assert problem(client.post("/segment", content=IMAGE[: len(IMAGE) // 2]), 422)


def test_an_image_that_does_not_fit_the_model_is_422(client):
    colour = png([[[1, 2, 3]] * 40] * 40)
    assert "1 channels" in problem(client.post("/segment", content=colour), 422)
    two_files = [("image", IMAGE), ("image", IMAGE)]
    assert "1 channels" in problem(client.post("/segment", files=two_files), 422)


def test_more_pixels_than_allowed_are_413_however_few_bytes_they_take(client):
    bomb = png(np.zeros((2001, 2000)))
    assert len(bomb) < 10_000
    assert "pixels" in problem(client.post("/segment", content=bomb), 413)


def test_a_body_over_the_limit_is_413_by_its_length_and_by_counting(client):
    body = b"x" * 5_000_000
    assert "1 MB" in problem(client.post("/segment", content=body), 413)
    chunks = (body[i : i + 65536] for i in range(0, len(body), 65536))
    assert "1 MB" in problem(client.post("/segment", content=chunks), 413)
    native = {"Content-Type": "application/json"}
    chunks = (body[i : i + 65536] for i in range(0, len(body), 65536))
    answer = client.post("/infer_patches", content=chunks, headers=native)
    assert "8 patches take" in problem(answer, 413)


def test_a_body_over_the_limit_is_cut_off_not_read(client):
    sent = 0

    def endless():
        nonlocal sent
        while sent < 500_000_000:
            sent += 65536
            yield b"x" * 65536

    problem(client.post("/segment", content=endless()), 413)
    assert sent < 100_000_000


@pytest.mark.parametrize(
    "body",
    [b"", b"no boundary here", b"--b\r\nContent-Disposition: form-data; name", b"--b--\r\n"],
)
def test_a_broken_form_is_a_client_error(client, body):
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = client.post("/segment", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert problem(answer, answer.status_code)


def test_a_form_without_boundary_is_400(client):
    headers = {"Content-Type": "multipart/form-data"}
    assert "boundary" in problem(client.post("/segment", content=b"x", headers=headers), 400)


def test_a_form_with_other_fields_is_422(client):
    for files in ({"picture": IMAGE}, {"image": (None, "text")}):
        assert "curl -F image=@FILE" in problem(client.post("/segment", files=files), 422)


def test_too_many_files_are_400(client):
    files = [("image", IMAGE)] * 65
    assert "Too many files" in problem(client.post("/segment", files=files), 400)


def test_no_image_is_422(client):
    assert "no image" in problem(client.post("/segment"), 422)


def test_an_accept_header_without_end_is_not_read(client):
    answer = client.post("/segment", content=IMAGE, headers={"Accept": "a," * 600})
    assert "1,024 letters" in problem(answer, 422)


def test_an_unknown_format_is_422_and_names_the_known_ones(client):
    detail = problem(client.post("/segment?format=gif", content=IMAGE), 422)
    assert "png" in detail
    assert "got 'gif'" in detail


def test_an_accept_header_that_cannot_be_met_is_406(client):
    answer = client.post("/segment", content=IMAGE, headers={"Accept": "text/html"})
    assert "image/png" in problem(answer, 406)


def test_unknown_paths_and_methods_are_problems_too(client):
    assert "/openapi.json" in problem(client.get("/nothing/here"), 404)
    problem(client.post("/segment/"), 404)
    answer = client.get("/segment")
    assert "takes POST" in problem(answer, 405)
    assert answer.headers["Allow"] == "POST"


def test_every_answer_carries_a_request_id(client):
    for path in ("/livez", "/nothing", "/segment"):
        assert re.fullmatch(r"[0-9a-f]{32}", client.get(path).headers["X-Request-ID"])
        given = client.get(path, headers={"X-Request-ID": "ward-7.a_1"})
        assert given.headers["X-Request-ID"] == "ward-7.a_1"
        for bad in ("a b", "x" * 65, 'x"y', ""):
            answer = client.get(path, headers={"X-Request-ID": bad})
            assert answer.headers["X-Request-ID"] != bad


def test_nothing_that_a_client_sends_comes_back_in_logs_or_metrics(client, server_log):
    name = "Doe^John_19700101"
    files = {"image": (f"{name}.png", IMAGE, f"image/{name}")}
    assert client.post("/segment", files=files).status_code == 200
    client.post("/segment", files={"image": (f"{name}.png", b"garbage", "image/png")})
    client.post("/segment", params={"format": name}, content=IMAGE)
    client.get(f"/patients/{name}")
    client.request(f"GET{name.replace('^', '').replace('_', '')}", "/segment")
    client.post("/infer_patches", json={"patches": name})
    client.post("/infer_patches", json={"patches": [[[[0.12345678]]]]})
    assert "Doe" not in client.get("/metrics").text
    text = server_log.read_text()
    assert "Doe" not in text
    assert "0.12345678" not in text


def test_a_request_is_logged_once_as_json(client, server_log):
    client.post("/segment", content=IMAGE, headers={"X-Request-ID": "logged-once"})
    until(lambda: log_lines(server_log, "logged-once"))
    (line,) = log_lines(server_log, "logged-once")
    assert line["event"] == "request"
    assert line["route"] == "/segment"
    assert line["status"] == 200
    assert line["bytes_in"] == len(IMAGE)
    assert line["milliseconds"] > 0


BOUNDARY = {"Content-Type": "multipart/form-data; boundary=XX"}
PART = b'--XX\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'


@pytest.mark.parametrize("path", ["/segment", "/jobs", "/picture"])
def test_a_form_that_is_cut_off_is_refused_wherever_it_was_cut(client, path):
    image = png(np.zeros((20, 20)))
    whole = 2 * (PART + image + b"\r\n") + b"--XX--\r\n"
    for length in (len(whole) - 4, len(whole) - 20, len(PART) + len(image) + 8, len(PART) + 20, 9):
        answer = client.post(path, content=whole[:length], headers=BOUNDARY)
        assert "cut off" in problem(answer, 400), length
    assert client.post("/segment", content=whole, headers=BOUNDARY).status_code == 200


def test_a_field_without_a_file_name_is_told_how_to_be_a_file(client):
    part = b'--XX\r\nContent-Disposition: form-data; name="image"\r\n\r\ntext\r\n--XX--\r\n'
    answer = client.post("/segment", content=part, headers=BOUNDARY)
    assert "no file name" in problem(answer, 422)


@pytest.mark.parametrize("path", ["/segment", "/jobs", "/picture"])
def test_a_client_that_leaves_during_its_upload_is_no_error_of_the_service(
    client, path, server_log
):
    before = server_log.read_text().count('"level": "error"')
    left = f'"route": "{path}"'
    seen = sum(
        left in line and '"status": 499' in line for line in server_log.read_text().splitlines()
    )
    url = urlsplit(str(client.base_url))
    for extra in ("", "Idempotency-Key: the-same\r\n"):
        with socket.create_connection((url.hostname, url.port)) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{extra}Content-Length: 9000\r\n\r\n"
            connection.sendall(head.encode() + bytes(900))
            time.sleep(0.2)
    until(
        lambda: (
            sum(
                left in line and '"status": 499' in line
                for line in server_log.read_text().splitlines()
            )
            == seen + 2
        )
    )
    assert server_log.read_text().count('"level": "error"') == before
