"""What is wanted of a mask: some of its classes, from which probability on, and split how."""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from seg.errors import ConfigError
from seg.images import ClassInfo, ImageSource
from seg.images.outlines.roi import RegionOfInterest
from seg.model_package import ModelCard


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Classes and the cut of a mask; by default all, each where the network decides for it.

    Exclusive classes are decided first and left out then, so a class that stays has the voxels that
    it has in the whole mask. Regions may overlap: one that is not wanted hides no other.
    """

    classes: tuple[str, ...] = ()
    """Names of the classes that stay; none stands for all."""
    threshold: float | None = None
    """In (0, 1). A region has the voxels with a probability above it, and so has the foreground of
    two exclusive classes. Of more exclusive classes the likeliest gets a voxel where its
    probability is above it, else the background. Probabilities are those of
    ``Predictor.predict_probabilities``. None is one half, and the likeliest class."""
    split: bool = field(default=False, repr=False)
    """Split objects that touch by their shape, of a model that does not tell them apart itself."""
    region: RegionOfInterest | None = field(default=None, repr=False)
    """Of pictures: what lies outside is background, and no network is asked about it."""

    def region_on(self, image: ImageSource) -> RegionOfInterest | None:
        """The region in pixels of an image.

        Raises:
            ImageError: it is in mm, and how large a pixel is is not known.
        """
        return None if self.region is None else self.region.on(image.spacing, image.reduction)

    def check(self, card: ModelCard) -> None:
        """Hold it against a model.

        Raises:
            ConfigError: the model has no such class, no probability can lie at the cut, nothing is
                left to be split, or a region is asked for of volumes.
        """
        if self.region is not None and card.input.dims != 2:
            raise ConfigError("a region is of pictures, and this model segments volumes")
        known = [info.name for info in card.classes[1:]]
        for name in self.classes:
            if name not in known:
                raise ConfigError(
                    f"no class {name[:40]!r} in this model; it has {', '.join(known)}"
                )
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ConfigError(f"threshold must lie between 0 and 1, got {self.threshold:g}")
        if self.split and card.instances and card.instances.encoding != "components":
            raise ConfigError(
                "this model tells objects that touch apart by itself, as it was trained to; "
                "split is for models of classes alone: leave it out"
            )

    def wants(self, info: ClassInfo) -> bool:
        """Whether a class stays."""
        return not self.classes or info.name in self.classes

    def classes_of(self, card: ModelCard) -> tuple[ClassInfo, ...]:
        """Background and the classes that stay, with the indices that they have in the model."""
        return tuple(info for info in card.classes if info.index == 0 or self.wants(info))

    def outputs_of(self, card: ModelCard) -> list[int]:
        """Channels of logits whose classes stay; the background's only where all do."""
        first = len(card.classes) - card.outputs
        return [info.index - first for info in card.classes[first:] if self.wants(info)]

    def channels_of(self, card: ModelCard) -> tuple[str, ...]:
        """Names of these channels."""
        first = len(card.classes) - card.outputs
        return tuple(card.classes[first + channel].name for channel in self.outputs_of(card))

    def applied(
        self, labels: UInt8[np.ndarray, "*spatial"], classes: Collection[ClassInfo]
    ) -> UInt8[np.ndarray, "*spatial"]:
        """Labels without the classes that are not wanted."""
        if not self.classes:
            return labels
        kept = np.zeros(len(classes), np.uint8)
        for info in classes:
            if self.wants(info):
                kept[info.index] = info.index
        return np.asarray(kept[labels])


EVERYTHING = Selection()
