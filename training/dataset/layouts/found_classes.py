"""Classes and channels by ``dataset.yaml``, or by what the files hold where it says nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from seg.errors import DatasetError, ImageError
from seg.images import ClassInfo
from seg.images.outlines.drawing import OBJECT
from seg.images.tiff.structure import nameless_pages
from seg.model_package import Channel
from training.dataset.annotations.itk_snap import label_tables, read_labels
from training.dataset.cases import Case
from training.dataset.classes import distinct_color, make_classes
from training.dataset.dataset_yaml import CARD, Color, DatasetYaml, DatasetYamlClass
from training.dataset.layouts.background import border_counts
from training.dataset.layouts.files import CLASSES
from training.dataset.layouts.object_table import object_table
from training.dataset.layouts.odd_masks import Values, listed
from training.dataset.layouts.undeclared import Shapes, doubts
from training.dataset.legend import IGNORE, Legend
from training.dataset.masks import MaskFiles, hinted, packed
from training.dataset.survey import Survey, each_that_reads

MOST_FOUND_CLASSES = 32
"""More values than this in undeclared masks are no classes: JPEG noise or object numbers."""
FEWEST_PAGES = 3
"""Two pages without a name are two stains; more may be a photo, a volume or a film as well."""
BINARY = (1, 255)
"""How programs write a mask of one thing."""


Given = Sequence[ClassInfo]
"""Classes of a package that is scored, for masks that say nothing of themselves."""


def legend_of(
    card: DatasetYaml,
    cases: Sequence[Case],
    dims: int,
    survey: Survey,
    given: Given | None = None,
) -> tuple[Legend, MaskFiles]:
    """What the numbers, or colours, in mask files mean; the survey takes doubts about them.

    Raises:
        DatasetError: card and files contradict each other.
    """
    _tell_background(card, survey)
    if card.masks == "values" and not card.classes:
        card = _with_found_classes(card, cases, dims, survey, given)
    classes = [
        DatasetYamlClass(name=each) if isinstance(each, str) else each for each in card.classes
    ]
    colors = {each.name: each.color for each in classes if each.color}
    names = [each.name for each in classes]
    ignored = _ignored(card)
    if card.masks == "instances":
        if any(case.objects not in (None, case.mask) for case in cases):
            # the classes are masks of their own
            as_values = card.model_copy(update={"masks": "values", "objects": None})
            return legend_of(as_values, cases, dims, survey, given)
        names = names or ["background", OBJECT]
        table = object_table(cases, card.objects, names, survey) if card.objects else None
        if len(names) != 2 and table is None:
            raise DatasetError(
                f"{CARD} says masks: instances and names {len(names)} classes: "
                f"{', '.join(names)}; say the class of each object, by a folder {CLASSES} with "
                "masks of classes or by objects: a table with the columns case, label and class"
            )
        return Legend(make_classes(names, colors), ignores=bool(ignored)), MaskFiles(
            "instances", ignored, classes_of_objects=table
        )
    if card.objects:
        raise DatasetError(f"objects in {CARD} is for masks: instances")
    if card.masks == "colors":
        label_of = {packed(color): i for i, color in enumerate(_colors(classes))}
        legend = Legend(make_classes(names, colors), ignores=bool(ignored))
    elif any(each.values for each in classes):
        legend, label_of = _overlapping(classes, colors)
    else:
        values = [i if each.value is None else each.value for i, each in enumerate(classes)]
        label_of = {value: label for label, value in enumerate(values)}
        by_name = {name: (value,) for name, value in zip(names, values, strict=True)}
        legend = Legend(make_classes(names, colors, by_name))
    if len(label_of) != legend.num_labels:
        raise DatasetError(f"two classes in {CARD} have the same {card.masks[:-1]}")
    if label_of.keys() & ignored.keys():
        raise DatasetError(f"ignore in {CARD} needs a {card.masks[:-1]} that no class has")
    legend = Legend(legend.classes, legend.regions, ignores=bool(ignored))
    return legend, MaskFiles(card.masks, label_of | ignored)


def _tell_background(card: DatasetYaml, survey: Survey) -> None:
    if (first := card.first_of_all()) is not None:
        problem = f"the first class, {first}, is taken for background, which is not learnt"
        survey.warning(CARD, problem, "list background before it, if it is something to be found")


def _with_found_classes(
    card: DatasetYaml,
    cases: Sequence[Case],
    dims: int,
    survey: Survey,
    given: Given | None,
) -> DatasetYaml:
    """The card with classes by the values in the masks, which it says nothing of."""
    shapes = Shapes()
    look = partial(_values, survey=survey, dims=dims, card=card, shapes=None if given else shapes)
    masks = list(each_that_reads(cases, look))
    values = sorted(set().union({0}, *(mask.values for mask in masks)))
    if given:
        return card.model_copy(update={"classes": classes_as_given(given, values, survey)})
    if len(values) > MOST_FOUND_CLASSES:
        raise DatasetError(
            f"the masks hold more than {MOST_FOUND_CLASSES} different values"
            f"{_most_of_them(masks)}; masks need one "
            f"value a class, saved without loss (PNG or TIFF); where the values number "
            f"objects, write masks: instances into {CARD}; where there are that many classes, "
            "list them in it"
        )
    if len(values) == 1:
        raise DatasetError("masks need values above 0 for what is not background, got 0 only")
    survey.findings += doubts(masks, shapes)
    named = _named_by_a_table(cases)
    unnamed = [value for value in values[1:] if value not in named] if named else []
    if unnamed:
        survey.warning(
            str(cases[0].mask.parent),
            f"the table of labels has no name for the values {listed(unnamed)} of the masks, which "
            "are taken for classes",
            "add them to the table, or correct the masks",
        )
    names = [named.get(value, f"class_{index}") for index, value in enumerate(values)]
    names[0] = "background"
    if len(set(names)) < len(names):
        names = ["background", *(f"class_{index}" for index in range(1, len(values)))]
    classes = [DatasetYamlClass(name=n, value=v) for n, v in zip(names, values, strict=True)]
    return card.model_copy(update={"classes": tuple(classes)})


def _most_of_them(masks: Sequence[Values]) -> str:
    """Which mask alone has too many values, as an image among the masks."""
    fullest = max(masks, key=lambda mask: len(mask.values))
    rest = set().union(*(mask.values for mask in masks if mask is not fullest))
    if len(masks) < 2 or len(rest) > MOST_FOUND_CLASSES:
        return ""
    return f", {len(fullest.values)} of them in {fullest.case.mask} (is it an image?)"


def classes_as_given(
    given: Given, in_masks: Sequence[int], survey: Survey
) -> tuple[DatasetYamlClass, ...]:
    """The package's classes, for masks with these values.

    Raises:
        DatasetError: a value is none that the package's training had.
    """
    values = [each.values or (each.index,) for each in given]
    one_class = len(given) == 2 and len(values[1]) == 1
    if one_class and {*in_masks, values[1][0]} == {0, *BINARY}:
        # the two ways in which all programs write a mask of one thing
        was = values[1][0]
        values[1] = tuple(value for value in BINARY if value != was)
        problem = (
            f"the value {values[1][0]} is taken for {given[1].name}, which was {was} in training"
        )
        advice = f"if it is something else, list the classes in {CARD}"
        survey.warning("masks", problem, advice)
    unknown = sorted(set(in_masks) - {0} - {value for each in values for value in each})
    if unknown:
        known = ", ".join(
            f"{each.name} = {'+'.join(map(str, of))}"
            for each, of in zip(given, values, strict=True)
        )
        entries = ", ".join(f"{{name: {each.name}, value: ...}}" for each in given)
        raise DatasetError(
            f"the masks hold the values {', '.join(map(str, unknown[:6]))}, which no class of the "
            f"package had in training ({known}); say in {CARD} what the values are: classes: "
            f"[{entries}], or masks: instances where they number objects"
        )
    there = [bool({*of} & {*in_masks}) for of in values[1:]]
    if any(there) and not all(there):
        absent = [
            each.name for each, is_shown in zip(given[1:], there, strict=True) if not is_shown
        ]
        survey.warning(
            "masks",
            f"no mask shows {', '.join(absent)}, so all that is found of it counts as wrong",
            f"if nobody annotated it here, its score says nothing; if it is really not there, list "
            f"the classes in {CARD}",
        )
    return tuple(
        DatasetYamlClass(name=each.name, color=each.color, value=of[0])
        if len(of) == 1
        else DatasetYamlClass(name=each.name, color=each.color, values=of)
        for each, of in zip(given, values, strict=True)
    )


def _named_by_a_table(cases: Sequence[Case]) -> dict[int, str]:
    """Names by value, where ITK-SNAP's table of them lies with the masks or above."""
    folder = cases[0].mask.parent
    tables = label_tables(folder, folder.parent)
    return {row.value: row.name for row in read_labels(tables[0])} if len(tables) == 1 else {}


def coded(legend: Legend, card: DatasetYaml) -> Legend:
    """The legend with the codes that ``dataset.yaml`` names its classes by."""
    codes = {
        each.name: {"category": each.category, "type": each.type, "laterality": each.laterality}
        for each in card.classes
        if isinstance(each, DatasetYamlClass)
    }
    classes = tuple(each.model_copy(update=codes.get(each.name, {})) for each in legend.classes)
    return replace(legend, classes=classes)


def _ignored(card: DatasetYaml) -> dict[int, int]:
    if card.ignore is None:
        return {}
    if isinstance(card.ignore, int) == (card.masks == "colors"):
        wanted = "a color, [red, green, blue]" if card.masks == "colors" else "a number"
        raise DatasetError(f"ignore in {CARD} is {wanted} where masks are {card.masks}")
    return {packed(card.ignore) if isinstance(card.ignore, tuple) else card.ignore: IGNORE}


def _colors(classes: Sequence[DatasetYamlClass]) -> list[Color]:
    found = []
    for index, each in enumerate(classes):
        if each.color is None and index > 0:
            raise DatasetError(
                f"{CARD} says masks: colors, so class {each.name} needs a color, [red, green, blue]"
            )
        found.append(each.color or distinct_color(0))
    if not found:
        raise DatasetError(f"{CARD} says masks: colors, so it needs classes, each with its color")
    return found


def _overlapping(
    classes: Sequence[DatasetYamlClass], colors: Mapping[str, Color]
) -> tuple[Legend, dict[int, int]]:
    background, *foreground = classes
    if background.values is not None:
        raise DatasetError(f"the first class in {CARD} is background, which has one value")
    values = [
        each.values or (index if each.value is None else each.value,)
        for index, each in enumerate(foreground, start=1)
    ]
    label_of = {background.value or 0: 0}
    for value in sorted(set().union(*values)):
        if value in label_of:
            raise DatasetError(f"two classes in {CARD} have the value {value}, one is background")
        label_of[value] = len(label_of)
    regions = tuple(tuple(label_of[value] for value in each) for each in values)
    names = [each.name for each in classes]
    by_name = dict(zip(names, [(background.value or 0,), *values], strict=True))
    return Legend(make_classes(names, colors, by_name), regions), label_of


def _values(
    case: Case, survey: Survey, dims: int, card: DatasetYaml, shapes: Shapes | None
) -> Values:
    """What a mask holds; the shapes in it are looked at while it is at hand."""
    try:
        labels = survey.mask(case, dims).array
    except ImageError as error:
        raise DatasetError(f"case {case.name}: {hinted(error, card.masks)}") from error
    is_one_piece = shapes is not None and shapes.add(labels)
    values, counts = (each.tolist() for each in np.unique(labels, return_counts=True))
    pixels, on_border = dict(zip(values, counts, strict=True)), border_counts(labels)
    if isinstance(card.ignore, int):
        pixels.pop(card.ignore, None)
        on_border.pop(card.ignore, None)
    return Values(case, pixels, is_one_piece, on_border)


def channels_of_files(
    card: DatasetYaml, survey: Survey, cases: Sequence[Case], dims: int
) -> tuple[Channel, ...]:
    """The channels that the card names, or those of the first case that can be read.

    Raises:
        DatasetError: none can be read.
    """
    if card.channels:
        return tuple(Channel(name=c) if isinstance(c, str) else c for c in card.channels)
    count, is_one_file = survey.channels_of(cases, dims), len(cases[0].images) == 1
    is_guessed = is_one_file and dims == 2 and _tell_pages(cases, survey)
    is_photo = count == 3 and is_one_file and dims == 2 and not is_guessed
    photo = ("red", "green", "blue") if is_photo else None
    return tuple(
        Channel(name=photo[index], modality="photo") if photo else Channel(name=f"channel_{index}")
        for index in range(count)
    )


def _tell_pages(cases: Sequence[Case], survey: Survey) -> bool:
    """Whether pages that nothing names were taken for channels; if so, it is told."""
    file = cases[0].images[0]
    pages = nameless_pages(file) if file.is_file() else 0
    if pages < FEWEST_PAGES:
        return False
    survey.warning(
        str(file),
        f"nothing in the file names its {pages} pages, so they were taken as channels of one image",
        f"name the channels in {CARD} if they are; if they are slices of a volume or moments of a "
        "film, save each as an image of its own, or name the axes in the file",
    )
    return True
