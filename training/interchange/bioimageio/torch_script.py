"""A network as TorchScript, which DJL runs in QuPath, proven against the ONNX file."""

import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from seg.errors import ConfigError
from seg.model_package import ModelPackage
from training.onnx_files.read_back import network_in

TOLERANCE = 1e-3
"""Largest deviation from the logits of the ONNX file, of their largest size."""


def write_torch_script(
    package: ModelPackage,
    name: str,
    logits: Float32[np.ndarray, "1 k *patch"],
    patches: Float32[np.ndarray, "1 c *patch"],
    target: Path,
) -> str:
    """Write a network, for batches of any size; the version of torch that wrote it.

    Args:
        package: that holds the network.
        name: of its variant.
        logits: of the ONNX file, for these patches.
        patches: prepared.
        target: file to write.

    Raises:
        ConfigError: the package does not say how the network is built, or the script answers
            otherwise than the ONNX file.
        PackageError: the package is damaged.
    """
    network = network_in(package, name)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's, that scripts are old
        traced = torch.jit.trace(network, torch.from_numpy(patches), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, target)
        script = torch.jit.load(target)  # type: ignore[no-untyped-call]
        two = script(torch.from_numpy(np.concatenate([patches[:, ..., ::-1], patches]))).numpy()
    apart = float(np.abs(two[1:] - logits).max())
    if apart > TOLERANCE * max(1.0, float(np.abs(logits).max())):
        target.unlink()
        raise ConfigError(f"as TorchScript the network answers otherwise, by up to {apart:.2g}")
    return torch.__version__.partition("+")[0]
