"""Whether a network of another library can be written as ONNX, before any minute is spent on it."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
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
LOUD = 100.0
"""Times an ordinary image: logits grow with it, probabilities do not."""


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
        _check_answers(name, network, patches)
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


def _check_answers(
    name: str, network: nn.Module, patches: Float32[np.ndarray, "b c *patch"]
) -> None:
    """A patch has one answer, whenever it is asked for and whatever other patches are with it."""
    given = patches.copy()
    with torch.inference_mode():
        logits, again, loud, louder = (
            network(torch.from_numpy(patches * times)) for times in (1, 1, -LOUD, LOUD)
        )
        alone = torch.cat([network(torch.from_numpy(patch[None].copy())) for patch in given])
        network(torch.from_numpy(patches))
    if logits.dtype != torch.float32:
        fault = f"returns {logits.dtype}; end with x.float(), as the loss and the package want it"
    elif not logits.isfinite().all():
        fault = "returns values that are not finite for random images"
    elif not np.array_equal(given, patches):
        fault = "changes the images that it is given; let it work on a copy"
    elif not _agree(again, logits):
        fault = (
            "says something else each time it is asked about the same images; after eval() it must "
            "have neither dropout nor noise, and keep nothing of what it has seen"
        )
    elif not _agree(alone, logits):
        fault = (
            "says something else of a patch where others are with it; the service puts patches of "
            "several requests together, so that nothing may be taken over a batch after eval()"
        )
    elif all(_are_probabilities(said) for said in (logits, loud, louder)):
        fault = (
            "returns probabilities, between 0 and 1; return what goes into its last softmax or "
            "sigmoid: the loss and the service apply it"
        )
    else:
        return
    raise ConfigError(f"{name} {fault}")


def _agree(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= AGREEMENT * max(1.0, float(other.abs().max())))


def _are_probabilities(outputs: Float[Tensor, "b k *patch"]) -> bool:
    """A small network may give logits like that by chance, but not of loud images too."""
    return bool(outputs.min() >= 0 and outputs.max() <= 1 and outputs.std() > 0)


def _cause(error: BaseException) -> BaseException:
    """The exporter wraps what a network does into advice about itself."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
