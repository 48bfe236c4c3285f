"""Memory of a network's answers: used again, and never while somebody holds it."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from seg.inference import OnnxBackend
from seg.inference.backends.buffers import Buffers
from seg.model_package import ModelPackage
from tests.fake_cuda import fake_driver


@given(st.lists(st.tuples(st.sampled_from(["take", "view", "drop"]), st.integers(1, 3))))
def test_what_is_held_is_never_lent_again(acts):
    buffers, held = Buffers(kept=2), []
    for number, (act, size) in enumerate(acts):
        if act == "drop" and held:
            del held[size % len(held)]
            continue
        array = buffers.array((size, 5), np.float32)
        array[:] = number
        held.append((array if act == "take" else array[0, 1:], number))
        del array
        for each, its in held:
            assert (each == its).all()


def test_what_nobody_holds_is_used_again():
    buffers = Buffers(kept=2)
    for _ in range(5):
        array = buffers.array((4, 4), np.float32)
        part = array[1]
        del array
        other = buffers.array((4, 4), np.float32)
        assert not np.shares_memory(part, other)
        del part, other
    assert buffers.made == 2
    buffers.clear()
    made = buffers.made
    buffers.array((4, 4), np.float32)
    assert buffers.made == made + 1


def test_answers_of_a_network_stay_as_they_were_while_others_come(tiny_package):
    backend = OnnxBackend(ModelPackage.load(tiny_package).model_file(), provider="cpu")
    patches = np.random.default_rng(0).uniform(size=(9, 1, 32, 32)).astype(np.float32)
    kept = [backend.run(patch[None])[:, 1] for patch in patches]
    before = [each.copy() for each in kept]
    for patch in patches:
        backend.run(patch[None])
    np.testing.assert_array_equal(kept, before)
    made = backend._session.buffers.made
    for patch in patches:
        backend.run(patch[None])
    assert backend._session.buffers.made == made


PAGES = """
import ctypes, json, sys
import numpy as np
from seg.cuda_driver import lock_pages
from seg.inference.backends.buffers import Buffers
driver = ctypes.CDLL("libcuda.so.1")
driver.fake_locked_bytes.restype = ctypes.c_size_t
buffers = Buffers(1, lock_pages)
seen = [driver.fake_locked_bytes()]
for count in (1, 1, 2):
    arrays = [buffers.array((100, 100), np.float32) for _ in range(count)]
    seen.append(driver.fake_locked_bytes())
    del arrays
buffers.clear()
seen.append(driver.fake_locked_bytes())
print(json.dumps(seen))
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, [0, 40_000, 40_000, 80_000, 0]), ({"FAKE_NO_PAGES": "1"}, [0] * 5)],
)
def test_pages_for_a_card_stay_locked_as_long_as_they_are_kept(tmp_path, environment, expected):
    driver = fake_driver(tmp_path / "driver")
    said = subprocess.run(
        [sys.executable, "-c", PAGES], env={**os.environ, **driver, **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(said.stdout) == expected


SHRINKING = """
import sys
from pathlib import Path
import numpy as np
import psutil
from seg.inference import OnnxBackend
backend = OnnxBackend(Path(sys.argv[1]), provider="cpu", threads=1)
held = lambda: psutil.Process().memory_info().rss / 2**20
backend.run(np.zeros((16, 1, 256, 256), np.float32))
before = held()
backend.shrink()
print(before - held())
assert backend.run(np.ones((1, 1, 256, 256), np.float32)).any()
"""


def test_an_idle_network_gives_the_memory_of_its_runs_back(tmp_path):
    wide, narrow = (
        numpy_helper.from_array(np.ones(shape, np.float32), name)
        for shape, name in (((32, 1, 3, 3), "wide"), ((2, 32, 3, 3), "narrow"))
    )
    nodes = [
        helper.make_node("Conv", ["x", "wide"], ["hidden"], pads=[1] * 4),
        helper.make_node("Conv", ["hidden", "narrow"], ["y"], pads=[1] * 4),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", channels, 256, 256])
        for name, channels in (("x", 1), ("y", 2))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [wide, narrow])
    file = tmp_path / "model.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), file)
    said = subprocess.run(
        [sys.executable, "-c", SHRINKING, str(file)], capture_output=True, text=True, check=True
    )
    assert float(said.stdout) > 50  # MiB, of 128 between the convolutions
