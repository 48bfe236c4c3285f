"""The service behind reverse proxies that really run, and what looks like one."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from seg.errors import ConfigError
from service.app import create_app
from service.hosting.listening import is_loopback
from service.jobs.routes import Jobs
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.requests.proxies import (
    OWN,
    PREFIX,
    VALID_PREFIX,
    address,
    came_through_a_proxy,
    check_prefix,
)
from service.settings import FRONT_ENDS, Settings
from tests.service.conftest import ROOT, png, served, started, until, until_status
from tests.service.routes.test_errors import problem

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
IMAGE = png([[100] * 40] * 40)
PLAIN = """
pid {folder}/pid; error_log stderr;
events {{ }}
http {{ access_log off; server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {url}; }} }} }}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def nginx(folder: Path, config: str, port: int) -> Iterator[None]:
    if NGINX is None:
        pytest.skip("no nginx here: apt-get install nginx-light")
    file = folder / "nginx.conf"
    file.write_text(config)
    with (folder / "nginx.log").open("wb") as log:
        server = subprocess.Popen(
            [NGINX, "-p", str(folder), "-c", str(file), "-e", "stderr", "-g", "daemon off;"],
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while server.poll() is None and time.monotonic() < deadline:
            if _connects(port):
                break
            time.sleep(0.02)
        assert server.poll() is None, (folder / "nginx.log").read_text()
        yield
    finally:
        server.terminate()
        server.wait(10)


def test_behind_a_plain_nginx_a_key_is_asked_for(client, tmp_path):
    port = free_port()
    config = PLAIN.format(folder=tmp_path, port=port, url=str(client.base_url).rstrip("/"))
    with nginx(tmp_path, config, port):
        for host in ("127.0.0.1", "localhost", "evil.example"):
            answer = httpx.get(f"http://127.0.0.1:{port}/model", headers={"Host": host})
            assert "asks for a key" in problem(answer, 401)
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded",
        "Via",
        "X-Real-IP",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Prefix",
        "X-Original-URL",
        "X-Client-IP",
        "CF-Connecting-IP",
        "True-Client-IP",
        "X-Envoy-External-Address",
        "X-Cluster-Client-IP",
    ],
)
def test_what_was_passed_on_needs_a_key(client, name):
    assert client.get("/model", headers={name: "127.0.0.1"}).status_code == 401


def test_headers_that_clients_write_themselves_are_no_sign_of_a_proxy(client):
    usual = {
        "X-Request-ID": "a",
        "X-API-Key": "b",
        "X-Requested-With": "XMLHttpRequest",
        "Origin": "http://localhost",
        "Referer": "http://localhost/",
        "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    assert client.get("/model", headers=usual).status_code == 200


def test_http_1_0_is_what_a_plain_proxy_speaks():
    scope = {"http_version": "1.0", "headers": []}
    assert came_through_a_proxy(scope)
    assert not came_through_a_proxy({**scope, "http_version": "1.1"})


@pytest.mark.parametrize(
    ("proxy", "prefix"),
    [
        ("https://seg.example/ai", "/ai"),
        ("https://seg.example:8443/ai/seg/", "/ai/seg"),
        ("https://seg.example", ""),
        ("seg.example/ai", "/ai"),
        ("/ai", "/ai"),
        ("nginx", ""),
        ("127.0.0.1", ""),
    ],
)
def test_the_address_of_a_proxy_says_the_prefix(proxy, prefix):
    assert Settings(proxy=proxy).path_prefix == prefix


@pytest.mark.parametrize(
    ("proxy", "origin"),
    [
        ("https://seg.example:8443/ai", "https://seg.example:8443/ai"),
        ("seg.example/ai", "http://inside:3000/ai"),
        ("/ai", "http://inside:3000/ai"),
        (None, "http://inside:3000/ai"),
    ],
)
def test_a_whole_address_is_that_by_which_clients_reach_the_service(proxy, origin):
    scope = {"type": "http", "scheme": "http", "path": "/", "query_string": b""}
    scope |= {"headers": [(b"host", b"inside:3000")], "state": {PREFIX: "/ai"}}
    assert address(scope, proxy, "dicom-web", "1.2") == f"{origin}/dicom-web/1.2"


@pytest.mark.parametrize(
    "told", ["//evil.example", "/a//b", "/..", "/a/./b", "ai", "/a b", "/a?b", "/\r\nX: y"]
)
def test_a_prefix_that_would_lead_elsewhere_is_none(told):
    assert not VALID_PREFIX.fullmatch(told)


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("0.0.0.0", False),
     ("::", False), ("10.0.0.1", False), ("", False), ("localhost", False)],
)  # fmt: skip
def test_an_address_is_loopback_or_not(host, is_local):
    assert is_loopback(host) is is_local


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """A file of keys, and a token for segment and jobs."""
    from service.middleware.key_file import new_key, write_keys

    file = tmp_path_factory.mktemp("keys") / "keys.json"
    made, token = new_key("ward 7", ["segment", "jobs"])
    write_keys(file, [made])
    return file, token


@pytest.fixture(scope="module")
def behind(tiny_package, key, tmp_path_factory):
    """A client of a service that knows of its proxy."""
    log = tmp_path_factory.mktemp("behind") / "log.txt"
    settings = {"SEG_PROXY": "https://seg.example/ai", "SEG_KEYS_FILE": str(key[0])}
    with served(tiny_package, log, **settings) as client:
        until_status(client, "/readyz", 200)
        yield client


@pytest.fixture(scope="module")
def through_nginx(behind, key, certificates, tmp_path_factory):
    """A client of the nginx of deploy/proxy, with TLS, in front of that service."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    config = (ROOT / "deploy/proxy/nginx.conf").read_text()
    for shipped, here in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("127.0.0.1:3000", f"127.0.0.1:{behind.base_url.port}"),
        ("/etc/seg/cert.pem", str(certificates["trusted"])),
        ("/etc/seg/key.pem", str(certificates["trusted"].with_suffix(".key"))),
        ("/run/nginx-seg.pid", str(folder / "pid")),
    ):
        assert shipped in config
        config = config.replace(shipped, here)
    with (
        nginx(folder, config, port),
        httpx.Client(
            base_url=f"https://127.0.0.1:{port}/ai",
            verify=ssl.create_default_context(cafile=certificates["trusted"]),
            headers={"Authorization": f"Bearer {key[1]}", "Host": "seg.example"},
            timeout=60,
        ) as client,
    ):
        yield client


def test_where_a_proxy_is_named_a_key_is_asked_for(behind):
    assert "asks for a key" in problem(behind.get("/model"), 401)


def test_the_prefix_without_a_slash_leads_to_the_page(behind):
    answer = behind.get("/ai")
    assert (answer.status_code, answer.headers["Location"]) == (308, "/ai/")
    assert behind.get("/ai/").status_code == 200


def test_through_nginx_the_prefix_without_a_slash_names_neither_scheme_nor_port(through_nginx):
    answer = through_nginx.get(through_nginx.base_url.copy_with(path="/ai"))
    assert (answer.status_code, answer.headers["Location"]) == (301, "/ai/")


def test_through_nginx_an_image_is_segmented_by_tls(through_nginx):
    answer = through_nginx.post("/segment", content=IMAGE)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "image/png"
    assert "Server" not in answer.headers or "uvicorn" not in answer.headers["Server"]


def test_through_nginx_links_keep_the_prefix_and_events_come_as_they_are_sent(through_nginx):
    taken = through_nginx.post("/jobs", content=IMAGE)
    assert taken.status_code == 202, taken.text
    job = taken.json()
    where = taken.headers["Location"]
    assert where == job["links"]["self"] == f"/ai/jobs/{job['id']}"
    root = httpx.URL(str(through_nginx.base_url)).copy_with(path="/")
    began = time.monotonic()
    with through_nginx.stream("GET", root.join(job["links"]["events"])) as events:
        lines = events.iter_lines()
        assert next(lines).startswith("retry:")
        assert time.monotonic() - began < 30
        text = "\n".join(lines)
    assert "event: end" in text
    done = through_nginx.get(root.join(where)).json()
    assert done["result"]["href"] == f"{where}/result"
    assert through_nginx.get(root.join(done["result"]["href"])).status_code == 200
    (model,) = through_nginx.get("/models").json()["models"]
    assert model["versions"][0]["url"].startswith("/ai/models/")
    assert through_nginx.get(root.join(model["versions"][0]["url"])).status_code == 200
    assert through_nginx.get("/openapi.json").json()["servers"] == [{"url": "/ai/"}]
    assert through_nginx.get(root.join("/ai")).headers["Location"].endswith("/ai/")
    page = through_nginx.get("/")
    assert page.status_code == 200
    assert 'src="/' not in page.text
    assert through_nginx.get("/page/main.js").status_code == 200


def test_through_nginx_metrics_are_nobodys_and_bodies_have_a_limit(through_nginx, behind):
    assert through_nginx.get("/metrics").status_code == 403
    assert through_nginx.post("/segment", content=b"x" * 101_000_000).status_code == 413


@pytest.mark.parametrize("megabytes", [1, 10])
def test_through_nginx_a_refusal_comes_while_the_upload_is_on_its_way(through_nginx, megabytes):
    body = b"x" * megabytes * 1_000_000
    # a connection each: nginx may end one whose request it did not read to its end
    unknown = {"Authorization": "Bearer unknown", "Connection": "close"}
    answers = [
        through_nginx.post("/segment", content=body, headers=unknown).status_code for _ in range(8)
    ]
    assert answers == [401] * 8


def test_a_prefix_that_the_proxy_took_off_comes_back_in_links(tiny_package, key):
    with started(package=tiny_package, proxy="traefik") as registry:
        client = TestClient(create_app(registry))

        def url(**headers):
            (model,) = client.get("/models", headers=headers).json()["models"]
            return model["versions"][0]["url"]

        assert url(**{"X-Forwarded-Prefix": "/ai"}).startswith("/ai/models/")
        assert url(**{"X-Forwarded-Prefix": "//evil.example"}).startswith("/models/")
        assert url(**{"X-Forwarded-Prefix": "/ward/, /ai"}).startswith("/ward/ai/models/")
        assert url(**{"X-Forwarded-Prefix": "/, /evil.example"}).startswith("/evil.example/models/")
        assert url(**{"X-Forwarded-Prefix": "/, //evil.example"}).startswith("/models/")
        assert url().startswith("/models/")
        # what was told is not in the path any more, whatever the path looks like
        listed = client.get("/models", headers={"X-Forwarded-Prefix": "/models"})
        assert listed.json()["models"][0]["versions"][0]["url"].startswith("/models/models/")
        hidden = client.get("/x/metrics", headers={"X-Forwarded-Prefix": "/x"})
        assert problem(hidden, 404)


@pytest.mark.parametrize("proxy", ["https://seg.example/jobs", "seg.example/models/ai/", "/v2"])
def test_a_prefix_that_could_be_a_path_of_ours_is_refused_before_the_start(proxy):
    with pytest.raises(ConfigError, match="choose another"):
        check_prefix(Settings(proxy=proxy).path_prefix)
    with pytest.raises(ConfigError, match="name one like"):
        check_prefix("/ai/..")
    check_prefix(f"/ai{Settings(proxy=proxy).path_prefix}")


def test_all_paths_of_ours_are_known_to_whoever_names_a_prefix(tiny_package, tmp_path):
    registry = ModelRegistry(
        Settings(
            package=tiny_package,
            jobs_files=str(tmp_path),
            studio=tmp_path / "studio",
            frontends=",".join(FRONT_ENDS),
        ),
        Metrics(),
    )
    jobs = Jobs.of(registry)
    native = dict.fromkeys(("/schema.json", "/docs.json"), PlainTextResponse())
    layer = create_app(registry, native, jobs=jobs)
    while not hasattr(layer, "_routes"):
        layer = layer._app
    jobs.store.close()
    first = {route.path.split("/")[1] for route in layer._routes}
    assert {name for name in first if name and "." not in name.removesuffix(".json")} == OWN


def test_through_traefik_links_keep_the_prefix(behind, key, certificates, tmp_path):
    traefik = shutil.which("traefik")
    if traefik is None:
        pytest.skip("no traefik here: no package of Debian, PyPI or npm brings it")
    port, file = free_port(), tmp_path / "traefik.yaml"
    config = (ROOT / "deploy/proxy/traefik.yaml").read_text()
    config = config.replace("127.0.0.1:3000", f"127.0.0.1:{behind.base_url.port}")
    config = config.replace("/etc/seg/cert.pem", str(certificates["trusted"]))
    config = config.replace("/etc/seg/key.pem", str(certificates["trusted"].with_suffix(".key")))
    file.write_text(config)
    entry = f"--entryPoints.websecure.address=127.0.0.1:{port}"
    server = subprocess.Popen([traefik, entry, f"--providers.file.filename={file}"])
    headers = {"Authorization": f"Bearer {key[1]}", "Host": "seg.example"}
    tls = ssl.create_default_context(cafile=certificates["trusted"])
    try:
        with httpx.Client(base_url=f"https://127.0.0.1:{port}/ai", verify=tls) as client:
            until(lambda: _connects(port))
            until(lambda: client.get("/readyz", headers=headers).status_code == 200)
            taken = client.post("/jobs", content=IMAGE, headers=headers)
            assert taken.headers["Location"] == f"/ai/jobs/{taken.json()['id']}"
    finally:
        server.terminate()
        server.wait(10)


def test_the_file_for_traefik_names_only_what_it_holds():
    http = yaml.safe_load((ROOT / "deploy/proxy/traefik.yaml").read_text())["http"]
    for router in http["routers"].values():
        assert set(router["middlewares"]) <= set(http["middlewares"])
        assert router["service"] in http["services"]
        assert "tls" in router
    for service in http["services"].values():
        assert service["loadBalancer"]["serversTransport"] in http["serversTransports"]
