"""A killed process seen by clients: the supervisor as its stand-in, a proxy that tries again."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks import servers
from benchmarks.drills.drill import Drill
from benchmarks.drills.outages import CLIENTS, KILLS, asking, until
from benchmarks.drills.pictures import picture
from benchmarks.servers import Server, free_port

IMAGE = picture((1500, 1500), 0)
NO_STAND_IN = "import os\ndel os.memfd_create\n"
"""As on a system where the supervisor cannot stand in."""
PROXY = """
daemon off; pid nginx.pid; error_log stderr crit;
events {{ }}
http {{
  access_log off;
  client_max_body_size 100m;
  upstream seg {{ server 127.0.0.1:{to} max_fails=0; server 127.0.0.1:{to} max_fails=0; }}
  server {{
    listen 127.0.0.1:{port};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_request_buffering {buffering};
    proxy_next_upstream {retries};
    location / {{ proxy_pass http://seg; }}
  }}
}}
"""
PROXIES = {
    "none": None,
    "as documented": {"buffering": "off", "retries": "off"},
    "trying again": {"buffering": "on", "retries": "error timeout http_503 non_idempotent"},
}
"""The second is that of deploy/proxy/nginx.conf; the third keeps a body until it is answered, and
sends a POST once more."""


def killed_behind_a_proxy(drill: Drill) -> None:
    """SIGKILL to the process that answers, with and without stand-in, behind no proxy and two."""
    blind = drill.folder / "blind"
    blind.mkdir()
    (blind / "sitecustomize.py").write_text(NO_STAND_IN)
    for is_there, path in {True: str(servers.ROOT), False: f"{blind}:{servers.ROOT}"}.items():
        with servers.seg(drill.package(), **drill.jobs(), PYTHONPATH=path) as server:
            for name, settings in PROXIES.items():
                with _behind(server, settings, drill.folder) as front, asking(front, IMAGE) as seen:
                    for _ in range(KILLS):
                        until(lambda seen=seen, n=seen["200"]: seen["200"] >= n + CLIENTS)
                        server.worker().kill()
                        servers.wait_for(server.port, "/readyz")
                    until(lambda seen=seen, n=seen["200"]: seen["200"] >= n + CLIENTS)
                drill.saw(stand_in=is_there, proxy=name, kills=KILLS, **seen)
                if is_there or name == "trying again":
                    what = f"stand-in {is_there}, proxy {name}: connections closed or refused"
                    drill.at_most(what, seen["closed"] + seen["refused"], CLIENTS)


@contextmanager
def _behind(server: Server, settings: dict[str, str] | None, folder: Path) -> Iterator[Server]:
    """The server as its clients reach it."""
    if settings is None:
        yield server
        return
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if nginx is None:
        raise SystemExit("the drill needs nginx: apt-get install nginx-light")
    port, config = free_port(), folder / "nginx.conf"
    config.write_text(PROXY.format(to=server.port, port=port, **settings))
    process = subprocess.Popen([nginx, "-p", str(folder), "-c", str(config), "-e", "stderr"])
    try:
        _await_port(port)
        yield replace(server, port=port)
    finally:
        process.terminate()
        process.wait(30)


def _await_port(port: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit("nginx did not come up")
