"""Whether a network of another library can be written as ONNX, before any minute is spent on it."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from seg.errors import ConfigError
from seg.inference import OnnxBackend
from seg.networks import UNetConfig, make_network
from seg.networks.foreign.config import ForeignConfig
from seg.networks.foreign.network import ForeignNetwork
from seg.networks.foreign.own_code import names_own_code
from training.onnx_files.proof import reference_logits
from training.onnx_files.write import SAMPLES_A_BATCH, write_onnx

TIMES_THE_MULTIPLE = 2
"""Edge of the patches: some norms want more than one voxel at the bottleneck."""
AGREEMENT = 1e-3
"""Of logits, of the largest: random weights may give large ones. The package's proof is strict."""


def rehearse_export(name: str, config: UNetConfig | ForeignConfig) -> None:
    """Write the network with random weights, and ask the file; train one's own for a step.

    Raises:
        ConfigError: its operations are none of ONNX's, or mean another thing there, or it makes
            something else where it trains.
    """
    network = make_network(config).eval()
    edges = [TIMES_THE_MULTIPLE * stride for stride in config.total_stride]
    shape = (SAMPLES_A_BATCH, config.in_channels, *edges)
    patches = np.random.default_rng(0).standard_normal(shape, np.float32)
    if isinstance(network, ForeignNetwork) and names_own_code(name):
        _check_training(name, network.model, patches)
    try:
        wanted = reference_logits(network, patches)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rehearsal.onnx"
            write_onnx(network, patches, file)
            logits = OnnxBackend(file, provider="cpu").run(patches)
    except Exception as error:  # torch's exporter raises a dozen types, networks any
        reason = " ".join(f"{type(error).__name__}: {_cause(error)}".split())[:200]
        raise ConfigError(
            f"{name} cannot be written as ONNX, which a package is made of ({reason}); take "
            "another encoder, docs/encoders.md lists some that can"
        ) from error
    if names_own_code(name) and _are_probabilities(wanted):
        raise ConfigError(
            f"{name} returns probabilities, between 0 and 1; return what goes into its last "
            "softmax or sigmoid: the loss and the service apply it"
        )
    difference = np.abs(logits - wanted).max() / max(1.0, np.abs(wanted).max())
    if not difference <= AGREEMENT:
        raise ConfigError(
            f"{name} gives other logits as ONNX than in torch, off by {difference:.1g} of the "
            "largest; take another encoder, docs/encoders.md lists some that agree"
        )


def _check_training(
    name: str, model: nn.Module, patches: Float32[np.ndarray, "b c *patch"]
) -> None:
    """Some networks make more of an image while they train, for a loss of their own."""
    images = torch.from_numpy(patches)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    try:
        with torch.no_grad():
            shape = tuple(model.eval()(images).shape)
        said = model.train()(images)
        levels = [said] if isinstance(said, Tensor) else said
        if not isinstance(levels, list | tuple) or not all(isinstance(e, Tensor) for e in levels):
            raise TypeError(f"it returns {type(said).__name__}")
        shapes = [tuple(level.shape) for level in levels]
        if shapes[:1] != [shape] or {(len(e), e[:2]) for e in shapes} != {(len(shape), shape[:2])}:
            raise TypeError(f"it returns {shapes}, which should begin with {shape}")
        cost = torch.stack([level.float().mean() for level in levels]).sum()
        gradients = torch.autograd.grad(cost, weights, allow_unused=True) if weights else ()
        if all(gradient is None for gradient in gradients):
            raise TypeError("no weight learns from what it returns")
    except Exception as error:  # networks raise any
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{name} cannot be trained: while it trains it must return logits as it does "
            f"otherwise, or a list of them with coarser ones behind, and learn from them ({reason})"
        ) from error
    finally:
        model.eval()


def _are_probabilities(outputs: Float32[np.ndarray, "b k *patch"]) -> bool:
    """Logits of random weights for random images have both signs, and values above 1."""
    return bool(outputs.min() >= 0 and outputs.max() <= 1 and outputs.std() > 0)


def _cause(error: BaseException) -> BaseException:
    """The exporter wraps what a network does into advice about itself."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
