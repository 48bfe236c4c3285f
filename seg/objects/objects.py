"""``Objects``: things of which each is one, not a class of voxels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, UInt8, UInt32
from scipy import ndimage

from seg.images import Affine, ClassInfo, Mask, Spacing
from seg.images.outlines.roi import RegionOfInterest
from seg.objects.counting import Count

Box = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects of an image, numbered from 1 in the order of their first voxels."""

    labels: UInt32[np.ndarray, "*spatial"]
    """The object's number in each voxel; 0 where none is."""
    classes: UInt8[np.ndarray, " n"]
    """Class index of each, object 1 first."""
    probabilities: Float32[np.ndarray, " n"]
    """Of being right, calibrated; NaN where the model can't say."""
    kinds: tuple[ClassInfo, ...]
    """Classes whose objects were looked for."""
    counts: Mapping[str, Count] = field(default_factory=dict)
    """By class name."""
    spacing: Spacing | None = None
    affine: Affine | None = None
    reduction: tuple[float, ...] | None = None
    """Pixels of the image's file for each of these, where it was read at another resolution."""
    region: RegionOfInterest | None = None
    """On this grid, where nothing else was segmented: objects are cut at its border."""
    source: str = "image"
    """Name of the image's file, for formats that refer to it."""
    are_told_apart: bool = True
    """False where objects that touch are one: the model knows classes only."""
    notes: tuple[str, ...] = ()
    """What is to be said of how they were found."""

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def dims(self) -> int:
        """2 or 3."""
        return self.labels.ndim

    @property
    def mask(self) -> Mask:
        """The label image on its grid, for formats that hold 32 bits."""
        return Mask(self.labels, spacing=self.spacing, affine=self.affine, reduction=self.reduction)

    def boxes(self) -> Sequence[Box | None]:
        """Around each object, object 1 first."""
        return ndimage.find_objects(self.labels.astype(np.int32), max_label=len(self))

    def name_of(self, number: int) -> str:
        """The class of an object, by its number."""
        index = int(self.classes[number - 1])
        return next(each.name for each in self.kinds if each.index == index)

    @property
    def total(self) -> Count:
        """All classes together, whose intervals are added up as if they erred as one."""
        intervals = [each.interval for each in self.counts.values()]
        if not intervals or any(each is None for each in intervals):
            return Count(len(self))
        known = [each for each in intervals if each is not None]
        return Count(len(self), (sum(low for low, _ in known), sum(high for _, high in known)))
