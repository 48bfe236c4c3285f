"""Masks that people drew, as a client sends them, brought to the numbers of the dataset."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Integer, Real

from seg.images import Image, encode_image
from service.problems.response import Problem

SAME_PLACE = 0.1
"""Of the smallest voxel side: what corners of a mask may lie beside its image's."""


def from_bin(content: bytes, image: Image) -> Image:
    """OHIF's ``label.bin``: unsigned 16-bit numbers, little endian, on the image's grid.

    Raises:
        Problem: 422, they are not as many as the image has voxels.
    """
    voxels = int(np.prod(image.spatial_shape))
    if len(content) != 2 * voxels:
        raise Problem(
            422,
            f"a label of {len(content)} bytes does not lie on an image of {voxels} voxels, which "
            f"takes {2 * voxels}",
        )
    numbers = np.frombuffer(content, "<u2").reshape(1, *image.spatial_shape)
    return Image.on_grid_of(image, numbers)


def as_file(
    label: Image, image: Image, info: Sequence[Mapping[str, Any]] | None, values: Mapping[str, int]
) -> tuple[bytes, str]:
    """The mask as a file of the dataset, and its ending.

    Args:
        label: as it came.
        image: that it was drawn on.
        info: what the client's numbers mean: ``{"name", "idx"}`` each; None where they are those
            of the dataset already.
        values: what stands for each class in the dataset.

    Raises:
        Problem: 422, it lies elsewhere than its image, or holds what is no class of the dataset.
    """
    _check_place(label, image)
    numbers = _whole(label.array)
    table = _table(info, values)
    strange = sorted(set(np.unique(numbers).tolist()) - table.keys())
    if strange:
        raise Problem(
            422, f"the label holds {strange[:5]}, and nothing says which class that is: label_info"
        )
    found = np.zeros(numbers.shape, np.min_scalar_type(max(table.values())))
    for number, value in table.items():
        found[numbers == number] = value
    ending = {2: ".tif", 3: ".nii.gz"}[image.dims]
    return encode_image(Image.on_grid_of(image, found[np.newaxis]), f"mask{ending}"), ending


def _check_place(label: Image, image: Image) -> None:
    if label.spatial_shape != image.spatial_shape or label.channels != 1:
        raise Problem(
            422,
            f"the label has {label.channels} channels of {label.spatial_shape} voxels, its image "
            f"{image.spatial_shape}; send one channel of class numbers on the image's grid",
        )
    if label.affine is None or image.affine is None or label.dims == 2:
        return
    ends = [(0, length - 1) for length in image.spatial_shape[::-1]]
    corners = np.array(np.meshgrid(*ends, [1.0])).reshape(4, -1)
    apart = np.linalg.norm(((label.affine - image.affine) @ corners)[:3], axis=0).max()
    side = np.linalg.norm(image.affine[:3, :3], axis=0).min()
    if apart > SAME_PLACE * side:
        raise Problem(
            422,
            f"the label lies up to {apart:.1f} mm beside its image, or its axes run otherwise; "
            "export it on the image's own grid",
        )


def _whole(array: Real[np.ndarray, "1 *spatial"]) -> Integer[np.ndarray, "*spatial"]:
    if array.dtype.kind == "f" and not np.array_equal(array, np.round(array)):
        raise Problem(422, "a label holds whole class numbers, this one has fractions")
    numbers: Integer[np.ndarray, "*spatial"] = array[0].astype(np.int64)
    return numbers


def _table(
    info: Sequence[Mapping[str, Any]] | None, values: Mapping[str, int]
) -> Mapping[int, int]:
    """The dataset's value of each of the client's numbers."""
    if info is None:
        return {0: 0} | {value: value for value in values.values()}
    table = {0: 0}
    try:
        told = [(str(entry["name"]), int(entry["idx"])) for entry in info]
    except (TypeError, KeyError, ValueError, OverflowError):
        raise Problem(422, 'label_info is a list of {"name": TEXT, "idx": NUMBER}') from None
    for name, number in told:
        if name not in values:
            raise Problem(422, f"{name[:40]!r} is no class here; they are {', '.join(values)}")
        if table.get(number, values[name]) != values[name]:
            raise Problem(422, f"label_info gives the number {number} to two classes")
        table[number] = values[name]
    return table
