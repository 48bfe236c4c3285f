"""A person who draws, played by the reference: outlines in areas, nothing of the rest."""

import shutil
import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))
from seg.images import Image, encode_image, read_image, read_mask
from service.studio.on_disk.classes import FRESH_IGNORE
from service.studio.on_disk.drawing import Author, DrawnMask
from service.studio.on_disk.studio_folder import StudioFolder

MARGIN = 12
"""Pixels around outlined objects in which a person sees that there is nothing else."""


def deepest(part: np.ndarray) -> tuple[float, tuple[int, ...]]:
    """How far the innermost pixel is from the edge, and where it is: there a person clicks."""
    whole = tuple(slice(1, -1) for _ in part.shape)
    depth = ndimage.distance_transform_edt(np.pad(part, 1))[whole]
    return float(depth.max()), tuple(map(int, np.unravel_index(depth.argmax(), depth.shape)))


def outlined_area(
    numbers: np.ndarray, count: int, rng: np.random.Generator, ignore: int
) -> tuple[np.ndarray, int]:
    """Objects of a small area, outlined one by one; what its edge cuts and the rest is left open.

    The area keeps away from the image's edge where it can: references may leave out what is cut
    there, and nobody who outlines nuclei calls half of one background.

    Returns the mask and how many outlines it took.
    """
    boxes = ndimage.find_objects(numbers)
    middles = np.array([[(s.start + s.stop) / 2 for s in box] if box else [np.inf] * numbers.ndim
                        for box in boxes])  # fmt: skip
    known = np.flatnonzero(np.isfinite(middles[:, 0]))
    away = max(side.stop - side.start for number in known for side in boxes[number])
    best: tuple[tuple[bool, int], int, np.ndarray] | None = None
    for start in rng.permutation(known)[:60]:
        near = known[np.argsort(np.linalg.norm(middles[known] - middles[start], axis=1))[:count]]
        low = np.min([[s.start for s in boxes[n]] for n in near], axis=0)
        high = np.max([[s.stop for s in boxes[n]] for n in near], axis=0)
        area = tuple(
            slice(max(0, a - MARGIN), min(size, b + MARGIN))
            for a, b, size in zip(low, high, numbers.shape, strict=True)
        )
        inside = numbers[area]
        outside = numbers.copy()
        outside[area] = 0
        cut = np.intersect1d(inside[inside > 0], outside[outside > 0])
        drawn = np.where(np.isin(inside, cut), ignore, inside)
        outlines = len(np.unique(drawn)) - int(0 in drawn) - int(ignore in drawn)
        is_inside = all(
            side.start >= away and side.stop <= size - away
            for side, size in zip(area, numbers.shape, strict=True)
        )
        rank = (not is_inside, abs(outlines - count))
        if best is None or rank < best[0]:
            mask = np.full(numbers.shape, ignore, np.uint16)
            mask[area] = drawn
            best = rank, outlines, mask
        if rank == (False, 0):
            break
    assert best is not None
    return best[2], best[1]


def area_of_whole_objects(
    numbers: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[tuple[slice, ...], np.ndarray]:
    """A box, and all objects that lie in it or that it cuts: about so many, for each is outlined.

    The box keeps away from the image's edge where it can, as with `outlined_area`.
    """
    boxes = {at + 1: box for at, box in enumerate(ndimage.find_objects(numbers)) if box}
    middles = {n: np.array([(s.start + s.stop) / 2 for s in box]) for n, box in boxes.items()}
    away = max(side.stop - side.start for box in boxes.values() for side in box)
    found = []
    for start in rng.permutation(sorted(boxes))[:60]:
        order = sorted(boxes, key=lambda n: float(np.linalg.norm(middles[n] - middles[start])))
        for near in (order[:some] for some in range(1, count + 1)):
            area = tuple(
                slice(
                    max(0, min(boxes[n][axis].start for n in near) - MARGIN),
                    min(size, max(boxes[n][axis].stop for n in near) + MARGIN),
                )
                for axis, size in enumerate(numbers.shape)
            )
            inside = np.setdiff1d(numbers[area], [0])
            is_inside = all(
                boxes[n][axis].start > 0
                and boxes[n][axis].stop < size
                and area[axis].start >= away
                and area[axis].stop <= size - away
                for n in inside
                for axis, size in enumerate(numbers.shape)
            )
            found.append(((not is_inside, abs(len(inside) - count), len(found)), area, inside))
    _, area, inside = min(found, key=lambda each: each[0])
    return area, inside


def drawn_folder(
    data: Path, target: Path, outlines: int, frames: int, seed: int = 0, name: str = "nucleus"
) -> StudioFolder:
    """A studio's folder in which somebody outlined some objects of a nnU-Net folder's images."""
    shutil.rmtree(target, ignore_errors=True)
    (target / "images").mkdir(parents=True)
    studio = StudioFolder(target)
    studio.begin([{"name": name}], are_objects=True)
    rng = np.random.default_rng(seed)
    images = sorted((data / "imagesTr").iterdir())
    step = len(images) // frames
    left = outlines
    for place, path in enumerate(images[::step][:frames]):
        stem = path.name.removesuffix("".join(path.suffixes)).removesuffix("_0000")
        shutil.copy(path, target / "images" / f"{stem}{''.join(path.suffixes)}")
        numbers = read_mask(next((data / "instancesTr").glob(f"{stem}.*"))).array
        mask, took = outlined_area(numbers, left // (frames - place), rng, FRESH_IGNORE[True])
        left -= took
        image = read_image(path)
        ending = {2: ".tif", 3: ".nii.gz"}[image.dims]
        content = encode_image(Image.on_grid_of(image, mask[np.newaxis]), f"mask{ending}")
        studio.keep(
            stem, DrawnMask(content=content, ending=ending, objects={}), Author(who="bench")
        )
    return studio
