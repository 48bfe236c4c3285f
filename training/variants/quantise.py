"""A float32 ONNX network in 8-bit integers, for CPUs.

Letters: ``b`` patches, ``c`` channels.
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from jaxtyping import Float32
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from tqdm import tqdm

from seg.inference import OnnxBackend
from seg.inference.labels.decision import probabilities_of
from training.variants.probe import Probe

QUANTISED = ("Conv",)
"""Operators in int8. Their neighbours stay float: measured, more of them made it slower."""
JUDGED_WINDOWS = 4
"""By which the damage of one layer is measured."""
MOST_FLOAT_LAYERS = 0.5
"""Share of the layers that may stay float; with more of them int8 is no longer worth its name."""


@dataclass(frozen=True)
class Quantised:
    """An int8 network."""

    model: onnx.ModelProto
    float_layers: tuple[str, ...]
    """Those whose rounding cost too much."""
    dice_lost: float
    """On the windows of the search, against float32."""
    worst: tuple[str, ...] = ()
    """All layers, the one first that does most damage; empty where nobody had to ask."""


class _Patches(CalibrationDataReader):  # type: ignore[misc]  # untyped library
    def __init__(self, patches: Float32[np.ndarray, "b c *patch"]) -> None:
        self._left = iter(patches)

    def get_next(self) -> dict[str, Float32[np.ndarray, "1 c *patch"]] | None:
        patch = next(self._left, None)
        return None if patch is None else {"patches": patch[None]}


def to_int8(
    float32: onnx.ModelProto,
    probe: Probe,
    tolerance: float,
    worst: Sequence[str] = (),
    *,
    progress: bool = True,
) -> Quantised:
    """Static QDQ quantisation, calibrated on the windows; layers that hurt stay float.

    Weights are signed and have one scale a channel, activations are unsigned: what processors with
    VNNI multiply fastest. Without VNNI sums may saturate; the golden samples find that out.

    Args:
        float32: with its weights inside.
        probe: training windows.
        tolerance: Dice that int8 may cost on them. Where it costs more, the layers that do most
            damage when they alone are quantised stay float, one after another.
        worst: layers, the one first that did most damage in a network that this one is a part of;
            found out here where none are given.
        progress: show a bar where there is a terminal.
    """
    with tempfile.TemporaryDirectory() as name, _quiet():
        folder = Path(name)
        prepared = folder / "prepared.onnx"
        onnx.save(float32, folder / "float32.onnx")
        quant_pre_process(str(folder / "float32.onnx"), str(prepared))
        quantiser = _Quantiser(prepared, probe)
        before = probe.dice(OnnxBackend(prepared, provider="cpu", threads=1).run)
        kept: list[str] = []
        lost = before - probe.dice(quantiser.backend(kept).run)
        if lost > tolerance:
            worst = worst or quantiser.by_damage(progress=progress)
            here = [layer for layer in worst if layer in quantiser.layers]
            for layer in here[: int(MOST_FLOAT_LAYERS * len(here))]:
                kept.append(layer)
                lost = before - probe.dice(quantiser.backend(kept).run)
                if lost <= tolerance:
                    break
        return Quantised(onnx.load(quantiser.file), tuple(kept), lost, tuple(worst))


class _Quantiser:
    """One network, quantised again and again with other layers left out."""

    def __init__(self, prepared: Path, probe: Probe) -> None:
        self._prepared = prepared
        self._probe = probe
        self.file = prepared.with_name("int8.onnx")
        graph = onnx.load(prepared).graph
        # by the names of their weights, which the parts of a network share with the whole
        self.layers = {n.input[1]: n.name for n in graph.node if n.op_type in QUANTISED}

    def backend(self, kept: Sequence[str]) -> OnnxBackend:
        """All layers in int8 but those."""
        quantize_static(
            self._prepared,
            self.file,
            _Patches(self._probe.images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[self.layers[layer] for layer in kept],
            calibration_cache_path=self._prepared.with_name("ranges.json"),
        )
        return OnnxBackend(self.file, provider="cpu", threads=1)

    def by_damage(self, *, progress: bool) -> list[str]:
        """Layers, the one first whose rounding alone changes the probabilities most."""
        patches = self._probe.images[:JUDGED_WINDOWS]
        task = self._probe.legend.task
        exact = OnnxBackend(self._prepared, provider="cpu", threads=1)

        def probabilities(backend: OnnxBackend) -> Float32[np.ndarray, "b k *patch"]:
            logits = np.concatenate([backend.run(patch[None]) for patch in patches])
            return probabilities_of(logits, task, axis=1)

        expected = probabilities(exact)
        damage = {}
        bar = tqdm(self.layers, desc="quantising", disable=None if progress else True)
        for layer in bar:
            others = [name for name in self.layers if name != layer]
            damage[layer] = float(np.abs(probabilities(self.backend(others)) - expected).mean())
        return sorted(damage, key=lambda name: damage[name], reverse=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser warns through the root logger of what is meant so here."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
