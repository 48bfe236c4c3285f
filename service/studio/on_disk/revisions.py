"""What was drawn on an image, version by version: who, when, and from which package.

``records/ID.json`` lists the versions, whose masks lie in ``versions/ID/``. A version is written
down before the dataset's own mask is replaced, so that a killed process is finished by the next.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from seg.files import replace_file
from seg.frozen import FrozenData
from service.problems.response import Problem

DrawnBy = Literal["studio", "monailabel", "label-studio", "geojson", "outside"]
"""Where it was drawn; ``outside``: somebody replaced the file in the folder."""
DrawnState = Literal["draft", "done"]
"""A draft is kept for whoever goes on; what is done is the dataset's mask."""

TOGETHER = timedelta(minutes=10)
"""Drafts of one sitting that are saved within so long are one version."""


class Revision(FrozenData):
    """One version of what was drawn on an image."""

    revision: Annotated[int, Field(ge=1)]
    state: DrawnState
    when: datetime
    who: str = ""
    """Name of the key; nothing where nobody was asked."""
    package: str | None = None
    """Whose mask it began with, as ``NAME:VERSION``."""
    source: DrawnBy = "studio"
    file: str
    """Of its mask, in the folder of versions."""
    sha256: str
    seconds: Annotated[float, Field(ge=0)] | None = None
    """That a person was at it."""
    content: str | None = None
    """Tells the image that it was drawn on from another one in its place."""
    sitting: str = ""
    """Tells whoever draws from others of the same name, or of none; nothing where nobody said."""
    objects: dict[int, str] = Field(default_factory=dict)
    """Class of each object, where the dataset has a table of them."""

    def follows(self, before: "Revision") -> bool:
        """Both are drafts of one sitting; of two that nobody can be told by, neither is."""
        sitting = (self.who, self.source, self.sitting)
        return (
            before.state == "draft"
            and bool(self.who or self.sitting)
            and (before.who, before.source, before.sitting) == sitting
            and self.when - before.when < TOGETHER
        )


class Record(FrozenData):
    """All versions of an image."""

    revisions: tuple[Revision, ...] = ()
    applied: int = 0
    """The last one that is the dataset's mask."""
    was_held_back: bool = False
    """When its mask was taken away: what comes in its place is held back again."""

    @property
    def last(self) -> Revision | None:
        """What there is to go on with."""
        return self.revisions[-1] if self.revisions else None

    @property
    def number(self) -> int:
        """Of the last one; 0 where there is none."""
        return self.revisions[-1].revision if self.revisions else 0

    @property
    def done(self) -> Revision | None:
        """The last one that somebody called done."""
        return next((each for each in self.revisions[::-1] if each.state == "done"), None)

    @property
    def is_changed(self) -> bool:
        """Something else is drawn since somebody called it done: it is not what is trained on."""
        last, done = self.last, self.done
        if last is None or done is None or last.state == "done":
            return False
        return (last.sha256, last.objects) != (done.sha256, done.objects)

    @property
    def drawn_on(self) -> str | None:
        """The content of the image that the last version was drawn on; None where nobody knows."""
        return self.last.content if self.last else None

    def of(self, revision: int) -> Revision:
        """One of them.

        Raises:
            Problem: 404, there is none of that number.
        """
        for each in self.revisions:
            if each.revision == revision:
                return each
        raise Problem(404, f"this image has no version {revision}")

    def check_last(self, expected: int | None) -> None:
        """Pass where this version is the last one, or none is named.

        Raises:
            Problem: 412, another one is there by now.
        """
        if expected is not None and expected != self.number:
            by = f" by {self.last.who}" if self.last and self.last.who else ""
            raise Problem(
                412,
                f"version {self.number} of this image was saved{by} while you drew on version "
                f"{expected}; yours is not saved: load that one, or save yours on top of it",
                {"ETag": f'"{self.number}"'},
            )


def read_record(path: Path) -> Record:
    """The record of an image; an empty one where there is none.

    Raises:
        Problem: 409, it cannot be read.
    """
    try:
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Record()
    except (OSError, ValidationError):
        raise Problem(409, "what is written down of this image's versions is damaged") from None


def write_record(path: Path, record: Record) -> None:
    """Write it whole."""
    replace_file(path, record.model_dump_json(exclude_defaults=True).encode(), mode=0o600)
