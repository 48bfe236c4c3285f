"""Which files of a folder or an archive are the slices of one series.

Exports and CDs hold studies: several series, localizers, screenshots, reports, the same file twice.
What is no slice of a volume is left out and counted, so that nothing is left out without a word.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seg.errors import ImageError
from seg.images.dicom.file import Dataset, is_dicom, parse, translated
from seg.images.dicom.planes import SAME, Plane, plane_of
from seg.images.dicom.read_segmentation import SEGMENTATION
from seg.images.storage.folders import Entry
from seg.sentences import Sentence

SECONDARY_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
"""SOP class, and the beginning of those of several frames, of what was drawn on a screen."""

DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR, which holds names of files and no image."""

MOST_LISTED = 20
"""Series that a message names."""


@dataclass(frozen=True, slots=True)
class FoundSlice:
    """A file with an image, and its header."""

    entry: Entry
    header: Dataset


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """Files of one SeriesInstanceUID."""

    uid: str
    slices: tuple[FoundSlice, ...]
    left_out: Counter[str]
    """How many files of it are no slices of its volume, by what they are."""


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """What lies in a folder or an archive."""

    series: tuple[FoundSeries, ...]
    """Those of volumes, or of whatever there is where there are none."""
    left_out: Counter[str]
    """Other files, by what they are."""


def is_segmentation(header: Dataset) -> bool:
    """The file is a mask and no image."""
    return header.get("SOPClassUID") in SEGMENTATION


def study_of(entries: Sequence[Entry], *, labels: bool, dims: int | None) -> FoundStudy:
    """The series among files, each with what does not belong to its volume counted.

    Args:
        entries: Files of any kind.
        labels: Segmentations are wanted, and not images.
        dims: Spatial axes that are wanted.

    Raises:
        ImageError: a DICOM file is damaged, or none is an image.
    """
    left_out: Counter[str] = Counter()
    slices_of: dict[str, list[FoundSlice]] = {}
    for entry in entries:
        header = _header(entry)
        other = _what_else(header, labels)
        if header is not None and other is None:
            slices_of.setdefault(str(header.get("SeriesInstanceUID")), []).append(
                FoundSlice(entry, header)
            )
        elif other:
            left_out[other] += 1
    if not slices_of:
        if labels:
            raise ImageError("there is no DICOM SEG among the files, which a mask in DICOM is")
        raise ImageError("there is no DICOM image among the files; send the slices of one series")
    if labels:  # a mask beside its images is no file that somebody would miss
        return FoundStudy(
            tuple(FoundSeries(uid, tuple(slices), Counter()) for uid, slices in slices_of.items()),
            Counter(),
        )
    series = tuple(_volume_of(uid, slices) for uid, slices in sorted(slices_of.items()))
    volumes = tuple(each for each in series if _may_be_volume(each, dims))
    if not volumes:
        return FoundStudy(series, left_out)
    for each in series:
        if each not in volumes:
            what = "of localizers" if is_localizer(each.slices[0].header) else "of single images"
            left_out[what] += len(each.slices) + each.left_out.total()
    return FoundStudy(volumes, left_out)


def _what_else(header: Dataset | None, labels: bool) -> str | None:
    """What a file is that is not wanted; empty where nobody would miss it."""
    if header is None:
        return "that are no DICOM"
    if header.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY:
        return ""
    if header.get("Rows") is None:
        return "without an image"
    if is_segmentation(header) != labels:
        return "of images" if labels else "of segmentations"
    return None


def chosen_series(study: FoundStudy, uid: str | None) -> tuple[FoundSeries, tuple[str, ...]]:
    """The series of that name, or the one that there is; and what is to be said of the others.

    Raises:
        ImageError: there is none of that name, or none was named and there are several.
    """
    by_uid = {each.uid: each for each in study.series}
    listed = ", ".join(
        f"{each.uid} ({len(each.slices)} files)" for each in study.series[:MOST_LISTED]
    )
    if uid is not None:
        if uid not in by_uid:
            raise ImageError(
                f"there is no DICOM series {uid[:64]!r} among the files; there are {listed}"
            )
        return by_uid[uid], _in_words(study.left_out + by_uid[uid].left_out)
    if len(study.series) > 1:
        sizes = sorted((len(each.slices) for each in study.series), reverse=True)
        raise ImageError(
            f"one DICOM series is needed, the files belong to {len(sizes)}, with "
            f"{' and '.join(map(str, sizes))} slices; name one of them: {listed}"
        )
    (series,) = study.series
    return series, _in_words(study.left_out + series.left_out)


def _header(entry: Entry) -> Dataset | None:
    """The header of a DICOM file; None of any other."""
    with entry.open() as file:
        head = file.read(348)
        file.seek(0)
        return parse(file, pixels=False) if is_dicom(head) else None


@translated()
def _volume_of(uid: str, slices: list[FoundSlice]) -> FoundSeries:
    """The files of a series without those that are no slices of its volume."""
    left_out: Counter[str] = Counter()
    kept = _without_copies(slices, left_out)
    kept = _unless_all(kept, lambda each: is_localizer(each.header), "of localizers", left_out)
    kept = _unless_all(kept, lambda each: is_capture(each.header), "of screenshots", left_out)
    if len(kept) > 2:
        kept = _of_one_direction(kept, left_out)
    return FoundSeries(uid, tuple(kept), left_out)


def _without_copies(slices: list[FoundSlice], left_out: Counter[str]) -> list[FoundSlice]:
    """One of each instance; anonymisers may give one name to all, so that its place counts too."""
    seen: set[tuple[str, ...]] = set()
    kept = []
    for each in slices:
        names = ("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient")
        key = tuple(str(each.header.get(name)) for name in names)
        if each.header.get("SOPInstanceUID") and key in seen:
            left_out["that are there twice"] += 1
        else:
            seen.add(key)
            kept.append(each)
    return kept


def _unless_all(
    slices: list[FoundSlice],
    is_other: Callable[[FoundSlice], bool],
    what: str,
    left_out: Counter[str],
) -> list[FoundSlice]:
    kept = [each for each in slices if not is_other(each)]
    if not kept:
        return slices
    if len(kept) < len(slices):
        left_out[what] += len(slices) - len(kept)
    return kept


def _of_one_direction(slices: list[FoundSlice], left_out: Counter[str]) -> list[FoundSlice]:
    """Those that lie in the patient as most of them do, where most lie in one direction."""
    planes = [plane_of(each.header) for each in slices]
    if any(int(each.header.get("NumberOfFrames") or 1) > 1 for each in slices):
        return slices
    placed = [plane.position is not None and plane.axes is not None for plane in planes]
    if 2 * sum(placed) <= len(slices):
        return slices
    turns = [i for i, is_placed in enumerate(placed) if is_placed]
    alike = max((_alike(planes, turns, i) for i in turns), key=len)
    if 2 * len(alike) <= len(turns):
        return slices
    if len(turns) < len(slices):
        left_out["without a position"] += len(slices) - len(turns)
    if len(alike) < len(turns):
        left_out["of another direction"] += len(turns) - len(alike)
    return [slices[i] for i in alike]


def _alike(planes: Sequence[Plane], among: Sequence[int], first: int) -> list[int]:
    axes = np.array([planes[i].axes for i in among])
    same = np.abs(axes - planes[first].axes).max(axis=(1, 2)) <= SAME
    return [i for i, is_same in zip(among, same, strict=True) if is_same]


def _may_be_volume(series: FoundSeries, dims: int | None) -> bool:
    first = series.slices[0].header
    if is_localizer(first):
        return False
    is_single = len(series.slices) == 1 and int(first.get("NumberOfFrames") or 1) == 1
    return not (is_single and dims != 2)


def is_localizer(header: Dataset) -> bool:
    """An overview on which a scan is planned, and no slice of a volume."""
    kinds = header.get("ImageType") or ()
    values = [kinds] if isinstance(kinds, str) else [str(kind) for kind in kinds]
    return any("LOCALIZER" in value.upper() or value.upper() == "SCOUT" for value in values)


def is_capture(header: Dataset) -> bool:
    """What was drawn on a screen."""
    return str(header.get("SOPClassUID") or "").startswith(SECONDARY_CAPTURES)


def _in_words(left_out: Counter[str]) -> tuple[str, ...]:
    if not left_out.total():
        return ()
    total = left_out.total()
    parts = ", ".join(f"{count} {what}" for what, count in sorted(left_out.items()))
    sentence = f"{total} {'file' if total == 1 else 'files'} left out: {parts}"
    return (Sentence(sentence, "files_left_out", count=total),)
