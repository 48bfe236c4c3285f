"""float16 for graphics cards, each operator computed in its own type."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from numpy.random import default_rng
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from seg.inference import OnnxBackend
from seg.inference.backends.sessions import cuda_options
from seg.networks import ResidualUNet, preset
from training.onnx_files.own_types import OwnTypesBackend, can_be_evaluated, rounded_to_tf32
from training.onnx_files.write import write_onnx
from training.variants.half import KEPT_FLOAT, to_float16
from training.variants.make import LEAST_TOLERANCE, Bench, Source, make_all, rounding_backend

STAGES = ("features", "blocks", "strides", "kernel_sizes")


def network_of(dims=2, **fields):
    torch.manual_seed(0)
    config = preset("resunet-xs", spatial_dims=dims, in_channels=1, num_classes=3)
    config = replace(config, **{name: getattr(config, name)[:3] for name in STAGES}, **fields)
    return ResidualUNet(config).eval()


def patches_of(dims=2, scale=1.0):
    noise = default_rng(0).normal(size=(2, 1, *(16,) * dims))
    return (scale * noise).astype(np.float32)


def written(network, folder, dims=2):
    """float32 with norms of one piece, and float16 made of it."""
    plain, half = folder / "plain.onnx", folder / "half.onnx"
    write_onnx(network, patches_of(dims), plain, exact_norms=False)
    onnx.save(to_float16(onnx.load(plain)), half)
    return plain, half


def logits_of(network, patches):
    with torch.inference_mode():
        return network(torch.from_numpy(patches)).numpy()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_large_intensities_are_no_trouble_where_norms_are_of_one_piece(tmp_path, dims, scale):
    """With norms written out the logits were off by 5.0: squares above 255 are infinite."""
    network, patches = network_of(dims), patches_of(dims, scale)
    _, half = written(network, tmp_path, dims)
    error = np.abs(OwnTypesBackend(half).run(patches) - logits_of(network, patches)).max()
    assert 0 < error < 0.02


def test_norms_stay_float32_and_convolutions_do_not(tmp_path):
    plain, half = written(network_of(), tmp_path)
    assert "InstanceNormalization" in {node.op_type for node in onnx.load(plain).graph.node}
    model = onnx.shape_inference.infer_shapes(onnx.load(half))
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    types |= {each.name: each.data_type for each in model.graph.initializer}
    for node in model.graph.node:
        kinds = {types[name] for name in node.input if name in types}
        if node.op_type == "Conv":
            assert kinds == {TensorProto.FLOAT16}
        elif node.op_type in KEPT_FLOAT - {"Cast"}:
            assert kinds - {TensorProto.INT64} == {TensorProto.FLOAT}  # axes and shapes
    ends = (*model.graph.input, *model.graph.output)
    assert {each.type.tensor_type.elem_type for each in ends} == {TensorProto.FLOAT}
    assert half.stat().st_size < 0.7 * plain.stat().st_size


def test_every_operator_is_rounded_as_onnx_itself_does_it(tmp_path):
    _, half = written(network_of(), tmp_path)
    expected, *_ = ReferenceEvaluator(onnx.load(half)).run(None, {"patches": patches_of()})
    np.testing.assert_allclose(OwnTypesBackend(half).run(patches_of()), expected, atol=2e-3)


@pytest.mark.parametrize("normalisation", ["batch", "group"])
def test_networks_of_all_norms_are_what_they_were(tmp_path, normalisation):
    network = network_of(normalisation=normalisation)
    _, half = written(network, tmp_path)
    expected = logits_of(network, patches_of())
    for backend in (OwnTypesBackend(half), OnnxBackend(half, provider="cpu")):
        np.testing.assert_allclose(backend.run(patches_of()), expected, atol=0.02)


def made_of(network, folder, scale=1.0):
    probe = SimpleNamespace()
    bench = Bench(patches_of(scale=scale), probe, "exclusive", 0.002)
    return list(make_all([Source("full", network)], ["float32", "float16"], bench, folder))


def test_the_tolerance_is_what_a_card_would_lose(tmp_path):
    """A CPU computes float16 in float32: it says half of the error."""
    full, half = made_of(network_of(), tmp_path)
    assert (full.precision, half.precision) == ("float32", "float16")
    assert half.tolerance.worst >= LEAST_TOLERANCE
    assert isinstance(rounding_backend(half.file, "float16", "cpu"), OwnTypesBackend)
    assert can_be_evaluated(half.file)


def test_a_network_that_float16_cannot_hold_is_left_out(tmp_path, caplog):
    caplog.set_level("WARNING", "training")
    network = network_of()
    with torch.no_grad():
        for head in network.heads:
            head.weight.mul_(1e6)
    (only,) = made_of(network, tmp_path)
    assert only.precision == "float32"
    assert "float16 is left out" in caplog.text


def test_tf32_keeps_ten_bits():
    exact = np.float32([1, 1 + 2**-10, 65504, -3.5, 0])
    np.testing.assert_array_equal(rounded_to_tf32(exact), exact)
    noise = default_rng(0).normal(size=1000).astype(np.float32)
    error = np.abs(rounded_to_tf32(noise) - noise) / np.abs(noise)
    assert 2**-12 < error.max() <= 2**-11


def test_what_tf32_loses_lies_between_float32_and_nothing(tmp_path):
    network = network_of()
    plain, _ = written(network, tmp_path)
    expected = logits_of(network, patches_of())
    error = np.abs(OwnTypesBackend(plain, tf32=True).run(patches_of()) - expected).max()
    assert 10 * np.abs(OwnTypesBackend(plain).run(patches_of()) - expected).max() < error < 0.02


def test_a_variant_of_tf32_is_the_file_of_float32_asked_for_otherwise(tmp_path, monkeypatch):
    probe = SimpleNamespace()
    bench = Bench(patches_of(), probe, "exclusive", 0.002)
    full, tf32 = make_all([Source("full", network_of())], ["float32", "tf32"], bench, tmp_path)
    assert (tf32.name, tf32.precision) == ("tf32", "tf32")
    assert tf32.file.read_bytes() == full.file.read_bytes()
    assert tf32.tolerance.worst > full.tolerance.worst
    for chosen in (True, False):
        assert cuda_options(tf32=chosen)["use_tf32"] == str(int(chosen))
