"""Files of a folder as stems, channels and pairs."""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from seg.errors import DatasetError
from seg.images import stem_of
from seg.images.endings import is_image_file, is_image_folder, left_out_at
from training.dataset.annotations.imagej import is_imagej
from training.dataset.findings.finding import Finding
from training.dataset.names import bare, check_text, composed
from training.dataset.survey import Survey

ANNOTATED = ("_seg.npy", ".seg.nrrd")
"""Endings of annotations that are called as if they were images (``annotations.formats``)."""

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})(?P<rest>)")
_OTHER_CHANNELS = (
    re.compile(r"(?P<case>.+?)[_-]w(?P<channel>\d)(?:[A-Za-z][^_]*)?(?P<rest>(?:_.*)?)"),
    re.compile(
        r"(?P<case>.+?)[_-](?:ch|c|channel)[_-]?(?P<channel>\d{1,4})(?P<rest>(?:_.*)?)",
        re.IGNORECASE,
    ),
)
"""MetaMorph's ``_w1``, and ``_ch00`` of Leica and others."""

CLASSES = "classes"
"""Folder of masks of classes, beside masks that number objects."""

Stems = dict[str, Path]
CaseFiles = dict[str, tuple[Path, ...]]


MOST_NAMED = 5
"""Files that a finding names."""


def files_in(folder: Path, endings: tuple[str, ...] | None = None) -> Stems:
    """Stem to file, or to folder where that is an image, such as a DICOM series.

    Hidden files are passed over, and those with other endings; None takes all that are images.
    Stems are composed (NFC).

    Raises:
        DatasetError: two files share a stem, or a name is no text.
    """
    stems: Stems = {}
    for path in sorted(folder.iterdir()):
        name = path.name.lower()
        is_image = is_image_folder(path) or (
            name.endswith(endings) if endings else path.is_file() and is_image_file(path)
        )
        if name.startswith(".") or not is_image or _is_annotation(path):
            continue
        check_text([path])
        stem = composed(stem_of(path))
        if stem in stems:
            raise DatasetError(
                f"{folder} holds {stems[stem].name} and {path.name}: two files for one case; "
                "remove one"
            )
        stems[stem] = path
    return stems


def _is_annotation(path: Path) -> bool:
    """The file is called as images are, and holds what was drawn on one."""
    name = path.name.lower()
    return name.endswith(ANNOTATED) or (name.endswith(".zip") and is_imagej(path))


def left_out_in(folder: Path) -> list[Finding]:
    """A finding of the files that are no images that are read."""
    findings = [
        Finding(
            "error", str(entry), "the link leads nowhere", "remove it, or bring what it leads to"
        )
        for entry in sorted(folder.iterdir())
        if entry.is_symlink() and not entry.exists()
    ]
    missed = left_out_at(folder)
    if not missed:
        return findings
    named = ", ".join(path.name for path in missed[:MOST_NAMED])
    more = ", ..." if len(missed) > MOST_NAMED else ""
    files = "1 file" if len(missed) == 1 else f"{len(missed)} files"
    problem = f"{files} left out, no images that are read: {named}{more}"
    advice = "save them as OME-TIFF or NIfTI"
    return [*findings, Finding("warning", str(folder), problem, advice)]


def channels_of(stems: Stems, survey: Survey, pattern: re.Pattern[str] = _CHANNEL) -> CaseFiles:
    """Case name to its files in channel order: ``CASE_0000``, ``CASE_0001``, ..."""
    cases: dict[str, dict[int, Path]] = {}
    for stem, path in stems.items():
        match = pattern.fullmatch(stem)
        if match is None:
            survey.error(
                str(path),
                "its name says no channel",
                "end the names of channels' files in _0000, _0001, ...",
            )
            continue
        cases.setdefault(match["case"] + match["rest"], {})[int(match["channel"])] = path
    # _w1 counts from 1, _ch00 and _0000 from 0
    first = 0 if pattern is _CHANNEL else min(min(channels) for channels in cases.values())
    for case, channels in list(cases.items()):
        if sorted(channels) != list(range(first, first + len(channels))):
            have = ", ".join(f"_{index:04d}" for index in sorted(channels))
            folder = next(iter(channels.values())).parent
            survey.error(
                str(folder / case),
                f"a case needs the channels _{first:04d}, _{first + 1:04d}, ..., it has {have}",
                "add what is missing or remove the case",
            )
            cases[case] = {}
    return {case: tuple(path for _, path in sorted(c.items())) for case, c in cases.items()}


def cases_of(stems: Stems, masks: Stems, survey: Survey) -> CaseFiles:
    """Case name to its files where a case is one file, or one file a channel.

    A number at the end is a channel's only where no mask has it in its name: ``IMG_0001`` with a
    mask ``IMG_0001`` is a case of its own.
    """
    known = {bare(stem) for stem in masks} | masks.keys()
    for pattern in (_CHANNEL, *_OTHER_CHANNELS):
        matches = [pattern.fullmatch(stem) for stem in stems]
        are_all = bool(matches) and all(matches) and not stems.keys() & known
        cases = {match["case"] + match["rest"] for match in matches if match}
        if are_all and (pattern is _CHANNEL or (len(cases) < len(stems) and cases & known)):
            return channels_of(stems, survey, pattern)
    return {stem: (path,) for stem, path in stems.items()}


def pair(
    images: CaseFiles, masks: Mapping[str, Path], where: Path, survey: Survey
) -> dict[str, tuple[tuple[Path, ...], Path]]:
    """Case name to images and mask, where both are there.

    Names that differ in nothing but words such as ``_mask`` belong together.

    Raises:
        DatasetError: there is neither an image nor a mask.
    """
    if not images and not masks:
        raise DatasetError(f"{where} holds no images that can be read")
    mask_of = _paired_names(images, masks)
    for name in sorted(images.keys() - mask_of.keys()):
        file = images[name][0] if images[name] else where / name
        survey.error(str(file), f"no mask is called {name}", "add it or remove this")
    for name in sorted(masks.keys() - set(mask_of.values())):
        survey.error(
            str(masks[name]),
            f"no image is called {name}",
            "add it or remove this",
        )
    return {
        name: (images[name], masks[mask]) for name, mask in sorted(mask_of.items()) if images[name]
    }


def with_masks(
    images: CaseFiles, masks: Mapping[str, Path], where: Path, survey: Survey
) -> CaseFiles:
    """The images that have a mask; how many have none is told."""
    mask_of = _paired_names(images, masks)
    left = len(images) - len(mask_of)
    if left:
        survey.warning(
            str(where), f"{left} images have no mask yet and are left out", "annotate them"
        )
    return {name: files for name, files in images.items() if name in mask_of}


def _paired_names(images: CaseFiles, masks: Mapping[str, Path]) -> dict[str, str]:
    """Name of the image to that of its mask; the same names first."""
    mask_of = {name: name for name in images if name in masks}
    for key in (bare, lambda stem: bare(stem).lower(), _without_zeros):
        keys: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for name in images.keys() - mask_of.keys():
            keys[key(name)][0].append(name)
        for name in masks.keys() - set(mask_of.values()):
            keys[key(name)][1].append(name)
        mask_of |= {i[0]: m[0] for i, m in keys.values() if len(i) == len(m) == 1}
    return mask_of


def _without_zeros(stem: str) -> str:
    """Also without the zeros before numbers: 001 and 1."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", bare(stem).lower())


def with_second_files(
    first: Mapping[str, Path], second: Mapping[str, Path], folder: str, survey: Survey
) -> dict[str, Path]:
    """By case the file in another folder; cases without one are told."""
    mask_of = _paired_names({name: (path,) for name, path in first.items()}, second)
    for name in sorted(first.keys() - mask_of.keys()):
        survey.error(
            str(first[name]),
            f"the folder {folder} has no file called {name}",
            "add it or remove this",
        )
    return {name: second[mask_of[name]] for name in first if name in mask_of}
