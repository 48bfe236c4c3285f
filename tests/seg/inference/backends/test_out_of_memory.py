"""A device that has no room for a batch."""

import logging

import numpy as np
import pytest
from numpy.random import default_rng

from seg.device_memory import lacks_memory
from seg.errors import BackendError, DeviceMemoryError
from seg.images import Image
from seg.inference import EnsembleBackend, MirrorBackend, OnnxBackend, Predictor, verify_golden
from seg.model_package import ModelPackage

WORDS = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running "
    "FusedConv node. Name:'conv' Status Message: bfc_arena.cc:359 AllocateRawInternal Failed to "
    "allocate memory for requested buffer of size 123456"
)


class CrampedSession:
    """A session on a device with room for so many patches."""

    def __init__(self, session, most):
        self._session, self.most, self.asked = session, most, []

    def run(self, feeds, *wanted, **more):
        (patches,) = feeds.values()
        self.asked.append(len(patches))
        if len(patches) > self.most:
            raise RuntimeError(WORDS)
        return self._session.run(feeds, *wanted, **more)


@pytest.fixture
def package(tiny_package):
    return ModelPackage.load(tiny_package)


def backend_with_room(package, most, batch_size=8):
    backend = OnnxBackend(package.model_file(), provider="cpu", batch_size=batch_size)
    backend._session = CrampedSession(backend._session, most)
    return backend


def patches(count):
    return default_rng(0).uniform(size=(count, 1, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_a_batch_without_room_is_halved_and_the_answer_is_the_same(package, most):
    expected = OnnxBackend(package.model_file(), provider="cpu").run(patches(8))
    backend = backend_with_room(package, most)
    np.testing.assert_allclose(backend.run(patches(8)), expected, atol=1e-6)
    assert backend.batch_size <= most


def test_the_smaller_size_is_kept_and_told_once(package, caplog):
    backend = backend_with_room(package, 4)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            backend.run(patches(8))
    assert backend._session.asked == [8, *[4] * 10]
    assert len(caplog.messages) == 1
    assert "no room for 8 patches in a run" in caplog.text
    assert "4 from now on" in caplog.text


def test_no_room_for_a_single_patch_is_an_error_of_its_own(package):
    backend = backend_with_room(package, 0)
    with pytest.raises(DeviceMemoryError, match="requested buffer of size 123456"):
        backend.run(patches(4))


def test_other_errors_do_not_make_batches_small(package):
    backend = backend_with_room(package, 8)
    with pytest.raises(BackendError) as raised:
        backend.run(np.zeros((4, 7, 32, 32), np.float32))
    assert not isinstance(raised.value, DeviceMemoryError)
    assert backend.batch_size == 8


def test_mirrors_and_ensembles_ask_for_no_more_than_fits(package):
    small, large = backend_with_room(package, 2), backend_with_room(package, 8)
    ensemble = EnsembleBackend([small, large])
    mirror = MirrorBackend(ensemble)
    assert mirror.batch_size == 8
    mirror.run(patches(8))
    assert mirror.batch_size == ensemble.batch_size == 2


def test_golden_samples_and_whole_images_are_run_in_what_fits(package):
    assert verify_golden(package, backend_with_room(package, 1)) <= 1e-4
    array = default_rng(0).integers(0, 255, (1, 200, 200), np.uint8)
    backend = backend_with_room(package, 2)
    found = Predictor(package, backend).predict(Image(array))
    expected = Predictor(package, OnnxBackend(package.model_file(), provider="cpu"))
    np.testing.assert_array_equal(found.array, expected.predict(Image(array)).array)
    assert backend._session.asked.count(8) == 1


@pytest.mark.parametrize(
    "words",
    [
        WORDS,
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=vm",
        "CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
        "Available memory of 17 is smaller than requested bytes of 32",
        "std::bad_alloc",
        "CUDNN failure 4004: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0",
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23 GiB",
        "CUDA error: out of memory",
        "CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "FIND was unable to find an engine to execute this computation after benchmarking",
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
    ],
)
def test_the_words_for_a_lack_of_memory_are_known(words):
    assert lacks_memory(RuntimeError(words))
    assert not lacks_memory(RuntimeError("CUDA failure 700: an illegal memory access"))
    assert not lacks_memory(RuntimeError("CUDNN failure 3000: CUDNN_STATUS_NOT_SUPPORTED"))
