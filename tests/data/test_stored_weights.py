"""Weights out of packages become safetensors under the names that encoders have."""

import pytest
import timm
import torch

from data.card import StoredWeights
from data.stored_weights import ENCODER_FILE, rewrite
from seg.errors import DatasetError
from seg.networks.foreign.encoders import load_weights, make
from seg.networks.foreign.origin import WeightsOrigin, origin_of

NAME = "mobilenetv3_small_050"
ABOUT = {"source": "a-package 1.0", "licence": "MIT"}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(1)
    state = timm.create_model(NAME).state_dict()
    torch.save({f"_{i}.weight": tensor for i, tensor in enumerate(state.values())
                if tensor.ndim}, tmp_path / "encoder.pth")  # fmt: skip
    return tmp_path, state


def test_names_follow_from_the_order_of_the_layers(folder):
    path, state = folder
    rewrite(StoredWeights(file="encoder.pth", architecture=NAME), path, **ABOUT)
    assert not (path / "encoder.pth").exists()
    assert origin_of(f"tu-{NAME}", str(path / ENCODER_FILE)) == WeightsOrigin(**ABOUT)
    encoder = make(f"tu-{NAME}", 3)
    load_weights(encoder, path / ENCODER_FILE, f"tu-{NAME}")
    torch.testing.assert_close(encoder.model.conv_stem.weight, state["conv_stem.weight"])


def test_weights_of_another_network_are_refused(folder):
    with pytest.raises(DatasetError, match="does not hold the weights of resnet10t"):
        rewrite(StoredWeights(file="encoder.pth", architecture="resnet10t"), folder[0], **ABOUT)
