"""Files of a folder as stems, channels and pairs."""

import re
from collections.abc import Mapping
from pathlib import Path

from seg.errors import DatasetError
from seg.images import IMAGE_ENDINGS, stem_of
from seg.images.endings import is_image_folder
from training.dataset.findings import Finding

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")

Stems = dict[str, Path]
CaseFiles = dict[str, tuple[Path, ...]]


def files_in(folder: Path, endings: tuple[str, ...] = IMAGE_ENDINGS) -> Stems:
    """Stem to file, or to folder where that is an image, such as a DICOM series.

    Hidden files and those with other endings are passed over.

    Raises:
        DatasetError: two files share a stem.
    """
    found: Stems = {}
    for path in sorted(folder.iterdir()):
        is_image = path.name.lower().endswith(endings) or is_image_folder(path)
        if path.name.startswith(".") or not is_image:
            continue
        stem = stem_of(path)
        if stem in found:
            raise DatasetError(
                f"{folder} holds {found[stem].name} and {path.name}: two files for one case; "
                "remove one"
            )
        found[stem] = path
    return found


def channels_of(stems: Stems, findings: list[Finding]) -> CaseFiles:
    """Case name to its files in channel order: ``CASE_0000``, ``CASE_0001``, ..."""
    cases: dict[str, dict[int, Path]] = {}
    for stem, path in stems.items():
        match = _CHANNEL.fullmatch(stem)
        if match is None:
            findings.append(
                Finding(
                    "error",
                    str(path),
                    "its name says no channel",
                    "end the names of channels' files in _0000, _0001, ...",
                )
            )
            continue
        cases.setdefault(match["case"], {})[int(match["channel"])] = path
    for case, channels in list(cases.items()):
        if sorted(channels) != list(range(len(channels))):
            have = ", ".join(f"_{index:04d}" for index in sorted(channels))
            folder = next(iter(channels.values())).parent
            findings.append(
                Finding(
                    "error",
                    str(folder / case),
                    f"a case needs the channels _0000, _0001, ..., it has {have}",
                    "add what is missing or remove the case",
                )
            )
            cases[case] = {}
    return {case: tuple(path for _, path in sorted(c.items())) for case, c in cases.items()}


def cases_of(stems: Stems, masks: Stems, findings: list[Finding]) -> CaseFiles:
    """Case name to its files where a case is one file, or one file a channel.

    A number at the end is a channel's only where no mask has it in its name: ``IMG_0001`` with a
    mask ``IMG_0001`` is a case of its own.
    """
    numbered = all(_CHANNEL.fullmatch(stem) for stem in stems)
    if numbered and not stems.keys() & masks.keys():
        return channels_of(stems, findings)
    return {stem: (path,) for stem, path in stems.items()}


def pair(
    images: CaseFiles, masks: Mapping[str, Path], where: Path, findings: list[Finding]
) -> dict[str, tuple[tuple[Path, ...], Path]]:
    """Case name to images and mask, where both are there.

    Raises:
        DatasetError: there is neither an image nor a mask.
    """
    if not images and not masks:
        raise DatasetError(f"{where} holds no images that can be read")
    for name in sorted(images.keys() - masks.keys()):
        file = images[name][0] if images[name] else where / name
        findings.append(
            Finding("error", str(file), f"no mask is called {name}", "add it or remove this")
        )
    for name in sorted(masks.keys() - images.keys()):
        findings.append(
            Finding(
                "error",
                str(masks[name]),
                f"no image is called {name}",
                "add it or remove this",
            )
        )
    both = sorted(images.keys() & masks.keys())
    return {name: (images[name], masks[name]) for name in both if images[name]}
