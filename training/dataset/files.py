"""Files of a folder as stems and channels."""

import re
from pathlib import Path

from seg.errors import DatasetError

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")
_COMPRESSED = (".nii.gz",)


def stem_of(path: Path) -> str:
    """The file name without its suffix, ``.nii.gz`` being one."""
    for suffix in _COMPRESSED:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def files_in(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Stem to file, for the files with one of the suffixes; hidden files are passed over.

    Raises:
        DatasetError: two files share a stem.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.lower().endswith(suffixes):
            continue
        stem = stem_of(path)
        if stem in found:
            raise DatasetError(
                f"{folder} holds {found[stem].name} and {path.name}: two files for one case; "
                "remove one"
            )
        found[stem] = path
    return found


def channels_of(stems: dict[str, Path]) -> dict[str, tuple[Path, ...]]:
    """Case name to its files in channel order: ``CASE_0000``, ``CASE_0001``, ...

    Raises:
        DatasetError: a file has no channel number, or a case lacks a channel.
    """
    cases: dict[str, dict[int, Path]] = {}
    for stem, path in stems.items():
        match = _CHANNEL.fullmatch(stem)
        if match is None:
            raise DatasetError(
                f"{path.parent}: the name of a channel's file ends in _0000, _0001, ..., got "
                f"{path.name}"
            )
        cases.setdefault(match["case"], {})[int(match["channel"])] = path
    for case, channels in cases.items():
        if sorted(channels) != list(range(len(channels))):
            have = ", ".join(f"_{index:04d}" for index in sorted(channels))
            raise DatasetError(f"case {case} needs the channels _0000, _0001, ..., it has {have}")
    return {case: tuple(path for _, path in sorted(c.items())) for case, c in cases.items()}


def cases_of(stems: dict[str, Path], masks: dict[str, Path]) -> dict[str, tuple[Path, ...]]:
    """Case name to its files where a case is one file, or one file a channel.

    A number at the end is a channel's only where no mask has it in its name: ``IMG_0001`` with a
    mask ``IMG_0001`` is a case of its own.

    Raises:
        DatasetError: a case lacks a channel.
    """
    numbered = all(_CHANNEL.fullmatch(stem) for stem in stems)
    if numbered and not stems.keys() & masks.keys():
        return channels_of(stems)
    return {stem: (path,) for stem, path in stems.items()}


def pair(images: dict[str, tuple[Path, ...]], masks: dict[str, Path], where: Path) -> None:
    """Check that every image has a mask and every mask an image.

    Raises:
        DatasetError: one has none.
    """
    if not images and not masks:
        raise DatasetError(f"{where} holds no images that can be read")
    for have, lack, rows in (
        ("image", "mask", sorted(images.keys() - masks.keys())),
        ("mask", "image", sorted(masks.keys() - images.keys())),
    ):
        if rows:
            raise DatasetError(
                f"{where}: {len(rows)} {have}{'s have' if len(rows) > 1 else ' has'} no {lack} of "
                f"the same name: {_first(rows)}"
            )


def _first(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
