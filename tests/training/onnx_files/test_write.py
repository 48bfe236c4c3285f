from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.random import default_rng

from seg.errors import BackendError
from seg.inference import OnnxBackend
from seg.networks import ResidualUNet, preset
from training.onnx_files.proof import export_variant, reference_logits


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


@pytest.mark.parametrize("count", [1, 3])
def test_an_exported_network_says_what_the_network_said(tmp_path, count):
    network = small_network()
    proof = export_variant(network, patches(count), tmp_path)
    assert proof.error <= 1e-4
    unseen = default_rng(5).normal(size=(4, 1, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(
        OnnxBackend(tmp_path / proof.variant.file).run(unseen),
        reference_logits(network, unseen),
        atol=1e-4,
    )


def test_a_network_that_reshapes_its_batch_is_exported_for_any_batch(tmp_path):
    network = ResidualUNet(replace(small_network().config, normalisation="group")).eval()
    proof = export_variant(network, patches(), tmp_path)
    unseen = default_rng(5).normal(size=(4, 1, 16, 16)).astype(np.float32)
    logits = OnnxBackend(tmp_path / proof.variant.file).run(unseen)
    np.testing.assert_allclose(logits, reference_logits(network, unseen), atol=1e-4)


def test_the_patch_is_fixed_and_the_batch_is_not(tmp_path):
    proof = export_variant(small_network(), patches(), tmp_path)
    model = onnx.load(tmp_path / proof.variant.file)
    batch, *fixed = model.graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param
    assert [dim.dim_value for dim in fixed] == [1, 16, 16]
    # nor does the file say where on this machine the code lies
    assert str(Path(__file__).parents[3]).encode() not in (tmp_path / "full.onnx").read_bytes()
    assert b".py" not in (tmp_path / "full.onnx").read_bytes()


def test_golden_samples_are_the_network_s_own_words(tmp_path):
    network = small_network()
    export_variant(network, patches(), tmp_path)
    with np.load(tmp_path / "golden.npz") as golden:
        with torch.inference_mode():
            expected = network(torch.from_numpy(golden["patches"])).numpy()
        np.testing.assert_allclose(golden["logits"], expected, atol=1e-5)


def test_a_network_that_onnx_does_not_repeat_is_not_exported(tmp_path):
    class Fickle(ResidualUNet):
        """Says something else when it is traced than when it runs."""

        def forward(self, x):
            logits = super().forward(x)
            return logits if torch.compiler.is_compiling() else 1.5 * logits + 0.1 * x

    network = Fickle(small_network().config).eval()
    with pytest.raises(BackendError, match="disagrees with the trained one"):
        export_variant(network, patches(), tmp_path)


def test_a_half_empty_patch_costs_no_accuracy(tmp_path):
    half = patches(1, (256, 256))
    half[..., 128:] = 0
    network = small_network()
    with torch.no_grad():
        for weight in network.parameters():  # as far from its start as training takes it
            weight.add_(0.3 * torch.randn_like(weight))
    assert export_variant(network, half, tmp_path).error <= 1e-5
