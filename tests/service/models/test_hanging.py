"""A network that never comes back over some image: a real loop, in real processes."""

import os
import signal
from time import monotonic

import numpy as np
import pytest

from benchmarks.small_package import write_endless
from service.routes.until_useless import STOP_S
from tests.service.conftest import png, served, until_status
from tests.service.routes.test_errors import problem

PATCH = (32, 32)
DARK, BRIGHT = (png(np.full(PATCH, value)) for value in (100, 255))
TIMEOUT_S = 1


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("endless")
    write_endless(folder / "package", PATCH)
    settings = {"SEG_PROVIDER": "cpu", "SEG_TIMEOUT_S": str(TIMEOUT_S), "SEG_NETWORK_THREADS": "2"}
    with served(folder / "package", folder / "log.txt", **settings) as client:
        until_status(client, "/readyz", 200)
        yield client
        os.killpg(int(client.headers["X-Test-Server"]), signal.SIGKILL)  # it would take 28 s


def test_a_client_whose_image_drives_the_network_on_for_ever_is_answered(client):
    begun = monotonic()
    answer = client.post("/segment", content=BRIGHT)
    assert "longer than 1 s" in problem(answer, 504)
    assert TIMEOUT_S <= monotonic() - begun < TIMEOUT_S + STOP_S + 5
    assert client.post("/segment", content=DARK).status_code == 200  # the other device is free
