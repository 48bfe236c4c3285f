import json
import logging
import shutil
import subprocess
import sys
import weakref

import numpy as np
import pytest
from numpy.random import default_rng

from seg.cuda_driver import cuda_devices
from seg.errors import BackendError
from seg.inference import OnnxBackend, load_backend, open_model, verify_golden
from seg.inference.backends.fastest import fastest, patches_a_second
from seg.inference.backends.loading import load_way
from seg.inference.backends.ways import Way, ways_of
from seg.machine import cache_folder
from seg.model_package import GoldenSamples, ModelPackage, accept_card, write_golden

NO_GPU = pytest.mark.skipif(cuda_devices() > 0, reason="has a CUDA device")


@pytest.fixture
def package(tiny_package):
    return ModelPackage.load(tiny_package)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder() / "backends"


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_backends_say_the_same(package, provider):
    backend = load_backend(package, provider=provider, threads=2)
    assert backend.callers == 2
    assert backend.patch == (32, 32)
    assert verify_golden(package, backend) <= 1e-4
    patches = default_rng(0).uniform(size=(3, 1, 32, 32)).astype(np.float32)
    expected = OnnxBackend(package.model_file(), provider="cpu").run(patches)
    np.testing.assert_allclose(backend.run(patches), expected, atol=1e-4)


def test_a_file_that_is_no_model_is_one_clear_error_of_openvino_too(tmp_path):
    (tmp_path / "network.onnx").write_bytes(b"not a model")
    with pytest.raises(BackendError, match=r"OpenVINO cannot load network\.onnx"):
        open_model(tmp_path / "network.onnx", "openvino")


@NO_GPU
def test_a_gpu_asked_for_in_vain_is_one_clear_sentence(package, capfd):
    with pytest.raises(BackendError, match=r"CUDA was asked for, but .*; choose provider cpu"):
        load_backend(package, provider="cuda")
    assert capfd.readouterr() == ("", "")


FIRST_RUNS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
import numpy as np
from seg.inference import open_model
backend = open_model(Path(sys.argv[1]), "openvino", threads=4)
sys.setswitchinterval(1e-6)
together = Barrier(4)
def run(_):
    together.wait()
    backend.run(np.zeros((1, 1, 32, 32), np.float32))
with ThreadPoolExecutor(4) as pool:
    list(pool.map(run, range(4)))
"""


def test_the_first_runs_of_a_process_may_go_side_by_side(package):
    """They waited for each other for ever, in a third of all tries."""
    command = [sys.executable, "-c", FIRST_RUNS, str(package.model_file())]
    tries = [subprocess.Popen(command) for _ in range(3)]
    try:
        assert [each.wait(timeout=120) for each in tries] == [0, 0, 0]
    finally:
        for each in tries:
            each.kill()


class Slow(OnnxBackend):
    def run(self, patches):
        for _ in range(300):
            super().run(patches)
        return super().run(patches)


def test_the_fastest_backend_is_taken_and_remembered(package, cache, caplog):
    file = package.model_file()
    opened = []

    def load(way):
        opened.append(str(way))
        return {"slow": Slow, "fast": OnnxBackend}[way.provider](file, provider="cpu", threads=1)

    with caplog.at_level(logging.INFO):
        assert type(fastest(package, None, load, [Way("slow"), Way("fast")])) is OnnxBackend
    assert "fast is the fastest here" in caplog.text
    (kept,) = cache.iterdir()
    assert set(json.loads(kept.read_text())["patches_a_second"]) == {"slow", "fast"}
    opened.clear()
    fastest(package, None, load, [Way("slow"), Way("fast")])
    assert opened == ["fast"]


@pytest.mark.parametrize(
    "order", [[Way("slow"), Way("fast")], [Way("fast"), Way("slow")], ["openvino", "cpu"]]
)
def test_one_network_is_in_memory_at_a_time(package, cache, order):
    file = package.model_file()
    opened = []

    def load(way):
        assert all(earlier() is None for earlier in opened)
        name = way if isinstance(way, str) else way.provider
        backend = (Slow if name in ("slow", "openvino") else OnnxBackend)(
            file, provider="cpu", threads=1
        )
        opened.append(weakref.ref(backend))
        return backend

    assert type(fastest(package, None, load, order)) is OnnxBackend


def test_one_that_disagrees_is_not_taken_however_fast(package, cache):
    file = package.model_file()

    class Wrong(OnnxBackend):
        def run(self, patches):
            return 2 * super().run(patches)

    kinds = {"wrong": Wrong, "right": OnnxBackend}
    opened, told = [], []

    def load(way):
        opened.append(way.provider)
        return kinds[way.provider](file, provider="cpu", threads=1)

    for _ in range(2):  # it would be wrong again, so it is not asked again
        backend = fastest(package, None, load, [Way("wrong"), Way("right")], None, told.append)
        assert type(backend) is OnnxBackend
    assert opened == ["wrong", "right", "right"]
    assert told[0] == told[1]
    assert "wrong: CPUExecutionProvider disagrees" in told[0]


def test_one_that_failed_is_asked_again(package, cache):
    opened = []

    def load(way):
        opened.append(way.provider)
        if way.provider == "busy":
            raise BackendError("somebody else has it")
        return OnnxBackend(package.model_file(), provider="cpu", threads=1)

    for _ in range(2):
        fastest(package, None, load, [Way("busy"), Way("right")])
    assert opened == ["busy", "right"] * 2


@pytest.mark.parametrize("provider", ["auto", "cpu"])
def test_where_none_agrees_the_reasons_are_told(package, cache, tmp_path, provider):
    changed = shutil.copytree(package.path, tmp_path / "package")
    golden = package.golden()
    sha256 = write_golden(changed, GoldenSamples(golden.patches, golden.logits[:, ::-1]))
    card = json.loads((changed / "model.json").read_text()) | {"golden_sha256": sha256}
    (changed / "model.json").write_text(json.dumps(card))
    accept_card(changed)
    with pytest.raises(BackendError, match=r"no backend runs this package here; .*disagrees"):
        load_backend(ModelPackage.load(changed), provider=provider)


def test_a_choice_that_cannot_be_kept_is_made_again(package, monkeypatch, tmp_path):
    (tmp_path / "seg").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert verify_golden(package, load_backend(package)) <= 1e-4


def test_throughput_counts_all_callers(package):
    backend = OnnxBackend(package.model_file(), provider="cpu", threads=2)
    assert patches_a_second(backend, package.golden().patches, seconds=0.05) > 0


def test_a_card_rounds_a_variant_of_tf32_and_a_cpu_says_that_it_does_not(package, monkeypatch):
    asked = []

    class Noted(OnnxBackend):
        def __init__(self, file, *, tf32=False, **options):
            asked.append(tf32)
            super().__init__(file, provider="cpu", threads=1)

    monkeypatch.setattr("seg.inference.backends.loading.OnnxBackend", Noted)
    for precision in ("float32", "tf32"):
        first = package.card.variants[0].model_copy(update={"precision": precision})
        card = package.card.model_copy(update={"variants": (first,)})
        changed = ModelPackage(package.path, card)
        assert load_backend(changed, provider="cpu").way == Way("cpu", "float32")
        load_way(changed, ways_of(card, provider="cuda")[0])
    assert asked == [False, False, False, True]
