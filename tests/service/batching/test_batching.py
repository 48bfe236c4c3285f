import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import numpy as np
import pytest

from seg.errors import BackendError
from seg.inference import OnnxBackend
from seg.model_package import ModelPackage
from service.batching.batches import BatchScheduler, batch_sizes
from service.batching.one_by_one import InPlaceScheduler
from service.batching.queue import PatchCaller
from service.batching.request_backend import SharedBackend
from service.batching.scheduler import BatchingPolicy
from service.errors import RequestCancelledError, SchedulerClosedError
from tests.packages import SPARK, write_package
from tests.service.conftest import until

GPU = BatchingPolicy(runners=1, batch_size=8)
CPU = BatchingPolicy(runners=2, batch_size=1)


class HeldBackend:
    """A real backend behind a gate: what comes while the gate is shut has to wait."""

    def __init__(self, backend: OnnxBackend) -> None:
        self._backend = backend
        self.patch = backend.patch
        self.provider = backend.provider
        self.batch_size = backend.batch_size
        self.callers = backend.callers
        self.gate = threading.Event()
        self.entered = threading.Event()

    def run(self, patches):
        self.entered.set()
        assert self.gate.wait(30)
        return self._backend.run(patches)


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> OnnxBackend:
    """Fails on a batch that holds an intensity of 1."""
    package = write_package(tmp_path_factory.mktemp("fragile") / "package", fragile=True)
    return OnnxBackend(ModelPackage.load(package).model_file(), provider="cpu")


@pytest.fixture
def batches():
    return []


@pytest.fixture
def held(network, batches):
    """A scheduler whose device is busy with a first patch until the gate opens."""
    backend = HeldBackend(network)
    scheduler = BatchScheduler(backend, GPU, lambda *batch: batches.append(batch))
    scheduler.submit(PatchCaller(id=-1), random_patches(1))
    assert backend.entered.wait(30)
    batches.clear()
    yield backend.gate, scheduler
    backend.gate.set()
    scheduler.close()


def random_patches(count: int, seed: int = 0):
    return np.random.default_rng(seed).uniform(0, 0.9, (count, 1, 32, 32)).astype(np.float32)


def answers(futures):
    return np.stack([future.result(30) for future in futures])


def test_patches_of_several_requests_run_in_one_batch(held, network, batches):
    gate, scheduler = held
    requests = [random_patches(2, seed) for seed in range(4)]
    futures = [scheduler.submit(PatchCaller(id=n), patches) for n, patches in enumerate(requests)]
    gate.set()
    for patches, future in zip(requests, futures, strict=True):
        np.testing.assert_allclose(answers(future), network.run(patches), atol=1e-5)
    assert batches == [(8, 4)]


def test_requests_take_turns_so_that_a_small_one_does_not_wait_for_a_large_one(held, batches):
    gate, scheduler = held
    finished = []
    for request, count in (("large", 30), ("small", 2)):
        for future in scheduler.submit(PatchCaller(id=request), random_patches(count)):
            future.add_done_callback(lambda _, request=request: finished.append(request))
    gate.set()
    scheduler.close()
    assert len(finished) == 32
    assert finished.index("small") < 8
    assert len(finished) - finished[::-1].index("small") <= 8
    assert batches == [(8, 2), (8, 1), (8, 1), (8, 1)]


def test_batch_sizes_are_the_powers_of_two_that_are_met_at_the_start(held, batches):
    gate, scheduler = held
    scheduler.submit(PatchCaller(id=0), random_patches(15))
    gate.set()
    scheduler.close()
    assert [patches for patches, _ in batches] == [8, 4, 2, 1]
    assert batch_sizes(GPU) == [1, 2, 4, 8]
    assert batch_sizes(CPU) == [1]


def test_a_poisoned_patch_fails_its_own_request_alone(held, network):
    gate, scheduler = held
    good, poisoned = random_patches(4), random_patches(3, seed=1)
    poisoned[1, 0, 5, 5] = (SPARK + 5) / 255
    futures, bad = (
        scheduler.submit(PatchCaller(id=0), good),
        scheduler.submit(PatchCaller(id=1), poisoned),
    )
    gate.set()
    np.testing.assert_allclose(answers(futures), network.run(good), atol=1e-5)
    with pytest.raises(BackendError, match="failed on a batch"):
        bad[1].result(30)
    np.testing.assert_allclose(bad[0].result(30), network.run(poisoned[:1])[0], atol=1e-5)


def test_a_failed_patch_gives_its_error_to_all_that_waits_of_its_request(held):
    gate, scheduler = held
    backend = SharedBackend(scheduler)
    poisoned = random_patches(8)
    poisoned[3] = 1
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(backend.run, poisoned)
        until(lambda: scheduler.waiting == 8)
        second = pool.submit(backend.run, random_patches(200))
        until(lambda: scheduler.waiting == 208)
        gate.set()
        for answer in (first, second):
            with pytest.raises(BackendError, match="failed on a batch"):
                answer.result(30)


def test_a_backend_that_loses_an_answer_is_caught(network):
    class Forgetful(HeldBackend):
        def run(self, patches):
            return super().run(patches)[1:]

    backend = Forgetful(network)
    backend.gate.set()
    scheduler = BatchScheduler(backend, GPU)
    with pytest.raises(RuntimeError, match="1 patches gave 0 answers"):
        scheduler.submit(PatchCaller(id=0), random_patches(1))[0].result(30)
    scheduler.close()


def test_one_patch_a_run_on_every_core_without_a_gpu(network):
    batches = []
    scheduler = BatchScheduler(network, CPU, lambda *batch: batches.append(batch))
    patches = random_patches(9)
    logits = SharedBackend(scheduler).run(patches)
    scheduler.close()
    np.testing.assert_allclose(logits, network.run(patches), atol=1e-5)
    assert batches == [(1, 1)] * 9


def test_many_threads_get_their_own_answers_back(network):
    scheduler = BatchScheduler(network, GPU)

    def ask(seed):
        patches = random_patches(seed % 5 + 1, seed)
        return patches, SharedBackend(scheduler).run(patches)

    with ThreadPoolExecutor(16) as pool:
        pairs = list(pool.map(ask, range(64)))
    scheduler.close()
    for patches, logits in pairs:
        np.testing.assert_allclose(logits, network.run(patches), atol=1e-5)


def test_a_cancelled_request_leaves_the_queue(held, batches):
    gate, scheduler = held
    backend = SharedBackend(scheduler)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(backend.run, random_patches(50))
        until(lambda: scheduler.waiting == 50)
        backend.cancel()
        with pytest.raises(RequestCancelledError):
            answer.result(30)
    assert scheduler.waiting == 0
    with pytest.raises(RequestCancelledError):
        backend.run(random_patches(1))
    gate.set()
    scheduler.close()
    assert batches == []


def test_closing_finishes_what_waits_and_takes_no_more(held):
    gate, scheduler = held
    futures = scheduler.submit(PatchCaller(id=0), random_patches(3))
    gate.set()
    scheduler.close()
    assert all(future.done() for future in futures)
    with pytest.raises(SchedulerClosedError, match="shutting down"):
        scheduler.submit(PatchCaller(id=1), random_patches(1))


@pytest.mark.parametrize("kind", [BatchScheduler, InPlaceScheduler])
def test_closing_waits_so_long_for_a_run_that_hangs_and_no_longer(network, monkeypatch, kind):
    """A model that is unloaded would hold up all that are loaded after it."""
    monkeypatch.setattr(sys.modules[kind.__module__], "CLOSE_S", 0.1)
    backend = HeldBackend(network)
    scheduler = kind(backend, GPU)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(scheduler.run, PatchCaller(id=0), random_patches(1))
        assert backend.entered.wait(30)
        begun = monotonic()
        scheduler.close()
        assert 0.1 <= monotonic() - begun < 10
        assert not answer.done()
        backend.gate.set()
        assert len(answer.result(30)) == 1


def test_the_policy_follows_the_backend_unless_it_is_forced(network):
    assert BatchingPolicy.of(network) == BatchingPolicy(runners=network.callers, batch_size=1)
    assert BatchingPolicy.of(network, "gpu") == BatchingPolicy(runners=1, batch_size=8)
    assert BatchingPolicy.of(network, "gpu", 4) == BatchingPolicy(runners=1, batch_size=4)
    assert BatchingPolicy.of(network, "cpu", 4).batch_size == 1
