"""OME-Zarr (0.1 to 0.5, on Zarr 2 and 3), a folder or a ZIP file of it, through zarr.

The first of its resolutions, the full one, is read where no coarser one is wished. Source:
ngff.openmicroscopy.org, version 0.5.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from seg.errors import ImageError, UnsupportedImageError
from seg.images.grid.axes import Axes
from seg.images.grid.frames import frame_axis, frame_count, frame_index, of_frame
from seg.images.grid.image import Image, Spacing
from seg.images.grid.limits import ReadOptions
from seg.images.grid.units import MM
from seg.images.storage.files import DAMAGE
from seg.images.storage.folders import Entry, unpacked_entries
from seg.images.storage.zarr_library import zarr_library
from seg.images.zarr.chunks import (
    BLOSC_HEADER_BYTES,
    check_blosc,
    check_chunk,
    compression_of,
    compressions_of,
)
from seg.images.zarr.names import ZARR_FILES
from seg.names import FrameAxis
from seg.verbs import called

LAYOUT = "bioformats2raw.layout"
"""Key of groups whose images lie in subgroups 0, 1, ..."""


PLAIN_TRANSFORMS = ("identity", "scale", "translation")
"""Source: ngff.openmicroscopy.org, version 0.5, coordinateTransformations."""


def read_zarr_folder(folder: Path, options: ReadOptions) -> Image:
    """The image of an OME-Zarr folder."""
    with translated():
        store = zarr_library().storage.LocalStore(folder, read_only=True)
        return _read(store, options, folder)


def read_zarr_entries(entries: Sequence[Entry], options: ReadOptions) -> Image:
    """The image of an OME-Zarr in an archive, which may lie in one folder of it.

    What a chunk unpacks to is checked before it is unpacked.
    """
    with translated():
        zarr = zarr_library()
        root = zarr_root([entry.name for entry in entries])
        assert root is not None
        within = [entry for entry in entries if entry.name.startswith(root)]
        with unpacked_entries(within) as unpacked:
            files = {name.removeprefix(root): content for name, content in unpacked.items()}
            of_array = zarr.core.buffer.cpu.Buffer.from_array_like
            buffers = {
                name: of_array(np.frombuffer(content, np.uint8)) for name, content in files.items()
            }
            return _read(zarr.storage.MemoryStore(buffers, read_only=True), options, files)


def zarr_root(names: Sequence[str]) -> str | None:
    """The folder of the archive that is a Zarr, with its slash; None where there is none."""
    found = [path for name in names if (path := PurePosixPath(name)).name in ZARR_FILES]
    if not found:
        return None
    parent = str(min(found, key=lambda path: len(path.parts)).parent)
    return "" if parent == "." else f"{parent}/"


def _read(store: Any, options: ReadOptions, files: Mapping[str, memoryview] | Path) -> Image:
    zarr = zarr_library()
    group = zarr.open(store, mode="r")
    if isinstance(group, zarr.Array):
        raise UnsupportedImageError(
            "this Zarr is an array alone, which does not say what its axes are; send the folder "
            "of the OME-Zarr image that it is a level of"
        )
    frame = options.frame
    if frame and frame.axis == "position" and LAYOUT in dict(group.attrs):
        if str(frame.number) not in group:
            raise ImageError(f"the OME-Zarr has no position {frame.number}")
        scales = _within(_multiscales(group[str(frame.number)]), str(frame.number))
        frame = None
    else:
        scales = _multiscales(group)
    whole = array = group[scales["datasets"][0]["path"]]
    if not isinstance(array, zarr.Array):
        raise ImageError("the OME-Zarr names a group where its pixels should be; write it anew")
    names, units = _axes(scales, array.ndim)
    level = _at_level(scales, names, units, options)
    if level is not scales:
        scales, array = level, group[level["datasets"][0]["path"]]
    index: tuple[slice, ...] = (slice(None),) * array.ndim
    shape = tuple(array.shape)
    if frame:
        index = frame_index(names, shape, frame)
        names, shape = of_frame(names, shape, index)
    axes = Axes.of(names, shape, options.dims)
    if array.dtype.kind not in "buif":
        raise UnsupportedImageError(
            f"an OME-Zarr of whole or real numbers is needed, got {array.dtype}"
        )
    options.limits.check(axes.spatial, axes.channels, array.dtype.itemsize)
    _check_chunks(array, options, files)
    pixels = np.asarray(array[index])
    kind = np.dtype(np.uint8) if pixels.dtype == bool else pixels.dtype.newbyteorder("=")
    reduction = tuple(
        whole.shape[names.index(letter)] / array.shape[names.index(letter)]
        for letter in "ZYX"[-axes.dims :]
    )
    return Image(
        np.ascontiguousarray(axes.arrange(pixels), dtype=kind),
        spacing=_spacing(scales, axes.letters, units, axes.dims),
        reduction=None if array is whole else reduction,
        notes=() if options.labels or frame else _absent(array),
    )


def _absent(array: Any) -> tuple[str, ...]:
    """What is to be said where chunks are not there: a writer left them out, or a copy lost them.

    Source: Zarr core specification, version 3: chunks that are not stored hold the fill value.
    """
    absent = array.nchunks - array.nchunks_initialized
    if absent <= 0:
        return ()
    return (
        f"{absent} of {array.nchunks} chunks of the OME-Zarr are not there, and were read as "
        f"{array.fill_value}, which is right where the image is empty; was it copied whole?",
    )


def _at_level(
    scales: Mapping[str, Any], names: str, units: Sequence[str | None], options: ReadOptions
) -> Mapping[str, Any]:
    """Begun with the coarsest level of pictures that is fine enough, if one is wished."""
    if options.largest_pixel is None:
        return scales
    for at in reversed(range(1, len(scales["datasets"]))):
        level = {**scales, "datasets": scales["datasets"][at:]}
        spacing = _spacing(level, names, units, 2)
        if spacing is not None and max(spacing) <= options.largest_pixel:
            return level
    return scales


def zarr_frames(folder: Path, axis: FrameAxis) -> int:
    """How many frames an OME-Zarr folder holds along an axis.

    Raises:
        ImageError: it is damaged, or has no such axis.
    """
    with translated():
        group = zarr_library().open_group(
            zarr_library().storage.LocalStore(folder, read_only=True), mode="r"
        )
        if axis == "position" and LAYOUT in dict(group.attrs):
            return next(number for number in count() if str(number) not in group)
        scales = _multiscales(group)
        array = group[scales["datasets"][0]["path"]]
        letters, _ = _axes(scales, array.ndim)
        return frame_count(array.shape, frame_axis(letters, array.shape, axis))


def attributes_of(group: Any) -> dict[str, Any]:
    """Of a group; version 0.5 has those of OME below a name of their own."""
    attributes = dict(group.attrs)
    return {**attributes, **attributes.get("ome", {})}


def _multiscales(group: Any) -> Mapping[str, Any]:
    attributes = attributes_of(group)
    if LAYOUT in attributes and "multiscales" not in attributes:
        if "1" in group:
            raise UnsupportedImageError(
                "the OME-Zarr holds several images; send the folder of one, such as its folder 0, "
                f"or take each ({called('seg.predict', '--each', 'position')})"
            )
        return _within(_multiscales(group["0"]), "0")
    if "multiscales" not in attributes:
        kind = "no image (it has no multiscales)"
        if "plate" in attributes:
            kind = f"a plate of images, which {called('seg.predict')} takes one by one"
        raise UnsupportedImageError(f"an OME-Zarr image is needed, this one is {kind}")
    scales: Mapping[str, Any] = attributes["multiscales"][0]
    return scales


def _within(scales: Mapping[str, Any], folder: str) -> Mapping[str, Any]:
    levels = [{**level, "path": f"{folder}/{level['path']}"} for level in scales["datasets"]]
    return {**scales, "datasets": levels}


def _axes(scales: Mapping[str, Any], ndim: int) -> tuple[str, list[str | None]]:
    """A letter and a unit an axis; before version 0.3 all arrays are tczyx, without units."""
    told = scales.get("axes") or list("tczyx")
    if len(told) != ndim:
        raise ImageError(f"the OME-Zarr names {len(told)} axes for an array of {ndim}; repair it")
    axes = [{"name": axis} if isinstance(axis, str) else axis for axis in told]
    letters = _spatial_letters(axes)
    for place, axis in enumerate(axes):
        letters.setdefault(place, _LETTERS.get(_kind(axis), "Q"))
    return "".join(letters[place] for place in range(ndim)), [axis.get("unit") for axis in axes]


_LETTERS = {"time": "T", "channel": "C"}
_KINDS = {"t": "time", "time": "time", "c": "channel", "channel": "channel"}
_KINDS |= dict.fromkeys("zyx", "space")


def _kind(axis: Mapping[str, Any]) -> str:
    """The type of an axis; where it has none, what its name says."""
    kind = axis.get("type") or _KINDS.get(str(axis["name"]).lower(), "")
    return str(kind).lower()


def _spatial_letters(axes: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """A letter for each axis of type space, by its place.

    Names are free; those that are x, y or z say which axis it is, others go by the order z, y, x
    that the specification asks for.
    """
    places = [place for place, axis in enumerate(axes) if _kind(axis) == "space"]
    letters: dict[int, str] = {}
    for place in places:
        name = str(axes[place]["name"]).upper()
        if name in ("X", "Y", "Z") and name not in letters.values():
            letters[place] = name
    free = [letter for letter in "XYZ" if letter not in letters.values()]
    for place in reversed(places):
        if place not in letters:
            letters[place] = free.pop(0) if free else "Q"
    return letters


def _spacing(
    scales: Mapping[str, Any], names: str, units: Sequence[str | None], dims: int
) -> Spacing | None:
    """Millimetres a spatial axis, where each has a unit and a scale is told.

    Raises:
        UnsupportedImageError: pixels are scaled by something else.
    """
    sizes = np.ones(len(names))
    told = [
        transform
        for place in (scales["datasets"][0], scales)
        for transform in place.get("coordinateTransformations", ())
    ]
    for transform in told:
        kind = str(transform.get("type"))
        if kind not in PLAIN_TRANSFORMS or "path" in transform:
            raise UnsupportedImageError(
                f"the OME-Zarr places its pixels by a transformation of type {kind[:20]!r}, or in "
                "a file of its own; scale and translation, with their numbers, are read"
            )
        if kind == "scale":
            sizes = sizes * np.array(transform["scale"], dtype=np.float64)
    if not told:
        return None
    spacing = []
    for letter in "ZYX"[-dims:]:
        at = names.index(letter)
        unit = (units[at] or "").lower()
        if unit not in MM:
            return None
        spacing.append(float(sizes[at]) * MM[unit])
    return tuple(spacing)


def _check_chunks(array: Any, options: ReadOptions, files: Mapping[str, memoryview] | Path) -> None:
    options.limits.check(tuple(array.shards or array.chunks), 1, array.dtype.itemsize)
    if isinstance(files, Path):  # the user's own disk: no bombs, but a copy may be cut short
        if compressions_of(array.metadata) == ["blosc"]:
            for path in (files / array.path).rglob("*"):
                if path.is_file() and _is_chunk(path.name):
                    with path.open("rb") as file:
                        check_blosc(file.read(BLOSC_HEADER_BYTES), path.stat().st_size)
        return
    compression = compression_of(array.metadata)
    needed = prod(array.chunks) * array.dtype.itemsize
    for name, content in files.items():
        if name.startswith(f"{array.path}/") and _is_chunk(PurePosixPath(name).name):
            check_chunk(content, compression, needed)


def _is_chunk(name: str) -> bool:
    return not name.startswith((".", "zarr.json"))


@contextmanager
def translated() -> Iterator[None]:
    """What goes wrong within zarr, as an ``ImageError``."""
    try:
        yield
    except ImageError:
        raise
    except DAMAGE as error:
        raise ImageError(
            f"the OME-Zarr is damaged or not one ({type(error).__name__}); write it anew"
        ) from error
