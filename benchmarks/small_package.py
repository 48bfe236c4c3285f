"""A model package around a network that was never trained.

Of two convolutions where nothing else is given: a real network that costs next to nothing.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from seg.files import sha256_of
from seg.images import ClassInfo
from seg.model_package import (
    Channel,
    GoldenSamples,
    InputSpec,
    ModelCard,
    ModelPackage,
    Provenance,
    TrainingFingerprint,
    Variant,
    write_card,
    write_golden,
)
from seg.transforms import Normalisation, Preprocessing


def write_package(
    folder: Path,
    patch: tuple[int, ...],
    channels: int,
    classes: int,
    spacing: tuple[float, ...] | None = None,
    network: Callable[[Path], None] | None = None,
) -> ModelPackage:
    """Write a package for images of 8 bits; ``spacing`` in mm; ``network`` writes ONNX."""
    folder.mkdir(parents=True)
    file = folder / "network.onnx"
    if network:
        network(file)
    else:
        onnx.save(two_convolutions(patch, channels, classes), file)
    patches = np.random.default_rng(0).uniform(size=(1, channels, *patch)).astype(np.float32)
    (logits,) = ort.InferenceSession(file).run(["logits"], {"patches": patches})
    golden = write_golden(folder, GoldenSamples(patches, logits))
    rule = Normalisation(kind="rescale", low=0, high=255)
    card = ModelCard(
        name="small",
        version="1",
        classes=tuple(
            ClassInfo(index=i, name=f"class {i}", color=(i, i, i)) for i in range(classes)
        ),
        input=InputSpec(
            channels=tuple(Channel(name=str(i)) for i in range(channels)),
            patch=patch,
            preprocessing=Preprocessing(spacing=spacing, normalisation=(rule,) * channels),
        ),
        variants=(Variant(name="full", file=file.name, sha256=sha256_of(file)),),
        golden_sha256=golden,
        fingerprint=TrainingFingerprint(
            cases=1, shape=((1, 10**6),) * len(patch), intensity=((0, 255),) * channels
        ),
        provenance=Provenance(
            created="", seed=0, dataset="", dataset_sha256="", command="", versions={}
        ),
    )
    write_card(folder, card)
    return ModelPackage.load(folder)


def write_endless(folder: Path, patch: tuple[int, ...]) -> ModelPackage:
    """One of two classes whose network never comes back over a patch of mean ``BRIGHT``."""
    model = _endless(patch)
    return write_package(folder, patch, 1, 2, network=lambda file: onnx.save(model, file))


BRIGHT = 0.95


def _endless(patch: tuple[int, ...]) -> onnx.ModelProto:
    """As `two_convolutions`, and a loop."""
    value = helper.make_tensor_value_info
    turn = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["again"]),
            helper.make_node("Identity", ["x"], ["y"]),
        ],
        "turn",
        [value("n", TensorProto.INT64, []), value("go", TensorProto.BOOL, []),
         value("x", TensorProto.FLOAT, [])],
        [value("again", TensorProto.BOOL, []), value("y", TensorProto.FLOAT, [])],
    )  # fmt: skip
    model = two_convolutions(patch, 1, 2)
    model.graph.node[-1].output[0] = "decided"
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["patches"], ["mean"], keepdims=0),
            helper.make_node("Greater", ["mean", "bright"], ["is bright"]),
            helper.make_node("Loop", ["turns", "is bright", "none"], ["nothing"], body=turn),
            helper.make_node("Add", ["decided", "nothing"], ["logits"]),
        ]
    )
    constants = {"bright": np.float32(BRIGHT), "turns": np.int64(2**62), "none": np.float32(0)}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(each), name) for name, each in constants.items()
    )
    onnx.checker.check_model(model)
    return model


def two_convolutions(
    patch: tuple[int, ...], channels: int, classes: int, width: int = 4
) -> onnx.ModelProto:
    """3x3 convolution, ReLU, 1x1 convolution."""
    rng, dims = np.random.default_rng(1), len(patch)
    weights = {
        "look": rng.normal(size=(width, channels, *(3,) * dims)),
        "decide": rng.normal(size=(classes, width, *(1,) * dims)),
    }
    nodes = [
        helper.make_node("Conv", ["patches", "look"], ["seen"], pads=[1] * (2 * dims)),
        helper.make_node("Relu", ["seen"], ["kept"]),
        helper.make_node("Conv", ["kept", "decide"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["b", channels, *patch])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", classes, *patch])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
