from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from seg.errors import BackendError
from service.batching.one_by_one import InPlaceScheduler
from service.batching.request_backend import SharedBackend
from service.batching.scheduler import BatchingPolicy
from service.errors import RequestCancelledError, SchedulerClosedError
from tests.service.batching.test_batching import (
    CPU,
    HeldBackend,
    network,  # noqa: F401  a fixture
    random_patches,
)
from tests.service.conftest import until

ONE = BatchingPolicy(runners=1, batch_size=1)


class Written(HeldBackend):
    """Writes down the first pixel of each patch that runs."""

    def __init__(self, backend) -> None:
        super().__init__(backend)
        self.ran = []

    def run(self, patches):
        logits = super().run(patches)
        self.ran.append(round(float(patches[0, 0, 0, 0]), 2))
        return logits


@pytest.fixture
def backend(network):  # noqa: F811
    return Written(network)


@pytest.fixture
def held(backend):
    """A scheduler whose only device is busy with a patch until the gate opens."""
    scheduler = InPlaceScheduler(backend, ONE)
    with ThreadPoolExecutor(32) as pool:
        pool.submit(SharedBackend(scheduler).run, marked(0.0))
        assert backend.entered.wait(30)
        try:
            yield scheduler, pool
        finally:
            backend.gate.set()
            scheduler.close()


def marked(value: float):
    patches = random_patches(1)
    patches[0, 0, 0, 0] = value
    return patches


@contextmanager
def queued(scheduler, count: int):
    """That so many patches more wait at the end of the block."""
    before = scheduler.waiting
    yield
    until(lambda: scheduler.waiting == before + count)


def test_requests_take_turns_and_jobs_come_behind_them(held, backend):
    scheduler, pool = held
    large, small = SharedBackend(scheduler), SharedBackend(scheduler)
    job = SharedBackend(scheduler, background=True)
    answers = []
    for asking, value, count in ((job, 0.3, 1), (large, 0.1, 5), (small, 0.2, 1)):
        for _ in range(count):
            with queued(scheduler, 1):
                answers.append(pool.submit(asking.run, marked(value)))
    backend.gate.set()
    for answer in answers:
        assert answer.result(30).shape[0] == 1
    assert backend.ran == [0.0, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1, 0.3]


def test_many_threads_get_their_own_answers_back(network):  # noqa: F811
    batches = []
    scheduler = InPlaceScheduler(network, CPU, lambda *batch: batches.append(batch))

    def ask(seed):
        patches = random_patches(seed % 3 + 1, seed)
        return patches, SharedBackend(scheduler).run(patches)

    with ThreadPoolExecutor(16) as pool:
        pairs = list(pool.map(ask, range(64)))
    scheduler.close()
    for patches, logits in pairs:
        np.testing.assert_allclose(logits, network.run(patches), atol=1e-5)
    assert batches == [(1, 1)] * sum(len(patches) for patches, _ in pairs)


def test_no_more_runs_side_by_side_than_there_are_devices(backend):
    scheduler = InPlaceScheduler(backend, BatchingPolicy(runners=3, batch_size=1))
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(SharedBackend(scheduler).run, marked(0.5)) for _ in range(8)]
        until(lambda: scheduler.waiting == 5)
        backend.gate.set()
        assert all(answer.result(30).shape[0] == 1 for answer in answers)
    scheduler.close()


def test_a_cancelled_request_leaves_the_queue(held, backend):
    scheduler, pool = held
    asking = SharedBackend(scheduler)
    with queued(scheduler, 1):
        answer = pool.submit(asking.run, marked(0.4))
    asking.cancel()
    with pytest.raises(RequestCancelledError):
        answer.result(30)
    assert scheduler.waiting == 0
    with pytest.raises(RequestCancelledError):
        asking.run(marked(0.4))
    backend.gate.set()
    scheduler.close()
    assert backend.ran == [0.0]


def test_a_failed_patch_gives_its_error_to_its_request_alone(held, backend):
    scheduler, pool = held
    bad, good = SharedBackend(scheduler), SharedBackend(scheduler)
    answers = []
    for asking, value in ((bad, 1.0), (bad, 0.1), (good, 0.2)):
        with queued(scheduler, 1):
            answers.append(pool.submit(asking.run, marked(value)))
    backend.gate.set()
    for answer in answers[:2]:
        with pytest.raises(BackendError, match="failed on a batch"):
            answer.result(30)
    assert answers[2].result(30).shape[0] == 1
    assert backend.ran == [0.0, 0.2]


def test_closing_finishes_what_waits_and_takes_no_more(held, backend):
    scheduler, pool = held
    with queued(scheduler, 1):
        answer = pool.submit(SharedBackend(scheduler).run, marked(0.4))
    closing = pool.submit(scheduler.close)
    backend.gate.set()
    closing.result(30)
    assert answer.result(30).shape[0] == 1
    with pytest.raises(SchedulerClosedError, match="shutting down"):
        SharedBackend(scheduler).run(marked(0.4))
