"""Pools of threads that generators may be left with."""

import threading
import time
from functools import partial

import pytest

from seg import leavable_pool as module
from seg.inference.tiling.ahead import ahead
from seg.leavable_pool import leavable_pool


@pytest.fixture
def no_thread_is_joined(monkeypatch):
    def fail(*_):
        raise AssertionError("the lock that joining takes may be held where garbage is collected")

    monkeypatch.setattr(threading.Thread, "join", fail)


@pytest.mark.usefixtures("no_thread_is_joined")
def test_a_generator_that_was_abandoned_joins_no_thread_when_it_is_collected():
    items = ahead(iter(range(100)))
    assert next(items) == 0
    items.close()


@pytest.mark.usefixtures("no_thread_is_joined")
def test_what_is_at_work_is_waited_for_and_what_waits_is_not_begun():
    began, ended = [], []

    def work(number):
        began.append(number)
        time.sleep(0.05)
        ended.append(number)

    with leavable_pool(1, "test") as pool:
        for number in range(99):
            pool.submit(work, number)
        while not began:
            time.sleep(0.001)
    assert ended == began
    assert len(began) < 99


def test_what_does_not_end_is_left_to_itself(monkeypatch):
    monkeypatch.setattr(module, "LET_GO_S", 0.01)
    goes_on = threading.Event()
    with leavable_pool(1, "test") as pool:
        running = pool.submit(partial(goes_on.wait, 60))
    assert not running.done()
    goes_on.set()
    assert running.result(5)
