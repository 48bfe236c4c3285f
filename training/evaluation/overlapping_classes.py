"""Where a network decides on each of several overlapping classes, before one mask is painted."""

import numpy as np
from jaxtyping import Bool, UInt8

from seg.images import Mask
from seg.inference.tiling.blending import Slab
from seg.model_package import ModelCard, Postprocessing
from training.dataset import IGNORE


class Decisions:
    """Sees the slabs of one image.

    One mask can't hold all combinations of classes: where two cross, one is painted over the other,
    and a score of the mask would be too low. Where labels are changed after the network, or where
    classes exclude each other, the mask alone says what the model says.
    """

    def __init__(self, card: ModelCard, reference: Mask) -> None:
        asked = card.task == "regions" and card.postprocessing == Postprocessing()
        names = [info.name for info in card.classes[1:]] if asked else []
        self._annotated = reference.array != IGNORE
        self._inside = {name: np.zeros(reference.spatial_shape, bool) for name in names}

    def __call__(self, slab: Slab, labels: UInt8[np.ndarray, "*slab"]) -> None:
        """Take the next rows."""
        for channel, inside in zip(slab.logits, self._inside.values(), strict=False):
            inside[slab.start : slab.stop] = channel > 0

    @property
    def regions(self) -> dict[str, Bool[np.ndarray, "*spatial"]]:
        """By the names of classes, on annotated voxels; none where the mask says all."""
        return {name: inside & self._annotated for name, inside in self._inside.items()}
