"""Every package is written, and proven, by one writer."""

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from torch import nn

from seg.errors import BackendError
from seg.inference import load_backend, verify_golden
from seg.model_package import ModelPackage, Weights
from tests.packages import write_package
from training.packaging.card import unwritten
from training.packaging.writer import TorchNetwork, write_networks

PATCHES = default_rng(0).normal(size=(3, 1, 16, 16)).astype(np.float32)


class Pointwise(nn.Module):
    """One weight a class; says something else where it is traced, if it is fickle."""

    def __init__(self, seed, *, fickle=False):
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Conv2d(1, 3, 1)
        self.fickle = fickle

    def forward(self, x):
        logits = self.layer(x)
        return logits if torch.compiler.is_compiling() or not self.fickle else 2 * logits + x


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    package = ModelPackage.load(
        write_package(tmp_path_factory.mktemp("card") / "p", patch=(16, 16))
    )
    return package.card


def card_with(card, names, **changes):
    return card.model_copy(update={"variants": tuple(map(unwritten, names)), **changes})


def test_golden_samples_are_the_network_s_own_words(card, tmp_path):
    network = TorchNetwork(Pointwise(0))
    written = write_networks({"a": network}, card_with(card, "a"), PATCHES, tmp_path / "p")
    np.testing.assert_array_equal(written.package.golden().logits, network.logits(PATCHES))
    assert written.error <= 1e-6
    assert written.evaluation is None


def test_an_ensemble_says_the_mean_of_its_networks_probabilities(card, tmp_path):
    networks = {name: TorchNetwork(Pointwise(seed)) for seed, name in enumerate("ab")}
    draft = card_with(card, "ab", ensemble=("a", "b"))
    package = write_networks(networks, draft, PATCHES, tmp_path / "p").package
    mean = np.mean([softmax(network.logits(PATCHES)) for network in networks.values()], axis=0)
    np.testing.assert_allclose(softmax(package.golden().logits), mean, atol=1e-6)
    np.testing.assert_array_equal(package.golden("b").logits, networks["b"].logits(PATCHES))
    assert verify_golden(package, load_backend(package)) <= 1e-6


def test_variants_that_name_one_file_of_weights_share_it(card, tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.Conv2d(64, 3, 3, padding=1))
    variants = tuple(
        unwritten(name).model_copy(update={"weights": Weights(file="w", sha256="")})
        for name in "ab"
    )
    draft = card.model_copy(update={"variants": variants})
    networks = dict.fromkeys("ab", TorchNetwork(network))
    package = write_networks(networks, draft, PATCHES, tmp_path / "p").package
    size = sum(w.numel() for w in network.parameters() if w.numel() >= 256) * 4
    assert size <= (package.path / "w").stat().st_size < 1.5 * size
    assert package.card.variants[0].megabytes == pytest.approx(size / 1e6, abs=0.01)
    assert verify_golden(package, load_backend(package, "b"), "b") <= 1e-5


def test_a_network_among_several_that_is_not_repeated_is_named_and_nothing_is_written(
    card, tmp_path
):
    networks = {"a": TorchNetwork(Pointwise(0)), "b": TorchNetwork(Pointwise(1, fickle=True))}
    with pytest.raises(BackendError, match=r"^b: the exported network disagrees"):
        write_networks(networks, card_with(card, "ab"), PATCHES, tmp_path / "p")
    assert list(tmp_path.iterdir()) == []


def softmax(logits):
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)
