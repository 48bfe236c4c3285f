"""What is measured of a mask that comes slab by slab. Letters: ``c`` channels, ``k`` classes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Integer, Real
from scipy import ndimage

from seg.images.measures.summary import count_labels


@dataclass(slots=True)
class ClassTally:
    """What is known of one class so far."""

    count: int = 0
    sums: list[float] = field(default_factory=list)
    """Of the intensities of each channel."""
    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    """Of the bounding box, both inside."""
    components: int = 0
    """Parts joined by faces."""


class Tally:
    """Counts slabs along the first axis, from the first one on."""

    def __init__(self, num_classes: int) -> None:
        self.classes = [ClassTally() for _ in range(num_classes)]
        self._start = 0
        self._above: dict[int, np.ndarray] = {}
        """By class: numbers of its parts in the last plane."""
        self._given = [0] * num_classes
        """The highest number of a part, by class."""
        self._joined: dict[int, dict[int, int]] = {index: {} for index in range(num_classes)}

    def add(
        self,
        labels: Integer[np.ndarray, "*slab"],
        intensities: Real[np.ndarray, "c *slab"] | None = None,
    ) -> None:
        """Take the next slab in, and the image there."""
        boxes: Sequence[tuple[slice, ...] | None] = ndimage.find_objects(
            labels, max_label=len(self.classes) - 1
        )
        counts = count_labels(labels, len(self.classes))
        self.classes[0].count += int(counts[0])
        for index, box in enumerate(boxes, start=1):
            if box is None:
                self._above.pop(index, None)
                continue
            tally = self.classes[index]
            tally.count += int(counts[index])
            self._extend(tally, box)
            inside = labels[box] == index
            self._count_parts(index, inside, box, labels.shape)
            if intensities is not None:
                sums = [
                    float(channel[box].sum(where=inside, dtype=np.float64))
                    for channel in intensities
                ]
                before = tally.sums or [0.0] * len(sums)
                tally.sums = [a + b for a, b in zip(before, sums, strict=True)]
        self._start += len(labels)

    def _extend(self, tally: ClassTally, box: tuple[slice, ...]) -> None:
        first = (box[0].start + self._start, *(along.start for along in box[1:]))
        last = (box[0].stop - 1 + self._start, *(along.stop - 1 for along in box[1:]))
        tally.first = tuple(map(min, tally.first, first)) if tally.first else first
        tally.last = tuple(map(max, tally.last, last)) if tally.last else last

    def _count_parts(
        self,
        index: int,
        inside: Bool[np.ndarray, "*box"],
        box: tuple[slice, ...],
        shape: tuple[int, ...],
    ) -> None:
        """Parts of the slab, less those that go on from the slab before."""
        found, count = ndimage.label(inside)
        numbers = np.where(found > 0, found.astype(np.int64) + self._given[index], 0)
        self._given[index] += count
        self.classes[index].components += count
        above = self._above.pop(index, None)
        if above is not None and box[0].start == 0:
            over = above[box[1:]]
            both = (over > 0) & (numbers[0] > 0)
            pairs = np.unique(np.column_stack([over[both], numbers[0][both]]), axis=0)
            for one, other in pairs.tolist():
                self.classes[index].components -= self._unite(index, one, other)
        if box[0].stop == shape[0]:
            last = np.zeros(shape[1:], np.int64)
            last[box[1:]] = numbers[-1]
            self._above[index] = last

    def _unite(self, index: int, one: int, other: int) -> bool:
        """Whether they were two parts until now."""
        joined = self._joined[index]
        while one in joined:
            one = joined[one]
        while other in joined:
            other = joined[other]
        if one == other:
            return False
        joined[max(one, other)] = min(one, other)
        return True
