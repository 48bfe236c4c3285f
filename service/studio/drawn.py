"""Masks that people drew, as a client sends them, brought to the numbers of the dataset."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, Real, UInt16
from scipy import ndimage

from seg.images import Image, encode_image
from service.problems.response import Problem
from service.studio.on_disk.classes import CARD, IGNORE, DrawnClasses
from service.studio.on_disk.drawing import DrawnMask

SAME_PLACE = 0.1
"""Of the smallest voxel side: what corners of a mask may lie beside its image's."""
UNKNOWN = 65_535
"""In what the page sends and reads: nobody said what this voxel is."""
MOST_OBJECTS = 65_534
HIGHEST = (1 << 31) - 1
PART = 1 << 20
"""Voxels that are looked at together."""


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
    label: Image,
    image: Image,
    info: Sequence[Mapping[str, Any]] | None,
    classes: DrawnClasses,
) -> DrawnMask:
    """The mask as a file of the dataset.

    Args:
        label: as it came.
        image: that it was drawn on.
        info: what the client's numbers mean: ``{"name", "idx"}`` each; None where they are those
            of the dataset already.
        classes: of the dataset.

    Raises:
        Problem: 422, it lies elsewhere than its image, or holds what is no class of the dataset.
    """
    _check_place(label, image)
    numbers = _whole(label.array)
    if classes.are_objects:
        return _of_objects(numbers, image, info, classes)
    table = _table(info, classes)
    strange = sorted(_numbers_in(numbers) - table.keys())
    if strange:
        raise Problem(
            422, f"the label holds {strange[:5]}, and nothing says which class that is: label_info"
        )
    found = np.zeros(numbers.shape, np.min_scalar_type(max(table.values())))
    for number, value in table.items():
        found[numbers == number] = value
    return _drawn(found, image)


def check_one_meaning(label: Image, classes: DrawnClasses, served: Mapping[str, int]) -> None:
    """Pass where no number of a mask stands for one class here and for another one in a model.

    Args:
        label: as it came, without a word on what its numbers mean.
        classes: of the dataset.
        served: numbers of the classes of the model that answers, by their names.

    Raises:
        Problem: 422, one does.
    """
    if classes.are_objects:
        return
    name_of = {value: name for name, value in classes.values.items()}
    there = _numbers_in(_whole(label.array))
    for name, number in served.items():
        if number in there and name_of.get(number, name) != name:
            raise Problem(
                422,
                f"{number} is {name_of[number]} in {CARD} of this folder and {name} in the model "
                "that answers: say which is meant, label_info",
            )


def from_page(
    numbers: UInt16[np.ndarray, "*spatial"],
    image: Image,
    objects: Mapping[int, str],
    classes: DrawnClasses,
) -> DrawnMask:
    """The page's label map as a file of the dataset.

    Args:
        numbers: places of classes in the dataset's list, or numbers of objects; 0 is background,
            `UNKNOWN` what nobody annotated.
        image: that it was drawn on.
        objects: the class of each object, where there is more than one class of them.
        classes: of the dataset.

    Raises:
        Problem: 422, a number is of no class, an object has none, or the dataset cannot say that
            something is not annotated.
    """
    unknown = numbers == UNKNOWN
    if unknown.any() and classes.ignore is None:
        raise Problem(
            422,
            "the dataset has no value for what nobody annotated: write ignore: VALUE into its "
            "dataset.yaml, or say what the rest of the image is",
        )
    there = _numbers_in(numbers) - {0, UNKNOWN}
    highest = max(classes.ignore or 0, *classes.values.values())
    if classes.are_objects:
        free = min(set(range(1, len(there) + 3)) - there - {classes.ignore})
        highest = max(highest, free, *there)
        found = np.where(unknown, 0, numbers).astype(np.min_scalar_type(highest))
        named = _classes_of(there, objects, classes)
        if classes.ignore in there:  # an object that has it gets another number
            found[numbers == classes.ignore] = free
            if named:
                named = {free if n == classes.ignore else n: name for n, name in named.items()}
    else:
        values = tuple(classes.values.values())
        if there and max(there) >= len(values):
            raise Problem(422, f"classes have the numbers 0 to {len(values) - 1}")
        table = np.zeros(UNKNOWN + 1, np.min_scalar_type(highest))
        table[: len(values)] = values
        found, named = _looked_up(table, numbers), {}
    if classes.ignore is not None:
        found[unknown] = classes.ignore
    return _drawn(found, image, named)


def for_page(
    mask: Integer[np.ndarray, "*spatial"], classes: DrawnClasses
) -> UInt16[np.ndarray, "*spatial"]:
    """The way back: what `from_page` takes.

    Raises:
        Problem: 409, the mask holds what nobody declared.
    """
    unknown = np.zeros(mask.shape, bool) if classes.ignore is None else mask == classes.ignore
    if classes.are_objects:
        if mask[~unknown].max(initial=0) > MOST_OBJECTS:
            raise Problem(409, f"objects above number {MOST_OBJECTS} cannot be drawn on here")
        numbers = mask.astype(np.uint16)
    else:
        numbers = np.zeros(mask.shape, np.uint16)
        left = ~unknown
        for place, value in enumerate(classes.values.values()):
            numbers[mask == value] = place
            left &= mask != value
        if left.any():
            raise Problem(409, f"the mask holds {int(mask[left][0])}, which no class has")
    numbers[unknown] = UNKNOWN
    return numbers


def _of_objects(
    numbers: Integer[np.ndarray, "*spatial"],
    image: Image,
    info: Sequence[Mapping[str, Any]] | None,
    classes: DrawnClasses,
) -> DrawnMask:
    if info is not None or classes.table:
        raise Problem(
            422,
            "every object has a number of its own here, so a mask of classes cannot be kept: send "
            "numbers of objects without label_info, of one class, or GeoJSON to /studio",
        )
    if numbers.min() < 0 or numbers.max() > UNKNOWN:
        raise Problem(422, f"numbers of objects lie between 0 and {MOST_OBJECTS}")
    there = _numbers_in(numbers) - {0, classes.ignore}
    if len(there) == 1 and (pieces := _pieces(numbers == min(there))) > 1:
        raise Problem(
            422,
            f"all of this mask has the number {min(there)}, in {pieces} pieces, and every object "
            "has a number of its own here: number them",
        )
    return _drawn(numbers.astype(np.uint16), image)


def _pieces(where: Bool[np.ndarray, "*spatial"]) -> int:
    return int(ndimage.label(where, np.ones((3,) * where.ndim))[1])


def _classes_of(
    there: set[int], objects: Mapping[int, str], classes: DrawnClasses
) -> Mapping[int, str]:
    """Of each object that is there its class, where the dataset has a table."""
    strange = sorted(set(objects.values()) - set(classes.names[1:]))
    if strange:
        raise Problem(
            422, f"{strange[0][:40]!r} is no class here; they are {', '.join(classes.names[1:])}"
        )
    if not classes.table:
        return {}
    lacking = sorted(number for number in there if objects.get(number) not in classes.names[1:])
    if lacking:
        raise Problem(
            422, f"object {lacking[0]} has no class; they are {', '.join(classes.names[1:])}"
        )
    return {number: objects[number] for number in sorted(there)}


def _drawn(
    array: Integer[np.ndarray, "*spatial"], image: Image, objects: Mapping[int, str] | None = None
) -> DrawnMask:
    ending = {2: ".tif", 3: ".nii.gz"}[image.dims]
    content = encode_image(Image.on_grid_of(image, array[np.newaxis]), f"mask{ending}")
    return DrawnMask(content=content, ending=ending, objects=objects or {})


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
    numbers: Integer[np.ndarray, "*spatial"] = array[0]
    if array.dtype.kind not in "iu":
        if array.size and not -HIGHEST <= array.min() <= array.max() <= HIGHEST:
            raise Problem(422, f"numbers of a label lie between 0 and {HIGHEST}")
        numbers = array[0].astype(np.int32)
    return numbers


def _parts(array: np.ndarray) -> Iterator[slice]:
    """Of its first axis: what is looked up in a table takes 8 bytes a voxel."""
    rows = max(1, PART * len(array) // max(1, array.size))
    return (slice(start, start + rows) for start in range(0, len(array), rows))


def _numbers_in(array: Integer[np.ndarray, "*spatial"]) -> set[int]:
    found: set[int] = set()
    for part in _parts(array):
        found.update(np.unique(array[part]).tolist())
    return found


def _looked_up(
    table: Integer[np.ndarray, " entries"], numbers: UInt16[np.ndarray, "*spatial"]
) -> Integer[np.ndarray, "*spatial"]:
    found = np.empty(numbers.shape, table.dtype)
    for part in _parts(numbers):
        found[part] = table[numbers[part]]
    return found


def _table(info: Sequence[Mapping[str, Any]] | None, classes: DrawnClasses) -> Mapping[int, int]:
    """The dataset's value of each of the client's numbers."""
    values = dict(classes.values)
    if classes.ignore is not None:
        values[IGNORE] = classes.ignore
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
