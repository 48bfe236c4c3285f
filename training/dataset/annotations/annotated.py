"""``Annotated``: what one file of an annotation tool says, of one image or of many."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from seg.images.outlines.drawing import Drawn


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

    def classes(self) -> tuple[str, ...]:
        """Those that the file lists, then others that occur, by name."""
        occurring = set().union(*(each.labels() for each in self.drawings.values()))
        return (*self.names, *sorted(occurring - set(self.names)))
