"""One file of weights for many ONNX files: equal tensors are stored once.

A network without some blocks has the weights that it has left in common with the whole one, so
its own file holds the graph alone.
"""

from collections.abc import Iterable
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import set_external_data

LEAST_BYTES = 1024
"""Smaller tensors stay in the graph."""
ALIGNMENT = 64
"""Of each tensor in the file; onnxruntime can then use it where it is mapped."""


def share_weights(models: Iterable[tuple[onnx.ModelProto, Path]], weights: Path) -> None:
    """Write each model to its path, and the weights of all of them to ``weights``.

    Args:
        models: with their weights inside, and where each is written, in the folder of ``weights``.
        weights: the file.
    """
    places: dict[bytes, tuple[int, int]] = {}
    with weights.open("wb") as file:
        for model, path in models:
            for tensor in model.graph.initializer:
                raw = numpy_helper.to_array(tensor).tobytes()
                if len(raw) < LEAST_BYTES:
                    continue
                if raw not in places:
                    file.write(b"\0" * (-file.tell() % ALIGNMENT))
                    places[raw] = (file.tell(), len(raw))
                    file.write(raw)
                _point(tensor, weights.name, places[raw])
            path.write_bytes(model.SerializeToString())


def _point(tensor: TensorProto, name: str, place: tuple[int, int]) -> None:
    offset, length = place
    described = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    tensor.CopyFrom(described)
    tensor.raw_data = b""  # set_external_data wants the field to be there
    set_external_data(tensor, name, offset, length)
    tensor.ClearField("raw_data")


def referenced_bytes(model: Path) -> int:
    """Bytes of weights outside of its own file that an ONNX file uses."""
    graph = onnx.load(model, load_external_data=False).graph
    return sum(
        int(entry.value)
        for tensor in graph.initializer
        for entry in tensor.external_data
        if entry.key == "length"
    )
