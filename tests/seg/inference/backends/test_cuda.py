"""What is said and done where a CUDA device is there and does not work."""

import json
import os
import subprocess
import sys

import pytest

from tests.fake_cuda import fake_driver

SCRIPT = """
import json, logging, sys
from pathlib import Path
logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
import onnxruntime
from seg.cuda_driver import cards, cuda_devices, driver_version
from seg.errors import BackendError
from seg.inference import OnnxBackend, load_backend
from seg.inference.backends import sessions
from seg.inference.backends.remembered import place_of
from seg.machine import cache_folder
from seg.model_package import ModelPackage
package = ModelPackage.load(Path(sys.argv[1]))
def refusal():
    try:
        OnnxBackend(package.model_file(), provider="cuda")
    except BackendError as error:
        return str(error)
fallbacks = []
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    return fake_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def said(driver, tiny_package, tmp_path):
    """What an expression is in a process that has the driver, and what went to its streams."""

    def run(expression, **environment):
        code = f"{SCRIPT}\nPath(sys.argv[2]).write_text(json.dumps({expression}))"
        result = tmp_path / "result.json"
        done = subprocess.run(
            [sys.executable, "-c", code, str(tiny_package), str(result)],
            env={**os.environ, **driver, "XDG_CACHE_HOME": str(tmp_path / "cache"), **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(result.read_text()), done.stdout, done.stderr

    return run


def test_a_driver_that_is_too_old_is_told_in_onnxruntime_s_words(said):
    sentence, stdout, _ = said("refusal()", FAKE_CUDA="12080")
    assert "CUDA driver version is insufficient for CUDA runtime version" in sentence
    assert "driver knows CUDA up to 12.8" in sentence
    assert "update the driver" in sentence
    assert "[cuda]" not in sentence
    assert stdout == ""


def test_all_options_are_known_to_the_provider(said):
    both = "[refusal(), setattr(sessions, 'cuda_options', lambda **_: {'no_such': '1'}), refusal()]"
    (ours, _, unknown), stdout, _ = said(both, SEG_CUDA_MEMORY_MB="2000")
    assert "CUDA failure 36" in ours  # as far as one comes without a card
    assert "no_such" in unknown
    assert stdout == ""


def test_libraries_that_are_missing_are_named(said):
    without = "[setattr(onnxruntime, 'preload_dlls', lambda: None), refusal()][1]"
    sentence, stdout, stderr = said(without)
    assert "cannot open shared object file" in sentence
    assert "pip install --editable '.[cuda]'" in sentence
    assert stdout == stderr == ""


def test_a_fallback_is_told_and_never_remembered(said):
    ask = (
        "[load_backend(package, on_fallback=fallbacks.append).provider, fallbacks, "
        "[str(file) for file in cache_folder().rglob('*.json')]]"
    )
    (provider, fallbacks, kept), stdout, stderr = said(ask, FAKE_CUDA="12080")
    assert provider != "CUDAExecutionProvider"
    assert len(fallbacks) == 1
    assert "cuda: onnxruntime cannot load" in fallbacks[0]
    assert fallbacks[0] in stderr
    assert kept == []
    assert stdout == ""


def test_where_nobody_asked_for_a_card_the_log_says_why_the_cpu_runs(said):
    provider, stdout, stderr = said("OnnxBackend(package.model_file()).provider")
    assert provider == "CPUExecutionProvider"
    assert "the CPU runs the network: onnxruntime cannot load" in stderr
    assert stdout == ""


def test_what_is_remembered_is_of_these_cards_and_this_driver(said):
    place = "str(place_of('backends', package, None))"
    known = [
        said(place, **environment)[0]
        for environment in (
            {},
            {"FAKE_CUDA": "13010"},
            {"FAKE_NAME": "another"},
            {"FAKE_CARDS": "2"},
        )
    ]
    assert len(set(known)) == 4
    assert said(place)[0] == known[0]


def test_a_card_that_is_not_there_is_told(said):
    sentence, _, _ = said("refusal()", SEG_CUDA_DEVICE="3")
    assert "there are 1 CUDA devices, and SEG_CUDA_DEVICE asks for number 3" in sentence


def test_the_driver_names_its_cards(said):
    told, _, _ = said("[[c.name, c.uuid, c.memory] for c in cards()] + [driver_version()]")
    assert told == [
        ["made up", "10101010-1010-1010-1010-101010101010", 24 * 2**30],
        [13, 0],
    ]
