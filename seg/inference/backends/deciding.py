"""Labels that are taken where the network runs, so that its logits stay there.

Of ``k`` classes logits are 4 ``k`` bytes a voxel. Where nobody blends, resamples or maps them, what
is made of them is a label, how likely it is and how unsure the network was: 5 bytes. A small ONNX
graph of its own makes it of the logits on the card (``exclusive_head.txt``; the file beside it is
what onnx makes of that text). Letters: ``b`` batch, ``c`` channels, ``k`` classes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float16, Float32, UInt8

from seg.inference.labels.decision import labels_of, probabilities_of
from seg.inference.labels.entropy import voxel_entropy

HEAD = Path(__file__).parent / "exclusive_head.onnx"


@dataclass(frozen=True, eq=False, slots=True)
class Decided:
    """What logits of exclusive classes say of a patch."""

    labels: UInt8[np.ndarray, "*patch"]
    likeliest: Float16[np.ndarray, "*patch"]
    """Probability of the label."""
    entropy: Float16[np.ndarray, "*patch"]
    """Of the calibrated probabilities, in [0, 1]."""
    mass: Float32[np.ndarray, " k"]
    """Sum of each class's probability over the voxels that count."""


def decided_by(
    logits: Float[np.ndarray, "k *patch"],
    inside: UInt8[np.ndarray, "*patch"],
    temperature: float,
) -> Decided:
    """The same on the host."""
    probabilities = probabilities_of(logits)
    entropy = voxel_entropy(probabilities_of(logits / np.float32(temperature)))
    mass = (probabilities * inside).reshape(len(logits), -1).sum(axis=1, dtype=np.float64)
    return Decided(
        labels_of(logits),
        probabilities.max(axis=0).astype(np.float16),
        entropy.astype(np.float16),
        mass.astype(np.float32),
    )
