"""``Annotated``: what one file of an annotation tool says, of one image or of many."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from seg.errors import ImageError
from seg.images.outlines.drawing import AnnotatedDrawing, Drawn


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
