import numpy as np
import onnxruntime
import pytest
import torch
from torch.export import Dim

from seg.networks import SHORTCUTS, ResidualUNet, UNetConfig


def exported(network, image, path):
    torch.onnx.export(
        network,
        (image,),
        path,
        dynamo=True,
        external_data=False,
        verbose=False,
        dynamic_shapes=({0: Dim("batch")},),
    )
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.slow
@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("shortcut", sorted(SHORTCUTS))
def test_onnxruntime_agrees_with_torch_at_any_batch_size(shortcut, spatial_dims, tmp_path):
    once, twice = (1,) * spatial_dims, (2,) * spatial_dims
    config = UNetConfig(
        spatial_dims=spatial_dims,
        in_channels=2,
        num_classes=3,
        features=(4, 8),
        blocks=(1, 2),
        strides=(once, twice),
        kernel_sizes=((3,) * spatial_dims,) * 2,
        shortcut=shortcut,
    )
    network = ResidualUNet(config).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    size = (8,) * spatial_dims
    session = exported(network, torch.randn(2, 2, *size), tmp_path / "net.onnx")
    images = torch.randn(3, 2, *size)
    (logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        expected = network(images).softmax(1).numpy()
    probabilities = torch.from_numpy(logits).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
