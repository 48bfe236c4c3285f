"""Images, and what people drew on them in a tool of annotation (``training.dataset.annotations``).

One file may hold the drawings of all images (COCO, CVAT, Label Studio), or there is one for each
image, beside it or in ``masks/``, ``labels/`` or ``annotations/``.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from seg.errors import DatasetError, ImageError
from seg.images.outlines.drawing import OBJECT
from training.dataset.annotations.annotated import (
    BACKGROUND,
    IGNORED,
    Annotated,
    with_crowds_ignored,
)
from training.dataset.annotations.formats import ENDINGS, read_annotations
from training.dataset.cases import Case, Dataset, Split
from training.dataset.classes import make_classes
from training.dataset.dataset_yaml import CARD, DatasetYaml
from training.dataset.findings.finding import Finding, raise_errors
from training.dataset.layouts.drawn_images import (
    MOST_ASKED,
    case_names,
    image_of,
    images_in,
    tell_left_out,
    tell_numbered,
    tell_other_name,
    tell_overlays,
)
from training.dataset.layouts.files import files_in
from training.dataset.layouts.found_classes import Given, channels_of_files, coded
from training.dataset.legend import IGNORE, Legend
from training.dataset.masks import MaskFiles
from training.dataset.names import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    folder_called,
    folders_in,
)
from training.dataset.splits import assign
from training.dataset.survey import Survey

_HELD_OUT = (
    re.compile(r"(^|[^a-z])test([^a-z]|$)", re.IGNORECASE),
    re.compile(r"(^|[^a-z])val(id|idation)?\d*([^a-z]|$)", re.IGNORECASE),
)
"""Names of files that hold the test cases: those of tests, or else those of validation."""
_Named = TypeVar("_Named", Path, str)


@dataclass
class Found:
    """Files of annotations, and the images of the folder."""

    folder: Path
    files: list[tuple[Path, Annotated]]
    images: list[Path]
    unread: list[Finding] = field(default_factory=list)


def find(path: Path) -> Found | None:
    """The annotations in a folder, or the file of them; None where there are none.

    Raises:
        DatasetError: a name is no text.
    """
    folder = path.parent if path.is_file() else path
    candidates = [path] if path.is_file() else _candidates(folder)
    drawn = Found(folder, [], [])
    for file in candidates:
        try:
            annotated = read_annotations(file)
        except (ImageError, OSError) as error:
            problem = str(error).removeprefix(f"{file}: ")
            drawn.unread.append(
                Finding("error", str(file), problem, "export it anew, or remove it")
            )
            continue
        if annotated is not None:
            drawn.files.append((file, annotated))
    taken = {file for file, _ in drawn.files}
    drawn.images = [image for image in images_in(folder) if image not in taken]
    if not drawn.files and not drawn.unread:
        drawn.unread = tell_overlays(drawn.images)
        if not drawn.unread:
            return None
    return drawn if drawn.files or drawn.images else None


def tell_passed_over(folder: Path, survey: Survey) -> None:
    """A finding where annotations of a tool lie beside masks, which are read."""
    for file in _candidates(folder)[:MOST_ASKED]:
        try:
            found = read_annotations(file)
        except (ImageError, OSError):
            continue
        if found is not None:
            problem = f"it holds annotations of {found.tool}, and the masks beside it are read"
            survey.warning(str(file), problem, "remove what is not meant")
            return


def _candidates(folder: Path) -> list[Path]:
    names = (*MASK_FOLDERS, *IMAGE_FOLDERS)
    inside = [entry for entry in sorted(folder.iterdir()) if entry.is_dir()]
    of_both = [each for each in inside if each.name.lower() in names]
    within = [part for each in of_both for part in folders_in(each)]
    if any(part.parent.name.lower() in MASK_FOLDERS and files_in(part) for part in within):
        within = []  # there are masks, folder by folder
    places = [folder, *of_both, *within]
    places += [
        entry
        for each in inside
        if any(p.search(each.name) for p in _HELD_OUT) or each.name.lower() in ("train", "training")
        for entry in (each, folder_called(each, MASK_FOLDERS), folder_called(each, IMAGE_FOLDERS))
        if entry
    ]
    return [
        file
        for place in dict.fromkeys(places)
        for file in sorted(place.iterdir())
        if file.is_file()
        and not file.name.startswith(".")
        and file.name.lower().endswith((*ENDINGS, ".txt", ".csv"))
    ]


def load_annotated(
    drawn: Found, card: DatasetYaml, survey: Survey, given: Given | None = None
) -> Dataset:
    """The dataset of what was drawn; images that nobody drew on are left out, and told.

    Raises:
        DatasetError: nothing was drawn on an image that is there, or ``dataset.yaml`` does not fit.
    """
    survey.findings += drawn.unread
    if card.masks == "instances":
        drawn.files = [(file, with_crowds_ignored(each)) for file, each in drawn.files]
    cases = _cases(drawn, survey)
    if not cases:
        raise_errors(survey.findings)
        raise DatasetError(_no_case(drawn))
    tell_left_out(drawn.files, survey)
    if card.masks == "instances" or all(
        case.drawing.are_numbered for case in cases if case.drawing
    ):
        cases = [replace(case, objects=case.mask) for case in cases]
    names = _classes(drawn, card, given, survey)
    if not card.classes:
        tell_numbered(drawn.folder, drawn.files, survey)
    classes = [name for name in dict.fromkeys(names.values()) if name not in (BACKGROUND, IGNORED)]
    if not classes:
        raise DatasetError(_nothing_drawn(drawn))
    legend = Legend(
        make_classes(
            [BACKGROUND, *classes],
            {c.name: c.color for c in card.classes if not isinstance(c, str) and c.color},
        ),
        ignores=IGNORED in names.values(),
    )
    index_of = {info.name: info.index for info in legend.classes} | {IGNORED: IGNORE}
    label_of = {drawn_as: index_of[name] for drawn_as, name in names.items()}
    try:
        dims = survey.image(cases[0]).dims
    except ImageError as error:
        raise DatasetError(f"case {cases[0].name}: {error}") from error
    return Dataset(
        name=card.name or drawn.folder.resolve().name,
        folder=drawn.folder,
        dims=2 if dims == 2 else 3,
        legend=coded(legend, card),
        channels=channels_of_files(card, survey, cases, dims),
        cases=assign(drawn.folder, card, cases, is_scored_only=given is not None),
        masks=MaskFiles("drawn", label_of_name=label_of),
        licence=card.licence or "not stated",
    )


def _classes(
    drawn: Found, card: DatasetYaml, given: Given | None, survey: Survey
) -> Mapping[str, str]:
    """What was drawn with to the name of its class, background and what is ignored among them.

    In the order of ``dataset.yaml`` or of the package, else as the files have them. Names that
    differ in capitals alone are one class, as ``dataset.yaml`` writes it, or as it came first.
    """
    names = list(dict.fromkeys(name for _, each in drawn.files for name in each.classes()))
    declared = [_class_of(c if isinstance(c, str) else c.name) for c in card.classes]
    found = {name: _class_of(name) for name in names}
    order = declared or [info.name for info in given or () if info.name in found.values()]
    written = {name.lower(): name for name in reversed([*order, *found.values()])}
    written |= {name.lower(): name for name in order}
    for name, own in found.items():
        found[name] = own if own in order else written[own.lower()]
        if found[name] != own:
            problem = f"{own} and {found[name]} differ in capitals alone, and are taken for one"
            advice = f"if they are two classes, list both in {CARD}"
            survey.warning(str(drawn.folder), problem, advice)
    if OBJECT in found.values() and len({*found.values()} - {OBJECT, BACKGROUND, IGNORED}):
        _tell_unnamed(drawn, survey)
    known = {*declared, BACKGROUND, IGNORED}
    unknown = list(dict.fromkeys(name for name in found.values() if name not in known))
    if declared and unknown:
        raise DatasetError(
            f"the annotations are of {', '.join(unknown)} too, which {CARD} does not list; add "
            "them to its classes"
        )
    return {name: name for name in order} | found


def _tell_unnamed(drawn: Found, survey: Survey) -> None:
    """A finding where some shapes have a class and others have none, which makes them one."""
    for file, each in drawn.files:
        if OBJECT in each.classes() and OBJECT not in each.names:
            survey.warning(
                str(file),
                f"some shapes have a class and others none; these are taken for a class, {OBJECT}",
                "name their class, call them ignore, or delete them",
            )


def _class_of(name: str) -> str:
    """What people and programs call background and what is not annotated, in one way each."""
    plain = name.strip().lower().strip("_* ")
    return plain if plain in (BACKGROUND, IGNORED) else name.strip()


def _nothing_drawn(drawn: Found) -> str:
    left_out = sum((Counter(each.left_out) for _, each in drawn.files), Counter[str]())
    what = ", ".join(f"{count} {kind}" for kind, count in left_out.items())
    return f"{drawn.folder} holds annotations, and no shape with an area in them" + (
        f": {what}; draw polygons or masks" if what else ""
    )


def _no_case(drawn: Found) -> str:
    unfinished = sum(len(each.unfinished) for _, each in drawn.files)
    if unfinished:
        return (
            f"{drawn.folder} holds {unfinished} tasks that nobody has annotated (predictions do "
            "not count); submit some in the tool, and export again"
        )
    return f"{drawn.folder} holds annotations, and none of them is of an image that lies there"


def _cases(drawn: Found, survey: Survey) -> list[Case]:
    names = case_names(drawn.images, drawn.folder)
    held_out = _held_out(drawn, survey)
    cases: dict[Path, Case] = {}
    for file, annotated in drawn.files:
        subsets = {key: annotated.subset_of.get(key, "") for key in annotated.drawings}
        tests = _of_tests(subsets)
        for key, drawing in annotated.drawings.items():
            split: Split = "test" if file in held_out or key in tests else "train"
            image = image_of(key, file, drawn.images, survey)
            if image is None:
                continue
            if image in cases:
                other = cases[image].mask
                problem = f"{image.name} is annotated in {other.name} too"
                survey.error(str(file), problem, "remove one of the two")
                continue
            if len(annotated.drawings) == 1:
                tell_other_name(file, image, drawn.images, survey)
            cases[image] = Case(
                name=names[image], images=(image,), mask=file, split=split, drawing=drawing
            )
    survey.findings += [
        Finding(
            "warning",
            str(image),
            "nobody annotated it, so it is left out",
            "annotate it, or remove it",
        )
        for image in drawn.images
        if image not in cases
    ]
    return sorted(cases.values(), key=lambda case: case.name)


def _held_out(drawn: Found, survey: Survey) -> set[Path]:
    names = {
        file: "/".join(file.relative_to(drawn.folder).parts).rsplit(".", 1)[0]
        for file, _ in drawn.files
    }
    held_out = _of_tests(names)
    for file, name in names.items():
        if held_out and file not in held_out and _HELD_OUT[1].search(name):
            problem = "test is held back, so what it annotates is trained on like the rest"
            survey.warning(
                str(file), problem, f"remove it, or name the test cases in split of {CARD}"
            )
    return held_out


def _of_tests(names: Mapping[_Named, str]) -> set[_Named]:
    """Those whose names say that they are for tests, or else for validation; not all of them."""
    for pattern in _HELD_OUT:
        found = {each for each, name in names.items() if pattern.search(name)}
        if found and len(found) < len(names):
            return found
    return set()
