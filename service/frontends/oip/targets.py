"""Models as the protocol shows them, and their answers as tensors."""

from dataclasses import dataclass

import numpy as np

from seg.model_package import ModelCard
from service.answers.answer import SegmentedImage
from service.frontends.oip.tensors import AnswerTensor, TensorSpec
from service.models.versions import ModelVersion
from service.routes.patches import MOST_PATCHES

PATCHES = ".patches"
"""End of the name under which a model takes prepared patches."""
MASK, SPACING, CLASSES = "mask", "spacing", "classes"


@dataclass(frozen=True, eq=False)
class OfferedModel:
    """A model as the protocol shows it."""

    version: ModelVersion
    takes_patches: bool

    @property
    def card(self) -> ModelCard:
        """What its package says."""
        return self.version.card

    @property
    def name(self) -> str:
        """As clients call it."""
        return self.card.name + (PATCHES if self.takes_patches else "")

    @property
    def input(self) -> TensorSpec:
        """The one tensor that it takes."""
        spec = self.card.input
        if self.takes_patches:
            return TensorSpec("patches", "FP32", (-1, len(spec.channels), *spec.patch))
        return TensorSpec("image", "BYTES", (1 if len(spec.channels) == 1 else -1,))

    @property
    def label(self) -> tuple[str, str]:
        """Name and version."""
        return self.name, self.card.version

    @property
    def most_items(self) -> int:
        """Along the input's first axis."""
        return MOST_PATCHES if self.takes_patches else len(self.card.input.channels)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tensors that it answers."""
        spec = self.card.input
        if self.takes_patches:
            return (TensorSpec("logits", "FP32", (-1, self.card.logits, *spec.patch)),)
        return (
            TensorSpec(MASK, "UINT8", (-1,) * spec.dims),
            TensorSpec(SPACING, "FP32", (-1,)),
            TensorSpec(CLASSES, "BYTES", (len(_class_names(self.card)),)),
        )


def mask_tensors(found: SegmentedImage, card: ModelCard) -> list[AnswerTensor]:
    """A mask as the tensors that its model answers."""
    mask = found.segmentation.mask
    names = [name.encode() for name in _class_names(card)]
    return [
        AnswerTensor(MASK, np.ascontiguousarray(mask.array.astype(np.uint8))),
        AnswerTensor(SPACING, np.asarray(mask.spacing or (), np.float32)),
        AnswerTensor(CLASSES, names),
    ]


def _class_names(card: ModelCard) -> list[str]:
    """By the numbers in masks; a number of no class has an empty name."""
    names = {each.index: each.name for each in card.classes}
    return [names.get(index, "") for index in range(max(names) + 1)]
