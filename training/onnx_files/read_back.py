"""A trained network out of a package, to go on with it in torch."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from seg.errors import ConfigError, PackageError
from seg.model_package import ModelPackage
from seg.networks import ForeignConfig, ResidualUNet, SegmentationNetwork, UNetConfig, make_network
from training.onnx_files.write import NETWORK_KEY


def network_in(package: ModelPackage, variant: str | None = None) -> SegmentationNetwork:
    """The network of a float32 variant, with its weights; of the first one where none is named.

    The heads of deep supervision are not in a package.

    Raises:
        PackageError: the package has no such variant.
        ConfigError: its file does not say how the network is built.
    """
    chosen = package.card.variant(variant)
    model = onnx.load(str(package.model_file(chosen.name)))
    about = {entry.key: entry.value for entry in model.metadata_props}.get(NETWORK_KEY)
    if about is None or chosen.precision != "float32":
        raise ConfigError(
            f"variant {chosen.name} of {package.path} holds no network that torch could go on "
            "with: it is quantised or merged, not one of seg's, or of an older version"
        )
    told = json.loads(about)
    network = make_network(_config(_with_tuples(told["config"])))
    network = network.without(chosen.blocks_dropped)
    stored = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    stored |= {name: np.array(values, np.float32) for name, values in told["weights"].items()}
    weights = {}
    for name, tensor in network.state_dict().items():
        if name not in stored:
            raise PackageError(f"{chosen.file} lacks {name}; export the package again")
        weights[name] = torch.from_numpy(stored[name].copy()).reshape(tensor.shape)
    network.load_state_dict(weights)
    return network.eval()


def own_network_in(package: ModelPackage, variant: str | None = None) -> ResidualUNet:
    """The network of a float32 variant, where it is one of seg's own.

    Raises:
        PackageError: the package has no such variant.
        ConfigError: it is another library's network, or its file does not say how it is built.
    """
    network = network_in(package, variant)
    if not isinstance(network, ResidualUNet):
        raise ConfigError(
            f"{package.path} holds a network of another library, and this needs one of seg's own "
            "blocks; give its ONNX file, or train a preset such as resunet-s"
        )
    return network


def _config(fields: dict[str, Any]) -> UNetConfig | ForeignConfig:
    return UNetConfig(**fields) if "features" in fields else ForeignConfig(**fields)


def _with_tuples(value: Any) -> Any:
    """JSON has lists where the configuration has tuples."""
    if isinstance(value, dict):
        return {key: _with_tuples(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(_with_tuples(each) for each in value)
    return value
