"""Keys and limits of each client, on a server that runs."""

import os
import socket
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from seg.errors import ConfigError
from service.middleware.caller import Caller
from service.middleware.key_file import KeyFile, new_key, read_keys, write_keys
from tests.service.conftest import ROOT, log_lines, png, served, until, until_status
from tests.service.routes.test_errors import problem

IMAGE = png([[100] * 40] * 40)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def made_by_command(file, *arguments) -> str:
    command = [sys.executable, "-m", "service.keys", "--file", str(file), *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return ended.stdout.strip()


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A file of keys, and their tokens by scope."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    tokens = {scope: new_key(scope, [scope]) for scope in ("segment", "metrics", "admin")}
    tokens["slow"] = new_key("slow", ["segment"], per_minute=2)
    tokens |= {name: new_key(name, ["jobs"]) for name in ("one", "other")}
    write_keys(file, [key for key, _ in tokens.values()])
    return file, {scope: token for scope, (_, token) in tokens.items()}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """What that server says."""
    return tmp_path_factory.mktemp("gate") / "log.txt"


@pytest.fixture(scope="module")
def guarded(tiny_package, keys, log):
    """A client of a server that asks everybody for a key."""
    settings = {
        "SEG_KEYS": "required",
        "SEG_KEYS_FILE": str(keys[0]),
        "SEG_MAX_CLIENT_REQUESTS": "2",
        "SEG_UPLOAD_IDLE_S": "0.5",
        "SEG_MAX_UPLOADS_MB": "3",
        "SEG_MAX_BODY_MB": "2",
        "SEG_CORS_ORIGINS": "https://viewer.example",
    }
    with served(tiny_package, log, **settings) as client:
        until_status(client, "/readyz", 200)
        yield client


def test_a_key_is_made_by_the_command_and_only_its_hash_is_kept(tmp_path):
    file = tmp_path / "keys.json"
    token = made_by_command(file, "add", "ward 7", "--scopes", "segment,metrics")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token.rpartition("_")[2] not in file.read_text()
    key = KeyFile(file).key_of(token)
    assert key is not None
    assert key.scopes == ("segment", "metrics")
    assert made_by_command(file, "list").endswith("segment,metrics  ward 7")
    made_by_command(file, "remove", key.id)
    assert read_keys(file) == ()


def test_a_key_counts_from_the_moment_it_is_written_and_no_longer_than_it_is(tmp_path):
    file = tmp_path / "keys.json"
    keys = KeyFile(file)
    key, token = new_key("ward 7", ["segment"])
    assert keys.key_of(token) is None
    write_keys(file, [key])
    assert keys.key_of(token) == key
    assert keys.key_of(token[:-1] + ("A" if token[-1] != "A" else "B")) is None
    assert keys.key_of("") is None
    write_keys(file, [])
    assert keys.key_of(token) is None


def test_a_key_ends_by_itself(guarded, keys):
    file, _ = keys
    ending, token = new_key("guest", ["segment"], expires=datetime.now(UTC) + timedelta(hours=1))
    ended, late = new_key("guest", ["segment"], expires=datetime.now(UTC) - timedelta(seconds=1))
    before = read_keys(file)
    write_keys(file, [*before, ending, ended])
    try:
        assert guarded.get("/model", headers=bearer(token)).status_code == 200
        refused = guarded.get("/model", headers=bearer(late))
        assert "has expired" in problem(refused, 401)
        assert "invalid_token" in refused.headers["WWW-Authenticate"]
    finally:
        write_keys(file, before)


def test_a_key_that_is_rotated_keeps_name_scopes_and_jobs(tmp_path):
    file = tmp_path / "keys.json"
    made_by_command(file, "add", "ward 7", "--scopes", "segment,jobs", "--per-minute", "60")
    (old,) = read_keys(file)
    token = made_by_command(file, "rotate", old.id, "--overlap-days", "2", "--days", "365")
    ending, new = read_keys(file)
    assert ending.id == old.id
    assert timedelta(days=1.9) < ending.expires - datetime.now(UTC) < timedelta(days=2)
    assert KeyFile(file).key_of(token) == new
    assert (new.name, new.scopes, new.per_minute) == (old.name, old.scopes, old.per_minute)
    assert new.owner == old.id
    assert new.expires > datetime.now(UTC) + timedelta(days=364)
    made_by_command(file, "rotate", new.id)
    assert read_keys(file)[-1].owner == old.id, "the jobs are those of the first of the row"
    assert Caller.of_key(read_keys(file)[-1]).owner == Caller.of_key(old).owner
    assert "until" in made_by_command(file, "list")


def test_a_file_of_keys_that_others_may_read_is_refused(tmp_path):
    file = tmp_path / "keys.json"
    write_keys(file, [])
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(file)


def test_without_a_key_only_probes_answer(guarded):
    for path in ("/livez", "/readyz"):
        assert guarded.get(path).status_code == 200
    for path in ("/model", "/models", "/metrics", "/schema.json", "/nothing"):
        assert "service.keys" in problem(guarded.get(path), 401)
    answer = guarded.post("/segment", content=IMAGE)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "asks for a key" in problem(answer, 401)
    for wrong in ("seg_0_x", f"seg_{'0' * 12}_{'A' * 43}"):
        assert "not known" in problem(guarded.get("/model", headers=bearer(wrong)), 401)


def test_a_key_opens_what_its_scopes_say(guarded, keys):
    tokens = keys[1]
    post = {"url": "/segment", "content": IMAGE}
    assert guarded.post(**post, headers=bearer(tokens["segment"])).status_code == 200
    assert guarded.post(**post, headers={"X-API-Key": tokens["segment"]}).status_code == 200
    assert "scope metrics" in problem(
        guarded.get("/metrics", headers=bearer(tokens["segment"])), 403
    )
    assert guarded.get("/metrics", headers=bearer(tokens["metrics"])).status_code == 200
    assert "scope segment" in problem(guarded.post(**post, headers=bearer(tokens["metrics"])), 403)
    for path in ("/metrics", "/models"):
        assert guarded.get(path, headers=bearer(tokens["admin"])).status_code == 200


def test_a_job_is_seen_by_the_key_that_sent_it_and_by_no_other(guarded, keys):
    one, other = (bearer(keys[1][name]) for name in ("one", "other"))
    job = guarded.post("/jobs", content=IMAGE, headers=one).json()["id"]
    for path in (f"/jobs/{job}", f"/jobs/{job}/result", f"/jobs/{job}/events"):
        problem(guarded.get(path, headers=other), 404)
    problem(guarded.delete(f"/jobs/{job}", headers=other), 404)
    assert guarded.get(f"/jobs/{job}", headers=one).status_code == 200


def test_the_log_says_which_key_asked_and_never_the_key(guarded, keys, log):
    file, tokens = keys
    headers = {**bearer(tokens["segment"]), "X-Request-ID": "asked-by-key"}
    assert guarded.get("/model", headers=headers).status_code == 200
    assert guarded.get("/model", headers={"X-Request-ID": "asked-by-nobody"}).status_code == 401
    until(lambda: log_lines(log, "asked-by-nobody"))
    (line,), (other,) = log_lines(log, "asked-by-key"), log_lines(log, "asked-by-nobody")
    assert line["key"] == next(key.id for key in read_keys(file) if key.name == "segment")
    assert "key" not in other
    assert tokens["segment"].rpartition("_")[2] not in log.read_text()


def test_a_key_may_have_a_rate(guarded, keys):
    headers = bearer(keys[1]["slow"])
    answers = [guarded.post("/segment", content=IMAGE, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "2 times a minute" in problem(answers[2], 429)
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 30


def test_without_a_key_the_body_is_not_read(guarded):
    sent = 0

    def endless():
        nonlocal sent
        while sent < 100_000_000:
            sent += 65536
            yield b"x" * 65536

    problem(guarded.post("/segment", content=endless()), 401)
    assert sent < 50_000_000


def begun(client, token, length) -> socket.socket:
    """A connection that announces a body and sends none of it."""
    connection = socket.create_connection((client.base_url.host, client.base_url.port))
    head = (
        "POST /segment HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
    )
    connection.sendall(head.encode())
    return connection


def everything(connection) -> bytes:
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_an_upload_that_stands_still_is_cut_off(guarded, keys):
    answer = everything(begun(guarded, keys[1]["segment"], 1000))
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"nothing came for 0.5 s" in answer


def test_a_client_has_so_many_requests_in_flight_and_no_more(guarded, keys):
    token = keys[1]["admin"]
    trickling = [begun(guarded, token, 1000) for _ in range(2)]
    stop = threading.Event()

    def trickle():
        while not stop.wait(0.1):
            for connection in trickling:
                connection.sendall(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()

    def ask(key):
        return guarded.post("/segment", content=IMAGE, headers=bearer(key))

    try:
        until(lambda: ask(token).status_code == 429)
        refused = ask(token)
        assert "2 of your requests" in problem(refused, 429)
        assert int(refused.headers["Retry-After"]) >= 1
        followed = guarded.get("/jobs/none/events", headers=bearer(token))
        assert "2 of your requests" in problem(followed, 429)
        drawn = guarded.get("/studio/images/none/slice", headers=bearer(token))
        assert "2 of your requests" in problem(drawn, 429)
        assert ask(keys[1]["segment"]).status_code == 200
    finally:
        stop.set()
        thread.join()
        for connection in trickling:
            connection.close()
    until(lambda: ask(token).status_code == 200)


def test_bodies_of_all_clients_together_are_limited(guarded, keys):
    refused = httpx.Response(200)

    def is_refused():
        nonlocal refused
        # anew each time: one that stands still is ended
        held = begun(guarded, keys[1]["admin"], 1_900_000)
        refused = guarded.post(
            "/segment", content=b"x" * 1_900_000, headers=bearer(keys[1]["segment"])
        )
        everything(held)
        return refused.status_code == 503

    until(is_refused)
    assert "too much is being uploaded" in problem(refused, 503)
    assert int(refused.headers["Retry-After"]) >= 1


def test_only_origins_that_are_listed_may_call(guarded):
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-API-Key"}
    allowed = guarded.options("/segment", headers={"Origin": "https://viewer.example", **ask})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://viewer.example"
    refused = guarded.options("/segment", headers={"Origin": "https://evil.example", **ask})
    assert "Access-Control-Allow-Origin" not in refused.headers


def test_pages_of_a_listed_origin_may_read_every_header_of_an_answer(guarded, keys):
    sent = {"Origin": "https://viewer.example", **bearer(keys[1]["segment"])}
    answer = guarded.post("/segment", content=IMAGE, headers=sent)
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    told = {name for name in answer.headers if name.startswith(("x-segmentation-", "x-request-"))}
    assert len(told) >= 4
    assert told | {"content-disposition"} <= {name.lower() for name in exposed}


def outer_address() -> str | None:
    """The address by which this machine would reach others; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return probe.getsockname()[0]


def test_a_service_that_listens_beyond_loopback_asks_everybody_for_a_key(tiny_package, tmp_path):
    outer = outer_address()
    if outer is None:
        pytest.skip("this machine has no address but loopback")
    settings = {"BENTOML_HOST": "0.0.0.0", "SEG_KEYS_FILE": os.devnull + ".none"}
    with served(tiny_package, tmp_path / "log.txt", **settings) as client:
        until_status(client, "/readyz", 200)
        url = f"http://{outer}:{client.base_url.port}"
        assert "asks for a key" in problem(httpx.post(f"{url}/segment", content=IMAGE), 401)
        assert httpx.get(f"{url}/livez").status_code == 200
        # Not over loopback either: what stands in front may come from this machine.
        assert client.post("/segment", content=IMAGE).status_code == 401


def test_over_loopback_a_name_that_was_pointed_at_this_machine_opens_nothing(client):
    names = ("localhost", "LOCALHOST:3000", "127.0.0.1:3000", "[::1]:3000", "evil.example")
    found = [client.get("/model", headers={"Host": name}).status_code for name in names]
    assert found == [200, 200, 200, 200, 401]


def test_a_job_is_its_owner_s_alone(guarded, keys):
    file, _ = keys
    before = read_keys(file)
    (one, mine), (two, theirs) = (new_key(name, ["segment", "jobs"]) for name in ("one", "two"))
    write_keys(file, [*before, one, two])
    try:
        job = guarded.post("/jobs", content=IMAGE, headers=bearer(mine)).json()["id"]
        for method, path in (
            ("GET", f"/jobs/{job}"),
            ("GET", f"/jobs/{job}/result"),
            ("GET", f"/jobs/{job}/events"),
            ("DELETE", f"/jobs/{job}"),
        ):
            refused = guarded.request(method, path, headers=bearer(theirs))
            assert "there is no such job" in problem(refused, 404), (method, path)
        listed = {
            whose: [
                each["id"] for each in guarded.get("/jobs", headers=bearer(token)).json()["jobs"]
            ]
            for whose, token in (("mine", mine), ("theirs", theirs))
        }
        assert listed == {"mine": [job], "theirs": []}
        assert guarded.get(f"/jobs/{job}", headers=bearer(mine)).status_code == 200
    finally:
        write_keys(file, before)
