"""Variants share their weights on disk."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from seg.inference import OnnxBackend
from seg.networks import ResidualUNet, UNetConfig
from training.onnx_files.shared_weights import referenced_bytes, share_weights
from training.onnx_files.write import write_onnx


def bytes_in(folder):
    return sum(file.stat().st_size for file in folder.iterdir())


@pytest.mark.long
def test_four_depths_are_at_most_a_tenth_larger_than_one(tmp_path):
    config = UNetConfig(
        spatial_dims=2,
        in_channels=1,
        num_classes=2,
        features=(64, 128),
        blocks=(2, 3),
        strides=((1, 1), (2, 2)),
        kernel_sizes=((3, 3),) * 2,
    )
    network = ResidualUNet(config).eval()
    patches = np.random.default_rng(0).normal(size=(2, 1, 16, 16)).astype(np.float32)
    blocks = network.droppable_blocks()
    models, expected = [], []
    for depth in range(4):
        file = tmp_path / f"{depth}.onnx"
        write_onnx(network.without(blocks[:depth]), patches, file)
        expected.append(OnnxBackend(file, provider="cpu").run(patches))
        models.append(onnx.load(file))
    for name, several in (("one", models[:1]), ("four", models)):
        folder = tmp_path / name
        folder.mkdir()
        files = [(model, folder / f"{n}.onnx") for n, model in enumerate(map(_copy, several))]
        share_weights(files, folder / "float32.weights")
    assert bytes_in(tmp_path / "four") <= 1.1 * bytes_in(tmp_path / "one")
    for depth, logits in enumerate(expected):
        backend = OnnxBackend(tmp_path / "four" / f"{depth}.onnx", provider="cpu")
        np.testing.assert_array_equal(backend.run(patches), logits)


def _copy(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def test_equal_bytes_of_other_shapes_and_types_are_stored_once_and_read_as_they_were(tmp_path):
    numbers = np.random.default_rng(1).normal(size=(16, 64)).astype(np.float32)
    arrays = {
        "tall": numbers.reshape(64, 16),
        "wide": numbers,
        "bits": numbers.view(np.int32),
        "small": np.ones(3, np.float32),
    }
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in arrays],
        "arrays",
        [],
        [helper.make_tensor_value_info(f"{name}_out", TensorProto.UNDEFINED, None) for name in ()],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph)
    share_weights([(model, tmp_path / "a.onnx")], tmp_path / "w")
    assert (tmp_path / "w").stat().st_size == numbers.nbytes
    assert referenced_bytes(tmp_path / "a.onnx") == 3 * numbers.nbytes
    for tensor in onnx.load(tmp_path / "a.onnx").graph.initializer:
        found = numpy_helper.to_array(tensor)
        assert found.dtype == arrays[tensor.name].dtype
        np.testing.assert_array_equal(found, arrays[tensor.name])
