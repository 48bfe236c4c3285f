"""How the files of masks become label maps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from seg.errors import ImageError
from seg.images import Image, Mask, read_image, read_mask, stem_of
from training.dataset.dataset_yaml import CARD, Color, MaskKind
from training.dataset.legend import IGNORE, Legend


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """What stands in a dataset's mask files."""

    kind: MaskKind | Literal["drawn"] = "values"
    """``instances``: every value above 0 is the one class that there is; ``drawn``: the files are
    of a tool of annotation, and each case has its drawing."""
    label_of: Mapping[int, int] = field(default_factory=dict)
    """Value, or colour as ``packed``, to label; empty where both are the same."""
    label_of_name: Mapping[str, int] = field(default_factory=dict)
    """Of what was drawn."""
    classes_of_objects: Mapping[str, Mapping[int, int]] | None = None
    """Of instances, by stem of the file and number of the object: its label."""

    def read(self, path: Path, dims: int, legend: Legend, image: Image | None = None) -> Mask:
        """A mask with labels as the legend has them, on the grid of its image where it names one.

        Raises:
            ImageError: the file cannot be read, or holds a value that no class has.
        """
        if self.kind == "colors":
            mask = read_colors(path, dims)
        else:
            mask = read_mask(path, dims=dims, image=image)
        values = mask.array
        if self.kind == "instances":
            labels = self._labels_of_objects(values, stem_of(path))
            for value in self.label_of:
                labels[values == value] = IGNORE
        else:
            labels = self._labels(values, legend)
        return Mask(labels, spacing=mask.spacing, affine=mask.affine)

    def _labels_of_objects(
        self, numbers: Integer[np.ndarray, "*spatial"], case: str
    ) -> UInt8[np.ndarray, "*spatial"]:
        if self.classes_of_objects is None:
            return (numbers > 0).astype(np.uint8)
        ignored = dict.fromkeys(self.label_of, 0)
        label_of = {0: 0, **ignored, **self.classes_of_objects.get(case, {})}
        there, position = np.unique(numbers, return_inverse=True)
        missing = [int(number) for number in there if int(number) not in label_of]
        if missing:
            raise ImageError(
                f"the table of objects has no row for {_listed([str(n) for n in missing])} of case "
                f"{case}; add the class of each object"
            )
        labels = np.array([label_of[int(number)] for number in there], np.uint8)
        return labels[position].reshape(numbers.shape)

    def _labels(
        self, values: Integer[np.ndarray, "*spatial"], legend: Legend
    ) -> UInt8[np.ndarray, "*spatial"]:
        label_of = self.label_of or {label: label for label in range(legend.num_labels)}
        labels, found = _looked_up(values, label_of)
        if not found.all():
            unknown = [self._in_words(int(value)) for value in np.unique(values[~found])]
            what = "colors" if self.kind == "colors" else "values"
            legend_in_words = ", ".join(
                f"{self._in_words(value)} = {legend.in_words(label)}"
                for value, label in sorted(label_of.items())
            )
            raise ImageError(
                f"the mask holds the {what} {_listed(unknown)}, which no class has; the classes "
                f"are {legend_in_words}"
            )
        return labels

    def _in_words(self, value: int) -> str:
        return str(list(value.to_bytes(3, "big"))) if self.kind == "colors" else str(value)


def _looked_up(
    values: Integer[np.ndarray, "*spatial"], label_of: Mapping[int, int]
) -> tuple[UInt8[np.ndarray, "*spatial"], Bool[np.ndarray, "*spatial"]]:
    """Labels, and where a value has one; of few possible values by a table, in a byte a voxel."""
    listed = np.array(sorted(label_of))
    labels = np.array([label_of[int(value)] for value in listed], np.uint8)
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        size = int(np.iinfo(values.dtype).max) + 1
        inside = (listed >= 0) & (listed < size)
        table, is_known = np.zeros(size, np.uint8), np.zeros(size, bool)
        table[listed[inside]], is_known[listed[inside]] = labels[inside], True
        return table[values], is_known[values]
    position = np.searchsorted(listed, values).clip(max=len(listed) - 1)
    return labels.take(position), listed[position] == values


def packed(color: Color) -> int:
    """Red, green and blue in one number."""
    return int.from_bytes(bytes(color), "big")


def read_colors(path: Path, dims: int | None = None) -> Mask:
    """A mask of packed colours; a grey picture is one of grey colours.

    Raises:
        ImageError: the file is no RGB picture of 8 bits.
    """
    image = read_image(path, dims=dims)
    if path.suffix.lower() in (".jpg", ".jpeg", ".webp"):
        raise ImageError(f"{path}: a mask of colors cannot be a JPEG file, its colors are altered")
    if image.channels not in (1, 3) or image.array.dtype != np.uint8:
        raise ImageError(
            f"{path}: a mask of colors is an RGB picture of 8 bits, this one has "
            f"{image.channels} channels of {image.array.dtype}"
        )
    red, green, blue = np.broadcast_to(image.array, (3, *image.spatial_shape)).astype(np.int32)
    return Mask((red << 16) + (green << 8) + blue, spacing=image.spacing, affine=image.affine)


def hinted(error: ImageError, kind: str) -> str:
    """The error, with the way out for a mask of colours that nobody declared."""
    if kind == "colors" or "a mask has one channel of class numbers" not in str(error):
        return str(error)
    if kind == "instances":
        return f"{error}; where each color is an object, save a number for each color"
    return f"{error}; or, if colors are classes, write masks: colors into {CARD}"


def _listed(words: list[str], most: int = 5) -> str:
    text = ", ".join(words[:most])
    return f"{text} and {len(words) - most} more" if len(words) > most else text
