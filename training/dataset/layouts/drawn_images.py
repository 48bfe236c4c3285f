"""Which image of a folder a drawing was made on: by the name in the file, or by the file's own."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from seg.images import IMAGE_ENDINGS, stem_of
from seg.images.endings import is_image_folder
from training.dataset.annotations.annotated import Annotated, numbered_names
from training.dataset.annotations.formats import ENDINGS
from training.dataset.annotations.imagej import has_overlay
from training.dataset.dataset_yaml import CARD
from training.dataset.findings.finding import Finding
from training.dataset.names import MASK_FOLDERS, bare, check_text, composed
from training.dataset.survey import Survey

_UPLOADED = re.compile(r"[0-9a-f]{8}-(?P<name>.+)")
"""Label Studio puts such a number before the names of what was uploaded."""
_DEEPEST = 3
MOST_ASKED = 3
"""Files that are looked into where masks are there too, or no annotations."""
_WHY = {
    "earlier": "the latest is taken",
    "ground truth": "that one is taken",
    "within another": "COCO knows no holes and fills them; save run lengths to keep them",
    "second": "the first is taken",
    "without a label": "nobody named them",
}
"""Why something is left out, by a word in its name."""
Files = Sequence[tuple[Path, Annotated]]
"""Of annotations, and what they say."""


def images_in(folder: Path, depth: int = 0) -> list[Path]:
    """Images of the folder and of those within it, but not of those for masks."""
    found = []
    for entry in sorted(folder.iterdir()):
        name = entry.name.lower()
        if name.startswith("."):
            continue
        is_file = entry.is_file() and name.endswith(IMAGE_ENDINGS)
        if (is_file and not name.endswith(ENDINGS)) or is_image_folder(entry):
            check_text([entry])
            found.append(entry)
        elif entry.is_dir() and depth < _DEEPEST and name not in MASK_FOLDERS:
            found += images_in(entry, depth + 1)
    return found


def tell_overlays(images: Sequence[Path]) -> list[Finding]:
    """A finding where regions were drawn on the images and nowhere else."""
    advice = (
        "in ImageJ choose Image > Overlay > To ROI Manager, and save them there as a ZIP file that "
        "is called after the image"
    )
    return [
        Finding("error", str(each), "regions in an image's overlay are not read", advice)
        for each in images[:MOST_ASKED]
        if has_overlay(each)
    ]


def image_of(key: str, file: Path, images: Sequence[Path], survey: Survey) -> Path | None:
    """The image of that name, or the one that the file is called after; else a finding."""
    found = _images_of(key, file, images)
    if not found:
        what = f"the image {key}, which it was drawn on," if key else "its image"
        survey.error(str(file), f"{what} is not there", "add the image, or export without it")
    elif len(found) > 1:
        places = " and ".join(str(each.parent) for each in found[:2])
        problem = f"the image {key or found[0].name} lies in {places}, and it names neither"
        survey.error(str(file), problem, "keep one of them, or name the folder in the file")
    return found[0] if len(found) == 1 else None


def _images_of(key: str, file: Path, images: Sequence[Path]) -> list[Path]:
    parts = PurePosixPath(composed(key.replace("\\", "/"))).parts
    wanted = PurePosixPath(*(part for part in parts if part != ".."))
    uploaded = _UPLOADED.fullmatch(wanted.name)
    stem = wanted.stem if key else _stem(file)
    for name in (wanted.name, uploaded["name"] if uploaded else "", "" if key else stem):
        same = [image for image in images if name and composed(image.name) == name]
        if len(same) > 1:  # of equal names in several folders the one whose folder fits, too
            same = [i for i in same if composed(i.as_posix()).endswith(f"/{wanted}")] or same
            same = [i for i in same if i.is_relative_to(file.parent)] or same
        if len(same) > 1:  # labels/train/a.json, and instances_val.json
            same = [i for i in same if i.parent.name == file.parent.name] or same
            same = [i for i in same if i.parent.name.lower() in _words(file)] or same
        if same:
            return same
    for transformed in (lambda s: s, bare, lambda s: bare(s).lower()):
        same = [i for i in images if transformed(composed(stem_of(i))) == transformed(stem)]
        beside = [i for i in same if i.parent == file.parent]
        if len(same) == 1 or len(beside) == 1:
            return beside or same
    return []


def _words(file: Path) -> list[str]:
    return re.split(r"[^a-z0-9]+", file.name.lower())


def _stem(file: Path) -> str:
    ending = next(each for each in ENDINGS if file.name.lower().endswith(each))
    return composed(file.name[: -len(ending)])


def case_names(images: Sequence[Path], folder: Path) -> dict[Path, str]:
    """Stems where they differ, else with the folders above them."""
    counts = Counter(composed(stem_of(image)) for image in images)
    return {
        image: stem
        if counts[stem := composed(stem_of(image))] == 1
        else "_".join((*image.relative_to(folder).parent.parts, stem))
        for image in images
    }


def tell_other_name(file: Path, image: Path, images: Sequence[Path], survey: Survey) -> None:
    """A finding where a file is called after one image and says that it was drawn on another."""
    beside = {composed(stem_of(each)) for each in images if each.parent == file.parent}
    if _stem(file) in beside and _stem(file) != composed(stem_of(image)):
        problem = f"it is called after another image than {image.name}, which it names and is taken"
        survey.warning(str(file), problem, "correct the name of the image in it (imagePath)")


def tell_numbered(folder: Path, files: Files, survey: Survey) -> None:
    """A finding where each object seems to have a class of its own."""
    if names := numbered_names(each for _, each in files):
        listed = ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])])
        survey.warning(
            str(folder),
            f"{len(names)} classes are called {listed}, and each is drawn once an image: they look "
            "like numbers of objects",
            f"call all of them the same and write masks: instances into {CARD}; or, if these are "
            "classes, list them there",
        )


def tell_left_out(files: Files, survey: Survey) -> None:
    """A finding for each kind of what is no shape with an area."""
    for file, annotated in files:
        for what, count in annotated.left_out.items():
            if count:
                why = next((text for word, text in _WHY.items() if word in what), "no area")
                problem = f"left out: {count} {what} ({why})"
                advice = "draw polygons or masks where they matter"
                survey.warning(str(file), problem, advice)
