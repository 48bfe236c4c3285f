import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from seg.inference import OnnxBackend
from seg.model_package import ModelPackage
from service.app import create_app
from service.batching.batches import BatchScheduler
from service.batching.measured_policy import (
    GAIN,
    SHORT_MS,
    SIZES,
    WAIT_SHARE,
    TimedBatches,
    batch_times,
    measured_policy,
    with_spare_run,
)
from service.batching.queue import PatchCaller
from service.batching.scheduler import BatchingPolicy
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.service.batching.test_batching import HeldBackend, answers, network, random_patches  # noqa: F401


class CountedBackend(OnnxBackend):
    runs = 0

    def run(self, patches):
        self.runs += 1
        return super().run(patches)


@pytest.fixture
def package(tiny_package, tmp_path, monkeypatch):
    """A package on a machine that remembers nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return ModelPackage.load(tiny_package)


def backend_of(package) -> CountedBackend:
    return CountedBackend(package.model_file(), provider="cpu")


RATE = st.floats(1, 1e4)


@given(st.fixed_dictionaries(dict.fromkeys(SIZES, RATE)), st.floats(1, 1e4))
def test_the_chosen_size_keeps_the_bound_and_beats_single_patches(rates, most_ms):
    runs = {size: 1000 * size / rate for size, rate in rates.items()}
    chosen = TimedBatches(rates, runs).best(most_ms)
    assert chosen == 1 or runs[chosen] <= most_ms
    assert chosen == 1 or rates[chosen] >= GAIN * rates[1]


def test_a_device_that_gains_from_batches_gets_them_and_one_that_does_not_does_not():
    runs = {1: 10.0, 2: 11.0, 4: 14.0, 8: 27.0}
    gpu = {size: 1000 * size / runs[size] for size in runs}
    assert TimedBatches(gpu, runs).best(500) == 4  # 8 is hardly faster a patch
    assert TimedBatches(gpu, runs).best(12) == 2
    assert TimedBatches(dict.fromkeys(runs, 100.0), runs).best(500) == 1
    assert TimedBatches().best(500) == 1


def test_sizes_are_measured_once_on_a_machine(package):
    settings, first = Settings(), backend_of(package)
    policy, times = measured_policy(package, first, settings)
    assert policy.runners == first.callers
    assert policy.batch_size in times.patches_a_second
    assert first.runs > 0
    second = backend_of(package)
    assert measured_policy(package, second, settings) == (policy, times)
    assert second.runs == 0


def test_the_service_says_what_it_measured(tiny_package):
    model = ModelRegistry(Settings(package=tiny_package, provider="cpu"), Metrics())
    model.start()
    model.wait()
    try:
        runtime = TestClient(create_app(model)).get("/model").json()["runtime"]
    finally:
        model.close()
    assert str(runtime["batch_size"]) in runtime["batch_times"]["patches_a_second"]
    assert runtime["batch_wait_ms"] >= 0


def test_a_moment_in_which_the_machine_is_busy_makes_no_batches(package, monkeypatch):
    timed = []

    def rate(backend, patches, seconds, size):
        timed.append(size)
        return 50.0 if timed.count(1) <= 2 and size == 1 else 100.0

    monkeypatch.setattr("service.batching.measured_policy.patches_a_second", rate)
    times = batch_times(package, backend_of(package), Settings())
    assert times.best(500) == 1


def test_what_is_remembered_wrongly_is_measured_again(package, tmp_path):
    settings = Settings()
    batch_times(package, backend_of(package), settings)
    (file,) = (tmp_path / "cache").rglob("batches/*.json")
    file.write_text('{"patches_a_second": {"2": 1}, "run_ms": []}')
    again = backend_of(package)
    assert 1 in batch_times(package, again, settings).patches_a_second
    assert again.runs > 0


def test_the_operator_s_word_counts(package):
    backend = backend_of(package)
    policy, times = measured_policy(package, backend, Settings(batch_size=4, batch_wait_ms=7))
    assert (policy.batch_size, policy.wait_s) == (4, 0.007)
    assert times == TimedBatches()
    assert measured_policy(package, backend, Settings(batching="gpu"))[0].batch_size == 8
    assert backend.runs == 0


def test_short_runs_get_one_more_than_there_are_cores_and_long_or_forced_ones_do_not(package):
    backend, policy = backend_of(package), BatchingPolicy(runners=2, batch_size=1)
    short, long = (TimedBatches({1: 1.0}, {1: ms}) for ms in (SHORT_MS / 2, SHORT_MS))
    found = with_spare_run(backend, policy, short, Settings())
    assert (found.provider, found.network_threads) == ("cpu", backend.callers + 1)
    forced = Settings(network_threads=2)
    assert with_spare_run(backend, policy, short, forced) is forced
    for times in (long, TimedBatches()):
        assert with_spare_run(backend, policy, times, Settings()).network_threads is None


def test_the_wait_is_a_small_share_of_a_run(package, monkeypatch):
    times = TimedBatches({1: 100.0, 4: 300.0}, {1: 10.0, 4: 40.0})
    monkeypatch.setattr("service.batching.measured_policy.batch_times", lambda *_: times)
    policy, _ = measured_policy(package, backend_of(package), Settings())
    assert policy.batch_size == 4
    assert math.isclose(policy.wait_s, WAIT_SHARE * 0.040)


def test_a_free_device_waits_until_its_batch_is_full(network):  # noqa: F811
    batches = []
    policy = BatchingPolicy(runners=1, batch_size=4, wait_s=600)
    backend = HeldBackend(network)
    backend.gate.set()
    scheduler = BatchScheduler(backend, policy, lambda *batch: batches.append(batch))
    futures = [
        *scheduler.submit(PatchCaller(id=0), random_patches(2)),
        *scheduler.submit(PatchCaller(id=1), random_patches(2)),
    ]
    answers(futures)
    scheduler.close()
    assert batches == [(4, 2)]


def test_a_free_device_does_not_wait_for_ever(network):  # noqa: F811
    policy = BatchingPolicy(runners=2, batch_size=4, wait_s=0.01)
    scheduler = BatchScheduler(network, policy)
    for _ in range(5):
        answers(scheduler.submit(PatchCaller(id=0), random_patches(1)))
    scheduler.close()
