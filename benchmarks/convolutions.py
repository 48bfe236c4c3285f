"""A plain network that costs as much as is asked: 3x3 convolutions with ReLU, then one of 1x1."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass(frozen=True)
class Convolutions:
    """Writes the network as ONNX, for patches of one channel."""

    patch: tuple[int, ...]
    classes: int
    width: int
    layers: int

    def __call__(self, file: Path) -> None:
        """Write it."""
        rng, dims = np.random.default_rng(1), len(self.patch)
        weights, nodes, seen, channels = {}, [], "patches", 1
        for layer in range(self.layers):
            look, found, kept = f"look {layer}", f"found {layer}", f"kept {layer}"
            shape = (self.width, channels, *(3,) * dims)
            weights[look] = rng.normal(size=shape) / (channels * 3**dims) ** 0.5
            nodes += [
                helper.make_node("Conv", [seen, look], [found], pads=[1] * (2 * dims)),
                helper.make_node("Relu", [found], [kept]),
            ]
            seen, channels = kept, self.width
        weights["decide"] = rng.normal(size=(self.classes, channels, *(1,) * dims))
        nodes.append(helper.make_node("Conv", [seen, "decide"], ["logits"]))
        graph = helper.make_graph(
            nodes,
            "convolutions",
            [helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["b", 1, *self.patch])],
            [
                helper.make_tensor_value_info(
                    "logits", TensorProto.FLOAT, ["b", self.classes, *self.patch]
                )
            ],
            [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
        )
        opset = [helper.make_opsetid("", 18)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), file)
