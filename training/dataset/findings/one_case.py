"""Looks at a case as a careful colleague would; of it only a few numbers are kept."""

from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Integer

from seg.errors import ImageError
from seg.images import Image, Mask, Spacing, read_channels
from seg.images.grid.orientation import axis_codes
from seg.images.outlines.drawing import AnnotatedDrawing
from seg.transforms.levels import percentiles_of, sample_of
from training.dataset.case_numbers import CaseNumbers, numbers_of
from training.dataset.cases import Case, Dataset, misfits, numbered_objects, turned_onto
from training.dataset.dataset_yaml import CARD
from training.dataset.findings.duplicates import content_hash, thumbnail
from training.dataset.findings.edges import EdgeFit, edge_fields, edge_fit, fit_along_z
from training.dataset.findings.exchanged import ClassTraits, class_traits
from training.dataset.findings.finding import Finding
from training.dataset.findings.numbering import scattered
from training.dataset.findings.objects import object_findings, shapes_that_join
from training.dataset.findings.palettes import Colors, drawn_share, palette_of
from training.dataset.findings.sketches import Sketch, sketch_of
from training.dataset.findings.unannotated import LoneSlices, bare_part, lone_slices
from training.dataset.legend import IGNORE
from training.dataset.masks import hinted

ENDS = (0.5, 99.5)
"""Percentiles of intensities."""


@dataclass(frozen=True, eq=False)
class InspectedCase:
    """What is kept of a case."""

    case: Case
    findings: list[Finding] = field(default_factory=list)
    labels: frozenset[int] = frozenset()
    spacing: Spacing | None = None
    orientation: str | None = None
    """Axis codes."""
    content: str | None = None
    thumbnail: Float32[np.ndarray, " d"] | None = None
    mask_content: str | None = None
    """Of a mask with a class and background."""
    drawn_share: float = 0.0
    """Of the pixels of a grey picture, those that have a bright colour."""
    sketch: Sketch | None = None
    foreground: Float32[np.ndarray, " d"] | None = None
    """Thumbnail of where classes are."""
    foreground_share: float = 0.0
    traits: ClassTraits = field(default_factory=dict)
    palette: Colors = field(default_factory=dict)
    """Of the numbers in its mask's file, where that has one."""
    lone_slices: LoneSlices = field(default_factory=LoneSlices)
    bare: str | None = None
    """A part of it that seems not to be annotated."""
    edges: EdgeFit | None = None
    """How its mask lies on the edges of its image."""
    along_z: dict[int, float] | None = None
    """The same of a volume, moved by so many slices."""
    shape: tuple[int, ...] = ()
    levels: Float[np.ndarray, "c 2"] | None = None
    """How dark and how bright each channel gets, but for few voxels."""
    number_type: str = ""
    """Of the image's file, such as uint8."""
    same_channels: frozenset[int] = frozenset()
    """Those that are copies of the first one."""
    joined: tuple[int, int] = (0, 0)
    """Objects that were drawn one by one and touch another of their class, and all of them; where
    nobody asked to tell them apart."""
    in_pieces: tuple[int, int] = (0, 0)
    """Numbered objects that lie in several pieces, and all of them."""
    object_size: float | None = None
    """Median over its numbered objects, in mm² or mm³ where the spacing is known, else in
    voxels."""
    numbers: CaseNumbers | None = None
    """For the fingerprint; of sound cases that train, where it is asked for."""


def inspect_case(dataset: Dataset, voxels: int, case: Case) -> InspectedCase:
    """What one case holds, and what is wrong with it.

    Args:
        dataset: that it belongs to.
        voxels: drawn from it for the fingerprint; 0 where none is wanted.
        case: to look at.
    """
    findings: list[Finding] = []
    image = _image(dataset, case, findings)
    mask = _mask(dataset, case, image, findings)
    if image and mask:
        mask = turned_onto(image, mask)
        findings += [Finding("error", str(case.mask), *wrong) for wrong in misfits(image, mask)]
    in_pieces, object_size = (0, 0), None
    if image and mask and case.objects and not findings:
        found, in_pieces, object_size = _objects(dataset, case, image, mask)
        findings += found
    if image:
        where = str(case.images[0])
        findings += [Finding("error", where, *wrong) for wrong in dataset.wrong_channels(image)]
        findings += _intensities(dataset, case, image)
        look = "look whether that is what was meant"
        findings += [Finding("warning", where, note, look) for note in image.notes]
    labels = frozenset(int(label) for label in np.unique(mask.array)) if mask else frozenset()
    if mask and not labels - {0, IGNORE}:
        findings.append(_empty(case, labels))
    if mask and len(labels) == 1 and not labels & {0, IGNORE}:
        findings.append(_full(case))
    if image and mask and isinstance(case.drawing, AnnotatedDrawing):
        findings += _unseen(case, case.drawing, image)
    is_sound = not any(finding.severity == "error" for finding in findings)
    is_measured = bool(voxels) and is_sound and case.split == "train"
    seen = InspectedCase(case, findings, labels, in_pieces=in_pieces, object_size=object_size)
    if image:
        seen = _with_image(seen, image)
    if image and mask and is_sound:
        seen = _with_mask(seen, image, mask)
        seen = replace(seen, palette=_palette(dataset, case, labels))
    if image and mask and is_measured:
        seen = replace(seen, numbers=numbers_of(case, image, mask, voxels))
    return seen


def _with_image(seen: InspectedCase, image: Image) -> InspectedCase:
    first = image.array[0]
    return replace(
        seen,
        spacing=image.spacing,
        orientation=axis_codes(image),
        content=content_hash(image.array),
        thumbnail=thumbnail(image.array),
        drawn_share=drawn_share(image.array),
        sketch=sketch_of(image.array),
        shape=image.spatial_shape,
        levels=_levels(image),
        number_type=str(image.array.dtype),
        same_channels=frozenset(
            index
            for index, channel in enumerate(image.array)
            if index and np.array_equal(channel, first)
        ),
    )


def _levels(image: Image) -> Float[np.ndarray, "c 2"] | None:
    levels = np.array([percentiles_of(sample_of(each), ENDS) for each in image.array])
    return levels if np.isfinite(levels).all() and np.isfinite(image.array).all() else None


def _with_mask(seen: InspectedCase, image: Image, mask: Mask) -> InspectedCase:
    inside = (mask.array > 0) & (mask.array != IGNORE)
    fields = edge_fields(image, mask)
    return replace(
        seen,
        edges=edge_fit(fields) if fields else None,
        along_z=fit_along_z(image, mask),
        lone_slices=lone_slices(mask.array, image.spacing),
        bare=bare_part(image, mask),
        traits=class_traits(image, mask),
        foreground=thumbnail(inside[np.newaxis]),
        mask_content=content_hash(mask.array[np.newaxis]) if inside.any() else None,
        foreground_share=float(inside.mean()),
        joined=_joined(seen.case, image, mask) if not seen.findings else (0, 0),
    )


def _palette(dataset: Dataset, case: Case, labels: frozenset[int]) -> Colors:
    """Of the numbers that stand in a mask."""
    if dataset.masks.kind != "values":
        return {}
    label_of = dataset.masks.label_of or {label: label for label in labels}
    return palette_of(case.mask, [value for value, label in label_of.items() if label in labels])


def _objects(
    dataset: Dataset, case: Case, image: Image, mask: Mask
) -> tuple[list[Finding], tuple[int, int], float | None]:
    """What is odd about them; how many lie in several pieces, of how many; their size."""
    where = case.objects or case.mask
    try:
        numbers = dataset.stored_numbers(case, image)
    except ImageError as error:
        return (
            [_unreadable(str(where), error, "correct the file, or remove the case")],
            (0, 0),
            None,
        )
    findings = object_findings(where, numbers, mask.array)
    findings += _ignored_number(dataset, where, numbers)
    rows = (dataset.masks.classes_of_objects or {}).get(case.name, {})
    if lacking := len(set(rows) - set(np.unique(numbers).tolist()) - {0}):
        what = "rows of the table are of numbers that are not there"
        advice = "look whether table and numbers belong together"
        findings.append(Finding.counted(str(where), lacking, len(rows), what, advice))
    objects = numbered_objects(numbers, mask.array)
    sizes = np.bincount(objects.ravel())[1:]
    size = float(np.median(sizes)) * prod(image.spacing or (1,)) if len(sizes) else None
    return findings, scattered(objects), size


def _ignored_number(
    dataset: Dataset, where: Path, numbers: Integer[np.ndarray, "*spatial"]
) -> list[Finding]:
    """What is ignored is a number among others: of each image one object is not learnt."""
    there = set(np.unique(numbers).tolist()) if dataset.masks.kind == "instances" else set()
    return [
        Finding(
            "warning",
            str(where),
            f"{value} is ignored, and stands among the numbers of objects, beside {value - 1} and "
            f"{value + 1}",
            f"take ignore: {value} out of {CARD}, or mark what is ignored by a value of its own",
        )
        for value in dataset.masks.label_of
        if value > 1 and {value - 1, value, value + 1} <= there
    ]


def _joined(case: Case, image: Image, mask: Mask) -> tuple[int, int]:
    """How many of the shapes of a picture lie against another of their class."""
    if case.drawing is None or case.objects is not None or image.dims != 2:
        return 0, 0
    try:
        numbers = case.drawing.numbered(image)
    except ImageError:  # it draws classes
        return 0, 0
    return shapes_that_join(numbers, mask.array.astype(np.uint8))


def _image(dataset: Dataset, case: Case, findings: list[Finding]) -> Image | None:
    try:
        return read_channels(case.images, dims=dataset.dims)
    except ImageError as error:
        advice = "save it anew or remove the case"
        findings.append(_unreadable(str(case.images[0]), error, advice))
        return None


def _mask(
    dataset: Dataset, case: Case, image: Image | None, findings: list[Finding]
) -> Mask | None:
    try:
        return dataset.read_mask(case, image)
    except ImageError as error:
        advice = "correct the mask, or declare what it holds"
        error = ImageError(hinted(error, dataset.masks.kind))
        findings.append(_unreadable(str(case.mask), error, advice))
        return None


def _unreadable(where: str, error: ImageError, advice: str) -> Finding:
    return Finding("error", where, str(error).removeprefix(f"{where}: "), advice)


def _intensities(dataset: Dataset, case: Case, image: Image) -> list[Finding]:
    where = str(case.images[0])
    broken = image.array.size - int(np.count_nonzero(np.isfinite(image.array)))
    if broken:
        problem = f"the image holds NaN or infinity in {broken:,} values"
        return [Finding("error", where, problem, "replace them, for example by the lowest value")]
    return [
        Finding(
            "warning",
            str(case.images[index] if len(case.images) > 1 else case.images[0]),
            f"channel {dataset.channels[index].name} is {channel.flat[0]:g} everywhere"
            if index < len(dataset.channels)
            else f"channel {index} is {channel.flat[0]:g} everywhere",
            "look whether this is the right file",
        )
        for index, channel in enumerate(image.array)
        if channel.min() == channel.max()
    ]


def _full(case: Case) -> Finding:
    problem = "the mask shows one class everywhere and no background"
    advice = "keep it if the image shows nothing else, else annotate it"
    return Finding("warning", str(case.mask), problem, advice)


def _unseen(case: Case, drawing: AnnotatedDrawing, image: Image) -> list[Finding]:
    """Shapes that no pixel shows."""
    where, of_all = str(case.images[0]), f"of {len(drawing.shapes)} shapes"
    findings = []
    if lost := drawing.lost(image):
        problem = (
            f"{lost} {of_all} hold no pixel of the image, which has "
            f"{' x '.join(map(str, image.spatial_shape))}: they lie beside it, or are smaller "
            "than a pixel"
        )
        advice = "look whether they were drawn on this image, and are in pixels"
        findings.append(Finding("warning", where, problem, advice))
    if hidden := drawing.hidden(image):
        problem = f"{hidden} {of_all} lie under later ones, and no pixel of them is left"
        advice = "remove what was drawn twice, or draw what lies on other things after them"
        findings.append(Finding("warning", where, problem, advice))
    return findings


def _empty(case: Case, labels: frozenset[int]) -> Finding:
    if 0 not in labels:  # all of it is to be ignored
        return Finding(
            "warning", str(case.mask), "nobody annotated it", "annotate it or remove the case"
        )
    return Finding(
        "warning",
        str(case.mask),
        "the mask shows background only",
        "keep it if nothing is there, else annotate it",
    )
