"""A float32 ONNX network in float16, as graphics cards compute fastest.

Convolutions, and what only moves or scales numbers, are float16; what adds up a patch is not: the
square of 256 is beyond float16's end, and sums lose their last digits long before. A normalisation
of one piece (``InstanceNormalization``) keeps all of that inside; written out, its squares would be
values of the graph.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KEPT_FLOAT = frozenset(
    {
        *("InstanceNormalization", "LayerNormalization", "GroupNormalization"),
        *("BatchNormalization", "ReduceMean", "ReduceSum", "ReduceL2", "Softmax", "LogSoftmax"),
        *("Pow", "Sqrt", "Reciprocal", "Div", "Exp", "Log", "Erf", "Resize", "Constant", "Cast"),
    }
)
"""Operators that stay in float32."""
LARGEST = float(np.finfo(np.float16).max)

_Types = dict[str, int]


def to_float16(float32: onnx.ModelProto) -> onnx.ModelProto:
    """Weights and activations in float16; input, output and normalisation stay float32.

    Args:
        float32: with its weights inside, and with norms of one piece.
    """
    model = onnx.ModelProto()
    model.CopyFrom(onnx.shape_inference.infer_shapes(float32))
    graph = model.graph
    types: _Types = {v.name: v.type.tensor_type.elem_type for v in _values(graph)}
    types |= {each.name: each.data_type for each in graph.initializer}
    casts = _Casts(graph, types)
    nodes: list[onnx.NodeProto] = []
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        wanted = TensorProto.FLOAT if node.op_type in KEPT_FLOAT else TensorProto.FLOAT16
        for index, name in enumerate(node.input):
            if types.get(name) in (TensorProto.FLOAT, TensorProto.FLOAT16):
                node.input[index] = casts.named(name, wanted, nodes)
        nodes.append(node)
        for index, name in enumerate(node.output):
            if types.get(name) != TensorProto.FLOAT or wanted == TensorProto.FLOAT:
                continue
            if name in outputs:  # stays float32 for whoever reads it
                node.output[index] = inner = f"{name}_float16"
                nodes.append(helper.make_node("Cast", [inner], [name], to=TensorProto.FLOAT))
                types[inner] = wanted
            else:
                types[name] = wanted
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # whose types are those of before
    used = {name for node in nodes for name in node.input}
    kept = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Casts:
    """Values in another type: weights are rounded once, the rest is cast where it is used first."""

    def __init__(self, graph: onnx.GraphProto, types: _Types) -> None:
        self._graph, self._types = graph, types
        self._weights = {each.name: each for each in graph.initializer}
        self._made: dict[tuple[str, int], str] = {}

    def named(self, name: str, wanted: int, nodes: list[onnx.NodeProto]) -> str:
        """The name under which the value is there in the wanted type."""
        if self._types[name] == wanted:
            return name
        if (name, wanted) not in self._made:
            self._made[name, wanted] = self._cast(name, wanted, nodes)
        return self._made[name, wanted]

    def _cast(self, name: str, wanted: int, nodes: list[onnx.NodeProto]) -> str:
        other = f"{name}_{'float16' if wanted == TensorProto.FLOAT16 else 'float32'}"
        if name in self._weights:
            values = numpy_helper.to_array(self._weights[name]).clip(-LARGEST, LARGEST)
            rounded = numpy_helper.from_array(values.astype(np.float16), other)
            self._graph.initializer.append(rounded)
        else:
            nodes.append(helper.make_node("Cast", [name], [other], to=wanted))
        self._types[other] = wanted
        return other


def _values(graph: onnx.GraphProto) -> Iterable[onnx.ValueInfoProto]:
    return (*graph.input, *graph.value_info, *graph.output)
