"""From paths, folders and patterns to cases, each of them one image."""

import glob
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from seg.errors import DatasetError, ImageError
from seg.images import (
    IMAGE_ENDINGS,
    Frame,
    frames_in,
    images_at,
    series_in,
    stem_of,
)
from seg.images.endings import is_image_folder, left_out_at
from seg.images.zarr.plates import fields_of_plate
from seg.names import FrameAxis

_CHANNEL = re.compile(r"_(\d{4})$")


@dataclass(frozen=True)
class PredictionCase:
    """The files of one image, one a channel or one for all."""

    name: str
    """The stem of its mask; with the folders above it where nested folders are looked into."""
    files: tuple[Path, ...]
    series: str | None = None
    """SeriesInstanceUID where they hold several series."""
    frame: Frame | None = None
    """Which one of a stack."""

    @property
    def state(self) -> str:
        """Of all files of it; another one where one was written since."""
        facts = [_facts(each) for file in self.files for each in _files_in(file)]
        return sha256(repr(facts).encode("utf-8", "backslashreplace")).hexdigest()[:12]


@dataclass(frozen=True)
class CaseSearch:
    """What is looked for, and where not."""

    channels: int
    dims: int = 3
    recursive: bool = False
    """Look into folders within folders; the masks are then put into folders alike."""
    out: Path | None = None
    """Masks that lie in here are no images."""
    series: str | None = None
    """SeriesInstanceUID of the only DICOM series that is wanted; None is each."""
    each: FrameAxis | None = None
    """Axis of stacks along which each image is a case."""


def find_cases(inputs: Sequence[str | Path], search: CaseSearch) -> list[PredictionCase]:
    """Files, folders and patterns (``*``, ``?``, ``[]``, ``**``) to cases, sorted by name.

    Where the model has several channels, files that differ only in a trailing ``_0000``,
    ``_0001``, ... are the channels of one image.

    Raises:
        DatasetError: an input leads to no image, or two images would have one mask.
    """
    found: dict[Path, str] = {}
    for given in inputs:
        for base, path in _looked_up(str(given), search):
            folder = path.parent.relative_to(base).as_posix() + "/" if search.recursive else ""
            found.setdefault(path.absolute(), folder.removeprefix("./") + stem_of(path))
    groups: dict[str, list[Path]] = {}
    for path, name in found.items():
        groups.setdefault(_CHANNEL.sub("", name) if search.channels > 1 else name, []).append(path)
    for name, files in groups.items():
        _check(name, files, search)
    cases = [PredictionCase(name, tuple(sorted(files))) for name, files in sorted(groups.items())]
    cases = [each for case in cases for each in _fields_of(case)]
    cases = [each for case in cases for each in _series_of(case, search)]
    if search.each is not None:
        cases = [each for case in cases for each in _frames_of(case, search.each)]
    if not cases:
        raise DatasetError(f"no input holds the DICOM series {search.series}")
    return cases


def left_out(inputs: Sequence[str | Path], search: CaseSearch) -> list[Path]:
    """The files in the folders among the inputs that are no images that are read."""
    found: dict[Path, None] = {}
    for path in map(Path, inputs):
        folders = _folders(path, search) if search.recursive else iter([path])
        for folder in folders:
            found |= dict.fromkeys(left_out_at(folder, search.dims))
    return [
        path
        for path in found
        if search.out is None or path.resolve().parent != search.out.resolve()
    ]


def _fields_of(case: PredictionCase) -> list[PredictionCase]:
    """A case for each image of the wells of an OME-Zarr plate, in folders called after these."""
    try:
        fields = fields_of_plate(case.files[0]) if len(case.files) == 1 else None
    except ImageError:  # which reading the case will say again
        fields = None
    if fields is None:
        return [case]
    return [
        PredictionCase(f"{case.name}/{field.well}/{field.name}", (field.folder,))
        for field in fields
    ]


def _series_of(case: PredictionCase, search: CaseSearch) -> list[PredictionCase]:
    """A case for each DICOM series that its folder or ZIP file holds, or for the one wanted."""
    series: tuple[str, ...] = ()
    path = case.files[0]
    may_hold = path.is_dir() or path.name.lower().endswith(".zip")
    if len(case.files) == 1 and may_hold and search.dims == 3:
        try:
            series = series_in(path, dims=search.dims)
        except ImageError:  # which reading the case will say again
            series = ()
    if search.series is not None:
        return [replace(case, series=uid) for uid in series if uid == search.series]
    if len(series) < 2:
        return [case]
    return [replace(case, name=f"{case.name}_{uid}", series=uid) for uid in series]


def _frames_of(case: PredictionCase, axis: FrameAxis) -> list[PredictionCase]:
    """A case for each frame, named by its number, which is as long for all."""
    if len(case.files) > 1 or case.series:
        raise DatasetError(
            f"{case.name}: --each takes the frames of one file; save its channels into one"
        )
    try:
        count = frames_in(case.files[0], axis)
    except ImageError:  # which reading the first one will say again
        return [replace(case, frame=Frame(axis, 0))]
    width = len(str(count - 1))
    letter = axis[0]
    return [
        replace(case, name=f"{case.name}_{letter}{number:0{width}d}", frame=Frame(axis, number))
        for number in range(count)
    ]


def _check(name: str, files: Sequence[Path], search: CaseSearch) -> None:
    if len(files) in (1, search.channels):
        return
    if search.channels > 1:
        raise DatasetError(
            f"{name} has {len(files)} files, but the model takes one file, or one for each of "
            f"its {search.channels} channels"
        )
    hint = "" if search.recursive else ", or -r to keep the folders apart"
    raise DatasetError(
        f"{files[0]} and {files[1]} would have the same mask, {name}; segment them into two "
        f"folders{hint}"
    )


def _looked_up(given: str, search: CaseSearch) -> Iterator[tuple[Path, Path]]:
    """Images, each with the folder from which its name counts."""
    path = Path(given)
    is_pattern = not path.exists() and glob.has_magic(given)
    if is_pattern:
        base = _before_magic(path)
        images = _matches(given, search)
    else:
        images = list(_images(path, search))
        base = path if path.is_dir() and images != [path] else path.parent
    if not images:
        deeper = "" if search.recursive else "; -r looks into folders within folders"
        where = f"matches {given}" if is_pattern else f"in {path}"
        raise DatasetError(
            f"no image {where}; known endings are {', '.join(IMAGE_ENDINGS)}{deeper}"
        )
    for image in images:
        yield base, image


def _matches(pattern: str, search: CaseSearch) -> list[Path]:
    """Images that match, those in folders that match, and series of which slices match."""
    images: dict[Path, None] = {}
    # Path.glob takes no absolute pattern
    for match in map(Path, sorted(glob.glob(pattern, recursive=True))):  # noqa: PTH207
        if match.is_dir():
            images |= dict.fromkeys(_images(match, search))
        else:
            beside = images_at(match.parent, search.dims)
            images |= dict.fromkeys(beside if beside == [match.parent] else {match} & set(beside))
    return list(images)


def _before_magic(path: Path) -> Path:
    parts = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts)
    return Path(*parts)


def _images(path: Path, search: CaseSearch) -> Iterator[Path]:
    if not path.exists():
        raise DatasetError(f"{path} does not exist")
    if not search.recursive or not path.is_dir():
        yield from images_at(path, search.dims)
        return
    for folder in _folders(path, search):
        yield from images_at(folder, search.dims)


def _folders(
    path: Path, search: CaseSearch, above: frozenset[Path] = frozenset()
) -> Iterator[Path]:
    """A folder and all within it, but not those within an image, nor where links lead in a circle.

    Args:
        path: that of a file leads to no folder.
        search: what for.
        above: the folders, without links, on the way to this one.
    """
    own = path.resolve()
    if own in above or not path.is_dir():
        return
    yield path
    if is_image_folder(path, search.dims):
        return
    out = search.out.resolve() if search.out else None
    for inner in sorted(path.iterdir()):
        is_wanted = not inner.name.startswith(".") and not is_image_folder(inner, search.dims)
        if is_wanted and inner.is_dir() and inner.resolve() != out:
            yield from _folders(inner, search, above | {own})


def _files_in(file: Path) -> list[Path]:
    """Itself, or what lies in a folder that is read as one image."""
    return sorted(path for path in file.rglob("*") if path.is_file()) if file.is_dir() else [file]


def _facts(path: Path) -> tuple[str, int, int]:
    """Name, bytes, and when it was written; reading tells of one that is gone."""
    try:
        facts = path.stat()
    except OSError:
        return path.name, 0, 0
    return path.name, facts.st_size, facts.st_mtime_ns
