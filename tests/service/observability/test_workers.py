"""Several processes that serve side by side."""

import os
import re
import signal
import time

import httpx
import psutil
import pytest

from tests.service.conftest import png, served, until, until_status

IMAGE = png([[100] * 40] * 40)
PER_MINUTE = 30
CLOSING = {"Connection": "close"}
"""The next request may reach the other process."""


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("workers") / "log.txt"


@pytest.fixture(scope="module")
def two_workers(tiny_package, log):
    config = log.parent / "workers.yaml"
    config.write_text("services:\n  segmenter:\n    workers: 2\n")
    settings = {
        "BENTOML_CONFIG": str(config),
        "SEG_PROVIDER": "cpu",
        "SEG_MAX_PER_MINUTE": str(PER_MINUTE),
    }
    with served(tiny_package, log, **settings) as client:
        until_status(client, "/readyz", 200)
        yield client


def metrics(client) -> str:
    return httpx.get(client.base_url.join("/metrics"), headers=CLOSING).text


def counted(client, pattern: str) -> float:
    return sum(float(n) for n in re.findall(rf"^{pattern}.* ([0-9.e+]+)$", metrics(client), re.M))


SEGMENTED = r'seg_requests_total\{method="POST",route="/segment"'


def test_numbers_are_those_of_both_and_survive_the_death_of_one(two_workers):
    client = two_workers
    url = client.base_url.join("/segment")
    for _ in range(10):
        httpx.post(url, content=IMAGE, headers=CLOSING, timeout=60)
    until(lambda: counted(client, SEGMENTED) == 10.0)  # noted behind the answer
    assert [counted(client, SEGMENTED) for _ in range(8)] == [10.0] * 8
    assert counted(client, "seg_request_seconds_count") >= 10
    until(lambda: counted(client, "seg_ready") == 1)
    assert counted(client, "seg_model_latest") == 1
    supervisor = psutil.Process(int(client.headers["X-Test-Server"]))
    workers = supervisor.children()
    assert len(workers) == 2
    os.kill(workers[0].pid, signal.SIGKILL)
    until(lambda: len([w for w in supervisor.children() if w not in workers]) == 1)
    assert counted(client, SEGMENTED) == 10.0


def test_a_client_may_ask_so_often_whichever_process_it_reaches(two_workers):
    url = two_workers.base_url.join("/segment")
    begun = time.monotonic()
    statuses = [
        httpx.post(url, content=IMAGE, headers=CLOSING, timeout=60).status_code
        for _ in range(2 * PER_MINUTE)
    ]
    earned = PER_MINUTE * (time.monotonic() - begun) / 60
    assert set(statuses) == {200, 429}
    assert statuses.count(200) <= PER_MINUTE + earned + 1


def test_the_log_says_which_limits_are_each_process_s_own(two_workers, log):
    said = [line for line in log.read_text().splitlines() if '"limits"' in line]
    assert len(said) == 1
    assert "SEG_MAX_REQUESTS" in said[0]
    assert "each process's own" in said[0]


def test_none_stays_when_their_supervisor_is_killed(two_workers):
    supervisor = psutil.Process(int(two_workers.headers["X-Test-Server"]))
    workers = supervisor.children()
    assert len(workers) == 2
    supervisor.kill()
    assert psutil.wait_procs(workers, timeout=60)[1] == []
