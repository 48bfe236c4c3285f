"""``Annotated``: what one file of an annotation tool says, of one image or of many."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from seg.errors import ImageError
from seg.images.outlines.drawing import AnnotatedDrawing, Drawn

BACKGROUND, IGNORED = "background", "ignore"
"""Names of what is no class."""
FEWEST_NUMBERED = 4
_NUMBERED = re.compile(r"(?P<stem>.*?)[\s_.#(-]*\d+\)?")


@dataclass(frozen=True, eq=False, slots=True)
class Annotated:
    """Drawings by the image that they were made on."""

    tool: str
    """What wrote the file."""
    drawings: Mapping[str, Drawn]
    """By the name of the image, as the file has it; by "" where it names none."""
    names: tuple[str, ...] = ()
    """Classes in the order in which the file lists them; those that occur where it lists none."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many of what else was found, such as points and lines, which have no area."""
    unfinished: tuple[str, ...] = ()
    """Images that the file lists and nobody has annotated."""
    subset_of: Mapping[str, str] = field(default_factory=dict)
    """By the name of the image, what the file says that it is for, such as Train or Test."""

    def classes(self) -> tuple[str, ...]:
        """Those that the file lists, then others that occur, by name."""
        occurring = set().union(*(each.labels() for each in self.drawings.values()))
        return (*self.names, *sorted(occurring - set(self.names)))


def add_drawing(
    drawings: dict[str, AnnotatedDrawing], name: str, drawing: AnnotatedDrawing, entry: str
) -> None:
    """Take over the drawing of one more image.

    Args:
        drawings: by the name of the image.
        name: of the image.
        drawing: what was drawn on it.
        entry: what the tool has one of for each image, in the plural.

    Raises:
        ImageError: the image has a drawing already, which this one would take the place of.
    """
    if name in drawings:
        what = f"of the image {name}" if name else "of an image without a name"
        raise ImageError(f"several {entry} of this file are {what}; keep one of them")
    drawings[name] = drawing


def with_crowds_ignored(annotated: Annotated) -> Annotated:
    """The same where objects are told apart.

    Nobody outlined those of a crowd, so it is no place to learn or to score them.
    """

    def of_one(drawing: Drawn) -> Drawn:
        if not isinstance(drawing, AnnotatedDrawing):
            return drawing
        shapes = tuple(
            replace(shape, label=IGNORED) if shape.is_crowd else shape for shape in drawing.shapes
        )
        return replace(drawing, shapes=shapes)

    return replace(annotated, drawings={k: of_one(v) for k, v in annotated.drawings.items()})


def numbered_names(files: Iterable[Annotated]) -> list[str]:
    """Names such as cell1, cell2, ... of which none is drawn twice on an image.

    Each of them may stand for an object and not for a class.
    """
    drawings = [
        each
        for annotated in files
        for each in annotated.drawings.values()
        if isinstance(each, AnnotatedDrawing)
    ]
    found: dict[str, set[str]] = {}
    for name in set().union(*(each.labels() for each in drawings)):
        if match := _NUMBERED.fullmatch(name):
            found.setdefault(match["stem"], set()).add(name)
    several = [names for names in found.values() if len(names) >= FEWEST_NUMBERED]
    for names in several:
        drawn = [[s.label for s in each.shapes if s.label in names] for each in drawings]
        if all(len(set(each)) == len(each) for each in drawn):
            return sorted(names)
    return []
