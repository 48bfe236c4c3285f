"""Tiny model packages for tests: real networks, really run, whose masks a person can foretell."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from seg.files import sha256_of, written_whole
from seg.images import ClassInfo
from seg.model_package import (
    Channel,
    CountCalibration,
    GoldenSamples,
    InputSpec,
    Instances,
    ModelCard,
    ObjectRule,
    Provenance,
    ScoreCalibration,
    Task,
    TrainingFingerprint,
    Variant,
    write_card,
    write_golden,
)
from seg.transforms import Normalisation, Preprocessing

CLASSES = (
    ClassInfo(index=0, name="background", color=(0, 0, 0)),
    ClassInfo(index=1, name="cytoplasm", color=(0, 160, 0)),
    ClassInfo(index=2, name="nucleus", color=(200, 0, 0)),
)
LEVELS = (0.1, 0.5, 0.8)
"""A voxel gets the class whose level is nearest to its smoothed intensity / 255."""
THRESHOLDS = (0.3, 0.65)
"""Of regions, a voxel lies in each whose threshold its smoothed intensity / 255 exceeds."""
TOIL, TOIL_CHANNELS = 8, 32
"""Convolutions of a slow network."""
OBJECT_HEIGHT = 0.85
INSTANCES = Instances(
    encoding="distance",
    channels_for=("distance",),
    rules={
        info.name: ObjectRule(
            seed=0.4 if info.index == 1 else OBJECT_HEIGHT,
            probability=ScoreCalibration(scores=(0.0, 1.0), probabilities=(0.2, 1.0), objects=50),
            count=CountCalibration(ratio=1.0, dispersion=0.5, spread=0.05, images=4),
        )
        for info in CLASSES[1:]
    },
    halo=16,
    fitted_on="nothing",
)
SPARK = 250
"""A fragile network fails on a batch with an intensity above this."""


def write_package(
    target: Path,
    *,
    patch: Sequence[int] = (32, 32),
    channels: int = 1,
    fragile: bool = False,
    slow: bool = False,
    task: Task = "exclusive",
    lopsided: bool = False,
    classes: Sequence[dict[str, object]] = (),
    objects: bool = False,
    mixing: bool = False,
    **input_fields: object,
) -> Path:
    """Write a package of a network that smooths its first channel and compares with LEVELS.

    Regions are compared with THRESHOLDS. Golden logits come from onnx's own evaluator, not from the
    runtime that is tested. A slow one takes longer than what is done around it, as real ones do.
    A lopsided one looks otherwise to each side of a voxel, so that every mirror and every exchange
    of axes changes what it says. One with objects says that a voxel lies as deep in its object as
    it is bright, and seeds have OBJECT_HEIGHT at least. A mixing one compares with the mean of all
    that it is asked for together, and its golden samples are what it says of each alone.
    ``input_fields`` are those of ``InputSpec``.
    """
    model = _network(
        tuple(patch), channels, fragile, task, slow=slow, lopsided=lopsided, objects=objects
    )
    if mixing:
        _mix(model)
    patches = np.random.default_rng(0).uniform(0, 0.9, (3, channels, *patch)).astype(np.float32)
    evaluator = ReferenceEvaluator(model)
    logits = np.concatenate([evaluator.run(None, {"patches": each[None]})[0] for each in patches])
    with written_whole(target) as folder:
        onnx.save(model, folder / "network.onnx")
        golden = write_golden(folder, GoldenSamples(patches, logits))
        card = _card(tuple(patch), channels, sha256_of(folder / "network.onnx"), golden)
        fields = {**card.model_dump(), "task": task}
        fields["input"] |= input_fields
        fields["classes"] = classes or fields["classes"]
        fields["instances"] = INSTANCES.model_dump() if objects else None
        write_card(folder, ModelCard.model_validate(fields))
    return target


def _network(
    patch: tuple[int, ...],
    channels: int,
    fragile: bool,
    task: Task = "exclusive",
    *,
    slow: bool = False,
    lopsided: bool = False,
    objects: bool = False,
) -> onnx.ModelProto:
    dims = len(patch)
    smooth = np.zeros((1, channels, *(3,) * dims), np.float32)
    weights_of_sides = np.ones(3**dims)
    if lopsided:
        weights_of_sides = np.random.default_rng(1).uniform(0, 1, 3**dims) ** 8
    smooth[:, 0] = (weights_of_sides / weights_of_sides.sum()).reshape((3,) * dims)
    if task == "regions":
        slope, offset = np.full(len(THRESHOLDS), 20.0), -20 * np.array(THRESHOLDS)
    else:  # -(x - level)² without x²: linear in x, and largest for the nearest level
        levels = np.array(LEVELS)
        slope, offset = 40 * levels, -20 * levels**2
    if objects:  # depths, one a class: the intensity itself
        slope, offset = np.append(slope, [1, 1]), np.append(offset, [0, 0])
    weights = {
        "smooth": smooth,
        "slope": slope.astype(np.float32).reshape(-1, *(1,) * (dims + 1)),
        "offset": offset.astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["patches", "smooth"], ["smoothed"], pads=[1] * (2 * dims)),
        helper.make_node("Conv", ["smoothed", "slope", "offset"], ["bands"]),
    ]
    if slow:
        nodes[:0] = _toil(weights, channels, dims)
        nodes[-1].output[0] = "bands alone"
        nodes.append(helper.make_node("Add", ["bands alone", "nothing of it"], ["bands"]))
    if fragile:
        nodes += _fuse(weights)
    else:
        nodes.append(helper.make_node("Identity", ["bands"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "nearest_level",
        [helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["b", channels, *patch])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", len(slope), *patch])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    onnx.checker.check_model(model)
    return model


def _toil(weights: dict[str, np.ndarray], channels: int, dims: int) -> list[onnx.NodeProto]:
    """Nodes that compute for a while, to add 0 in the end."""
    inputs = ["patches", *(f"toil {n}" for n in range(TOIL))]
    for n in range(TOIL):
        into = channels if n == 0 else TOIL_CHANNELS
        kernel = np.full((TOIL_CHANNELS, into, *(3,) * dims), 1 / (into * 3**dims), np.float32)
        weights[f"kernel {n}"] = kernel
    weights["none"] = np.zeros(1, np.float32)
    return [
        *(
            helper.make_node(
                "Conv", [inputs[n], f"kernel {n}"], [inputs[n + 1]], pads=[1] * (2 * dims)
            )
            for n in range(TOIL)
        ),
        helper.make_node("Mul", [inputs[-1], "none"], ["nothing of any"]),
        helper.make_node("ReduceMax", ["nothing of any"], ["nothing of it"], keepdims=0),
    ]


def _mix(model: onnx.ModelProto) -> None:
    """Multiply the logits by their mean over all patches of a run."""
    graph = model.graph
    graph.node[-1].output[0] = "unmixed"
    graph.node.extend(
        [
            helper.make_node("ReduceMean", ["unmixed"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["unmixed", "mean"], ["logits"]),
        ]
    )


def _fuse(weights: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    """Nodes that look up entry 1 of a table of one entry when any intensity is above SPARK."""
    weights["spark"] = np.array(SPARK / 255, np.float32)
    weights["table"] = np.zeros(1, np.float32)
    return [
        helper.make_node("ReduceMax", ["patches"], ["brightest"], keepdims=0),
        helper.make_node("Greater", ["brightest", "spark"], ["sparks"]),
        helper.make_node("Cast", ["sparks"], ["entry"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "entry"], ["nothing"]),
        helper.make_node("Add", ["bands", "nothing"], ["logits"]),
    ]


def _card(patch: tuple[int, ...], channels: int, network: str, golden: str) -> ModelCard:
    return ModelCard(
        name="nearest-level",
        version="1",
        classes=CLASSES,
        input=InputSpec(
            channels=tuple(Channel(name=f"channel {n}") for n in range(channels)),
            patch=patch,
            preprocessing=Preprocessing(
                normalisation=(Normalisation(kind="rescale", low=0, high=255),) * channels
            ),
        ),
        variants=(Variant(name="float32", file="network.onnx", sha256=network),),
        golden_sha256=golden,
        fingerprint=TrainingFingerprint(
            cases=1, shape=((16, 512),) * len(patch), intensity=((0, 255),) * channels
        ),
        provenance=Provenance(
            created="2026-01-01T00:00:00Z",
            seed=0,
            dataset="none",
            dataset_sha256="0" * 64,
            command="tests",
            versions={},
        ),
    )
