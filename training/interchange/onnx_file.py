"""A segmentation network as ONNX, described by the user. Letters: ``b`` batch, ``c`` channels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError
from jaxtyping import Float32
from onnx import helper, numpy_helper

from seg.errors import ConfigError
from seg.files import sha256_of
from training.interchange.adopted_package import Adopted
from training.interchange.described import Activation, Description
from training.packaging.writer import Network

SMALLEST_PROBABILITY = 1e-7


class OnnxNetwork(Network):
    """An ONNX file whose patch is fixed and whose last layer gives logits."""

    def __init__(self, file: Path, description: Description) -> None:
        """Read the file.

        Raises:
            ConfigError: it is no segmentation network, or its patch is not known.
        """
        self._file = file
        self._model = _read(file)
        self._activation: Activation = description.activation
        self.patch = _patch(self._model, description, file)

    def logits(
        self, patches: Float32[np.ndarray, "b c *patch"]
    ) -> Float32[np.ndarray, "b k *patch"]:
        """What the file as it was says, patch by patch.

        Raises:
            ConfigError: it cannot be run.
        """
        try:
            session = ort.InferenceSession(str(self._file), providers=["CPUExecutionProvider"])
            name = session.get_inputs()[0].name
            said = np.concatenate([session.run(None, {name: p[None]})[0] for p in patches])
        except Exception as error:  # onnxruntime raises a class of its own for each status code
            raise ConfigError(f"{self._file} cannot be run: {error}") from error
        return np.asarray(_logits_of(said, self._activation), np.float32)

    def write(self, patches: Float32[np.ndarray, "b c *patch"], file: Path) -> None:
        """The file with a fixed patch, any batch size and logits."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        del graph.value_info[:]
        _set_shape(_input(model), ["batch", int(patches.shape[1]), *self.patch])
        outputs = self.logits(patches[:1]).shape[1]
        first = graph.output[0]
        if self._activation != "none":
            graph.node.extend(_back_to_logits(self._activation, first.name, graph))
            first = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None)
        del graph.output[:]
        graph.output.append(first)
        _set_shape(graph.output[0], ["batch", outputs, *self.patch])
        onnx.save(model, file)


def adopt_onnx(file: Path, description: Description) -> tuple[Adopted, list[str]]:
    """The model, and sentences on what a user should know.

    Raises:
        ConfigError: the file is no segmentation network, or does not fit its description.
    """
    network = OnnxNetwork(file, description)
    probe = np.zeros((1, len(description.channels), *network.patch), np.float32)
    shape = network.logits(probe).shape
    if shape != (1, description.outputs, *network.patch):
        raise ConfigError(
            f"{file} answers a patch of {network.patch} with {shape}, but {description.outputs} "
            f"channels of the patch's size are described ({', '.join(description.classes)}, "
            f"{description.task})"
        )
    model = Adopted(
        name=description.name,
        task=description.task,
        classes=description.class_infos,
        input=description.input_spec(network.patch),
        networks={"full": network},
        fingerprint=description.fingerprint(len(network.patch)),
        postprocessing=description.postprocessing,
        licence=description.licence,
        source_sha256=sha256_of(file),
    )
    return model, ["preprocessing is what spec.yaml says; nobody can check it against the training"]


def _read(file: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(str(file))
        onnx.checker.check_model(model)
    except (OSError, ValueError, DecodeError, onnx.checker.ValidationError) as error:
        raise ConfigError(f"{file} is no ONNX file that can be read: {error}") from error
    return model


def _input(model: onnx.ModelProto) -> Any:
    constants = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs)
        raise ConfigError(f"the network needs one input, (b, c, *patch), it has {names or 'none'}")
    return inputs[0]


def _patch(model: onnx.ModelProto, description: Description, file: Path) -> tuple[int, ...]:
    entry = _input(model).type.tensor_type
    sizes = [dim.dim_value or None for dim in entry.shape.dim]
    if entry.elem_type != onnx.TensorProto.FLOAT or len(sizes) not in (4, 5):
        raise ConfigError(
            f"{file} takes {len(sizes)} axes of type {entry.elem_type}; adopted are float32 "
            "networks of (b, c, y, x) or (b, c, z, y, x)"
        )
    channels = len(description.channels)
    if sizes[1] not in (None, channels):
        raise ConfigError(
            f"{file} takes {sizes[1]} channels as its second axis, {channels} are described; a "
            "network with channels last must be exported with channels first"
        )
    wanted = description.patch
    if wanted is None and None in sizes[2:]:
        raise ConfigError(f"{file} takes patches of any size; say which in spec.yaml: patch: [...]")
    fixed = tuple(sizes[2:]) if wanted is None else wanted
    if len(fixed) != len(sizes) - 2 or any(
        has not in (None, want) for has, want in zip(sizes[2:], fixed, strict=True)
    ):
        raise ConfigError(f"{file} takes patches of {sizes[2:]}, described are {fixed}")
    return tuple(int(n) for n in fixed if n)


def _set_shape(value: Any, sizes: Sequence[int | str]) -> None:
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for size in sizes:
        dim = shape.dim.add()
        if isinstance(size, int):
            dim.dim_value = size
        else:
            dim.dim_param = size


def _logits_of(said: np.ndarray, activation: Activation) -> np.ndarray:
    """Logits whose softmax or sigmoid is what was said."""
    if activation == "none":
        return said
    said = np.clip(said, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return np.asarray(np.log(said) - (np.log1p(-said) if activation == "sigmoid" else 0))


def _back_to_logits(activation: Activation, name: str, graph: Any) -> list[onnx.NodeProto]:
    limits = {"smallest": SMALLEST_PROBABILITY, "largest": 1 - SMALLEST_PROBABILITY, "one": 1.0}
    for key, value in limits.items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), f"seg_{key}"))
    clipped = helper.make_node("Clip", [name, "seg_smallest", "seg_largest"], ["seg_clipped"])
    if activation == "softmax":
        return [clipped, helper.make_node("Log", ["seg_clipped"], ["logits"])]
    return [
        clipped,
        helper.make_node("Sub", ["seg_one", "seg_clipped"], ["seg_rest"]),
        helper.make_node("Div", ["seg_clipped", "seg_rest"], ["seg_odds"]),
        helper.make_node("Log", ["seg_odds"], ["logits"]),
    ]
