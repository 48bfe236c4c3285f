from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.random import default_rng

from seg.errors import BackendError
from seg.inference import OnnxBackend
from seg.inference.backends.golden import agreement
from seg.inference.backends.openvino import OpenVinoBackend
from seg.model_package import GoldenSamples
from seg.networks import ResidualUNet, preset
from training.onnx_files.proof import proven, reference_logits
from training.onnx_files.write import write_onnx


def small_network(spatial_dims=2):
    torch.manual_seed(0)
    config = preset(
        "resunet-s",
        spatial_dims=spatial_dims,
        in_channels=1,
        num_classes=3,
        strides=[(1,) * spatial_dims, (2,) * spatial_dims],
    )
    return ResidualUNet(config).eval()


def patches(count=3, patch=(16, 16)):
    return default_rng(0).normal(size=(count, 1, *patch)).astype(np.float32)


def exported(network, patches, file):
    """The error of the file that was written of the network."""
    write_onnx(network, patches, file)
    return proven(file, GoldenSamples(patches, reference_logits(network, patches)), "exclusive")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "full.onnx"


@pytest.mark.parametrize("count", [1, 3])
def test_an_exported_network_says_what_the_network_said(file, count):
    network = small_network()
    assert exported(network, patches(count), file) <= 1e-4
    unseen = default_rng(5).normal(size=(4, 1, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(
        OnnxBackend(file).run(unseen),
        reference_logits(network, unseen),
        atol=1e-4,
    )


def test_a_network_that_reshapes_its_batch_is_exported_for_any_batch(file):
    network = ResidualUNet(replace(small_network().config, normalisation="group")).eval()
    exported(network, patches(), file)
    unseen = default_rng(5).normal(size=(4, 1, 16, 16)).astype(np.float32)
    logits = OnnxBackend(file).run(unseen)
    np.testing.assert_allclose(logits, reference_logits(network, unseen), atol=1e-4)


def test_the_patch_is_fixed_and_the_batch_is_not(file):
    exported(small_network(), patches(), file)
    model = onnx.load(file)
    batch, *fixed = model.graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param
    assert [dim.dim_value for dim in fixed] == [1, 16, 16]
    # nor does the file say where on this machine the code lies
    assert str(Path(__file__).parents[3]).encode() not in file.read_bytes()
    assert b".py" not in file.read_bytes()


def test_a_network_that_onnx_does_not_repeat_is_not_exported(file):
    class Fickle(ResidualUNet):
        """Says something else when it is traced than when it runs."""

        def forward(self, x):
            logits = super().forward(x)
            return logits if torch.compiler.is_compiling() else 1.5 * logits + 0.1 * x

    network = Fickle(small_network().config).eval()
    with pytest.raises(BackendError, match="disagrees with the trained one"):
        exported(network, patches(), file)


def test_a_half_empty_patch_costs_no_accuracy_in_either_runtime(file):
    half = patches(1, (256, 256))
    half[..., 128:] = 0
    network = small_network()
    with torch.no_grad():
        for weight in network.parameters():  # as far from its start as training takes it
            weight.add_(0.3 * torch.randn_like(weight))
    assert exported(network, half, file) <= 1e-5
    golden = GoldenSamples(half, reference_logits(network, half))
    assert agreement(OpenVinoBackend(file, threads=1), golden, "exclusive") <= 1e-5
