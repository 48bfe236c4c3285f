"""From the files of a package to cases, by the card's recipe."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from scipy.io import loadmat

from data.card import STAR, Card, ImagePlane, PackageFile, Range, Recipe
from data.raw_format import RawFolder
from seg.errors import DatasetError
from seg.images import Affine, Image, Mask, Spacing, read_image
from seg.model_package import Channel

_SPATIAL = {2: "yx", 3: "zyx"}


@dataclass(frozen=True)
class _Stored:
    """An array as its file holds it."""

    array: np.ndarray[Any, Any]
    axes: str
    spacing: Spacing | None = None
    affine: Affine | None = None

    def plane(self, at: Mapping[str, int]) -> "_Stored":
        """The part at fixed indices, its other axes in their order."""
        index = tuple(at.get(axis, slice(None)) for axis in self.axes)
        axes = "".join(axis for axis in self.axes if axis not in at)
        return _Stored(self.array[index], axes, self.spacing, self.affine)

    def part(self, axis: str, start: int, stop: int) -> "_Stored":
        """The part between two indices of one axis."""
        index = tuple(slice(start, stop) if a == axis else slice(None) for a in self.axes)
        return _Stored(self.array[index], self.axes, self.spacing, self._moved(axis, start))

    def _moved(self, axis: str, start: int) -> Affine | None:
        if self.affine is None or axis not in "xyz":
            return self.affine
        moved = self.affine.copy()
        moved[:3, 3] += start * moved[:3, "xyz".index(axis)]
        return moved


def write_cases(card: Card, recipe: Recipe, files: Path, folder: Path) -> None:
    """Write all cases of a card in nnU-Net raw format.

    Args:
        card: Names the dataset and its source.
        recipe: The card's recipe.
        files: Folder with the packages' files under the names that the card gives them.
        folder: Receives the dataset.
    """
    raw = RawFolder(
        folder=folder,
        name=card.name,
        channels=tuple(Channel(name=c.name, modality=c.modality) for c in recipe.channels),
        classes=recipe.class_infos(),
        file_ending=recipe.file_ending,
    )
    stored = _read_files(card, recipe, files)
    channels = [stored[c.file].plane(c.at) for c in recipe.channels]
    labels, objects = _paint(recipe, stored)
    for split, (start, stop) in _ranges(recipe):
        parts = [each.part(recipe.split.axis, start, stop) for each in (*channels, labels, objects)]
        first = start if recipe.split.axis == "t" else 0
        for frame, planes in _frames(parts, first, recipe.stacked):
            image = Image(
                np.stack([plane.array for plane in planes[:-2]]),
                spacing=recipe.spacing or planes[0].spacing,
                affine=planes[0].affine,
            )
            mask, numbers = (Mask.on_grid_of(image, plane.array) for plane in planes[-2:])
            region = "" if recipe.split.axis == "t" else f"{recipe.split.axis} {start}-{stop - 1}"
            origin = " ".join(filter(None, (frame, region)))
            raw.add(split, image, mask, numbers if recipe.objects else None, origin=origin)
    raw.finish(
        summary=card.summary,
        licence=card.licence,
        rights=card.rights,
        labels_by=recipe.labels_by,
        otsu_dice=recipe.otsu_dice,
        spacing_from=recipe.spacing_from,
    )


def _read_files(card: Card, recipe: Recipe, files: Path) -> dict[str, _Stored]:
    planes: list[ImagePlane] = [*recipe.channels, *(c.plane for c in recipe.classes if c.plane)]
    known = {name: file for source in card.packages for name, file in source.files.items()}
    return {name: _stack(recipe, name, files, known) for name in {p.file for p in planes}}


def _stack(recipe: Recipe, name: str, files: Path, known: Mapping[str, PackageFile]) -> _Stored:
    """A file, or all that a name with a star stands for."""
    stored = [_read(files / each, known[each], recipe.dims) for each in recipe.files(name)]
    if STAR not in name:
        return stored[0]
    shapes = {each.array.shape for each in stored}
    if len(shapes) > 1:
        raise DatasetError(f"the files {name} should be of one size, got {sorted(shapes)}")
    arrays = np.stack([each.array for each in stored])
    return _Stored(arrays, "t" + stored[0].axes, stored[0].spacing, stored[0].affine)


def _read(path: Path, file: PackageFile, dims: Literal[2, 3]) -> _Stored:
    if file.axes is None:
        image = read_image(path, dims=dims)
        stored = _Stored(image.array, "c" + _SPATIAL[dims], image.spacing, image.affine)
        return stored.plane({"c": 0}) if image.channels == 1 else stored
    if file.variable is not None:  # numbers alone are read, no objects
        array = loadmat(path, variable_names=[file.variable])[file.variable]
    else:  # frames and channels at once are more than one image: tifffile reads them as they lie
        array = tifffile.imread(path)
    if array.ndim != len(file.axes):
        raise DatasetError(f"{path.name} should have the axes {file.axes}, got {array.shape}")
    return _Stored(array, file.axes)


def _paint(recipe: Recipe, stored: Mapping[str, _Stored]) -> tuple[_Stored, _Stored]:
    """Classes, and the numbers of their objects: those of a class follow those of the last."""
    painted: _Stored | None = None
    objects: _Stored | None = None
    last = 0
    for index, each in enumerate(recipe.classes):
        if each.plane is None:
            continue
        plane = stored[each.plane.file].plane(each.plane.at)
        if painted is None or objects is None:
            painted = _Stored(np.zeros(plane.array.shape, np.uint8), plane.axes)
            objects = _Stored(np.zeros(plane.array.shape, np.uint32), plane.axes)
        inside = plane.array > 0 if each.value is None else plane.array == each.value
        painted.array[inside] = index
        objects.array[inside] = plane.array[inside].astype(np.uint32) + last
        last += int(plane.array.max())
    if painted is None or objects is None:
        raise DatasetError("a card needs one class besides background that a file draws")
    return painted, objects


def _ranges(recipe: Recipe) -> Iterator[tuple[Literal["train", "test"], Range]]:
    yield from (("train", each) for each in recipe.split.train)
    yield from (("test", each) for each in recipe.split.test)


def _frames(
    parts: list[_Stored], first: int, names: Sequence[str]
) -> Iterator[tuple[str, list[_Stored]]]:
    if "t" not in parts[0].axes:
        yield "", parts
        return
    for frame in range(parts[0].array.shape[parts[0].axes.index("t")]):
        name = names[first + frame] if names else f"t {first + frame}"
        yield name, [part.plane({"t": frame}) for part in parts]
