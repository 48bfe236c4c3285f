"""What somebody drew, and who it was."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from service.studio.on_disk.revisions import DrawnBy, Revision


@dataclass(frozen=True, kw_only=True)
class DrawnMask:
    """A mask as the dataset has it, and where it comes from."""

    content: bytes
    ending: str
    objects: Mapping[int, str]
    """Class of each object, where the dataset has a table of them."""
    drawn_on: str | None = None
    """Content of the image; None where nobody knows."""

    def is_of(self, revision: Revision) -> bool:
        """A version is this mask, with these classes of its objects."""
        is_same = hashlib.sha256(self.content).hexdigest() == revision.sha256
        return is_same and dict(self.objects) == revision.objects


@dataclass(frozen=True, kw_only=True)
class Author:
    """Who drew, by what, and for how long."""

    who: str = ""
    """Name of the key."""
    source: DrawnBy = "studio"
    package: str | None = None
    seconds: float | None = None
    sitting: str = ""
    """Of the drawing, where the client named it."""
