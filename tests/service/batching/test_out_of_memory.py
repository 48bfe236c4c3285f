"""Batches on a device without room for them, and devices whose libraries tune themselves."""

import time

import numpy as np
import pytest

from seg.errors import DeviceMemoryError
from seg.inference.backends.fastest import patches_a_second
from seg.model_package import ModelPackage
from service.batching.batches import BatchScheduler
from service.batching.measured_policy import SIZES, batch_times
from service.batching.queue import PatchCaller
from service.batching.scheduler import BatchingPolicy
from service.settings import Settings
from tests.service.batching.test_batching import answers, random_patches


class CrampedDevice:
    """Doubles what it gets; has room for so many patches, and takes its time for new sizes."""

    provider, callers, patch, batch_size = "CUDAExecutionProvider", 1, (32, 32), 8

    def __init__(self, most=8, run_s=0.0, first_s=0.0):
        self.most, self.run_s, self.first_s = most, run_s, first_s
        self.sizes = []

    def run(self, patches):
        is_new = len(patches) not in self.sizes
        self.sizes.append(len(patches))
        if len(patches) > self.most:
            raise DeviceMemoryError("CUDA failure 2: out of memory")
        time.sleep(self.run_s + (self.first_s if is_new else 0))
        return 2 * patches


@pytest.fixture
def package(tiny_package, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return ModelPackage.load(tiny_package)


def test_a_batch_without_room_is_halved_and_not_tried_again():
    device = CrampedDevice(most=4)
    policy = BatchingPolicy(runners=1, batch_size=8, wait_s=0.05)
    scheduler = BatchScheduler(device, policy)
    for _ in range(6):
        patches = random_patches(8)
        found = answers(scheduler.submit(PatchCaller(id=0), patches))
        np.testing.assert_array_equal(found, 2 * patches)
    scheduler.close()
    assert device.sizes.count(8) == 1
    assert scheduler.batch_size == 4
    assert 1 not in device.sizes  # nobody is to blame


def test_where_there_is_no_room_at_all_each_request_is_told():
    scheduler = BatchScheduler(
        CrampedDevice(most=0), BatchingPolicy(runners=1, batch_size=4, wait_s=0.05)
    )
    futures = scheduler.submit(PatchCaller(id=0), random_patches(4))
    for future in futures:
        with pytest.raises(DeviceMemoryError):
            future.result(10)
    scheduler.close()


def test_a_size_without_room_ends_the_measurement_and_is_not_remembered(package, tmp_path):
    device = CrampedDevice(most=2, run_s=0.002)
    times = batch_times(package, device, Settings())
    assert set(times.patches_a_second) == {1, 2}
    assert times.best(500) == 2
    assert max(device.sizes) == 4  # 8 would not fit either
    assert not list((tmp_path / "cache").rglob("batches/*.json"))
    again = CrampedDevice(run_s=0.002)
    assert set(batch_times(package, again, Settings()).patches_a_second) == set(SIZES)


def test_what_libraries_spend_on_a_new_size_does_not_count(package):
    device = CrampedDevice(run_s=0.001, first_s=0.2)
    times = batch_times(package, device, Settings())
    assert set(times.patches_a_second) == set(SIZES)
    assert times.best(500) == 8


def test_throughput_itself_leaves_the_first_run_out():
    device = CrampedDevice(run_s=0.001, first_s=0.3)
    assert patches_a_second(device, random_patches(2), 0.01, 2) > 100
