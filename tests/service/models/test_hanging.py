"""A network that never comes back over some image: a real loop, in real processes."""

import os
import signal
from time import monotonic

import numpy as np
import pytest

from benchmarks.small_package import write_endless
from service.routes.until_useless import STOP_S
from tests.service.conftest import png, served, until, until_status
from tests.service.routes.test_errors import problem

PATCH = (32, 32)
DARK, BRIGHT = (png(np.full(PATCH, value)) for value in (100, 255))
TIMEOUT_S = 3


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("endless")
    write_endless(folder / "package", PATCH)
    settings = {"SEG_PROVIDER": "cpu", "SEG_BATCHING": "cpu", "SEG_NETWORK_THREADS": "3"}
    settings |= {name: str(TIMEOUT_S) for name in ("SEG_TIMEOUT_S", "SEG_JOB_TIMEOUT_S")}
    with served(folder / "package", folder / "log.txt", **settings) as client:
        until_status(client, "/readyz", 200)
        yield client
        os.killpg(int(client.headers["X-Test-Server"]), signal.SIGKILL)  # it would take 28 s


def test_a_job_whose_image_drives_the_network_on_for_ever_ends_and_others_have_its_place(client):
    hanging, other = (client.post("/jobs", content=each).json() for each in (BRIGHT, DARK))
    until(lambda: client.get(other["links"]["self"]).json()["state"] == "done")
    ended = client.get(hanging["links"]["self"]).json()
    assert (ended["state"], ended["problem"]["status"], ended["attempts"]) == ("failed", 504, 1)
    assert f"longer than {TIMEOUT_S} s" in ended["problem"]["detail"]


def test_a_client_whose_image_drives_the_network_on_for_ever_is_answered(client):
    begun = monotonic()
    answer = client.post("/segment", content=BRIGHT)
    assert f"longer than {TIMEOUT_S} s" in problem(answer, 504)
    assert TIMEOUT_S <= monotonic() - begun < TIMEOUT_S + STOP_S + 20
    assert client.post("/segment", content=DARK).status_code == 200  # the other device is free
