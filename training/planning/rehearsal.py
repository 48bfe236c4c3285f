"""Whether a network of another library can be written as ONNX, before any minute is spent on it."""

import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from seg.errors import ConfigError
from seg.inference import OnnxBackend
from seg.networks import UNetConfig, make_network
from seg.networks.foreign.config import ForeignConfig
from seg.networks.foreign.own_code import names_own_code
from training.onnx_files.proof import reference_logits
from training.onnx_files.write import SAMPLES_A_BATCH, write_onnx

TIMES_THE_MULTIPLE = 2
"""Edge of the patches: some norms want more than one voxel at the bottleneck."""
AGREEMENT = 1e-3
"""Of logits, of the largest: random weights may give large ones. The package's proof is strict."""


def rehearse_export(name: str, config: UNetConfig | ForeignConfig) -> None:
    """Write the network with random weights, and ask the file.

    Raises:
        ConfigError: its operations are none of ONNX's, or mean another thing there.
    """
    network = make_network(config).eval()
    edges = [TIMES_THE_MULTIPLE * stride for stride in config.total_stride]
    shape = (SAMPLES_A_BATCH, config.in_channels, *edges)
    patches = np.random.default_rng(0).standard_normal(shape, np.float32)
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


def _are_probabilities(outputs: Float32[np.ndarray, "b k *patch"]) -> bool:
    """Logits of random weights for random images have both signs, and values above 1."""
    return bool(outputs.min() >= 0 and outputs.max() <= 1 and outputs.std() > 0)


def _cause(error: BaseException) -> BaseException:
    """The exporter wraps what a network does into advice about itself."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
