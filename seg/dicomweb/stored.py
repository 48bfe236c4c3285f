"""What an archive says it has stored, and why not the rest."""

from dataclasses import dataclass
from typing import Any

from seg.dicomweb.attributes import value_of, values_of

STORED, FAILED, INSTANCE, REASON = "00081199", "00081198", "00081155", "00081197"
"""Attributes of an answer to a store, as tags."""
NO_SPACE, DUPLICATE = 0xA700, 0x0111
"""Reasons: the second says that the instance is there already."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """Source: DICOM PS3.18, 10.5.3."""

    stored: tuple[str, ...]
    """SOPInstanceUIDs of what is in the archive."""
    reasons: tuple[int, ...]
    """Why others are not."""

    @classmethod
    def of(cls, told: Any) -> "StoredAnswer":
        """Read from JSON; an instance that was stored before is stored.

        Raises:
            AttributeError: this is no such answer.
            TypeError: likewise.
            ValueError: likewise.
        """
        stored = [str(value_of(each, INSTANCE)) for each in values_of(told, STORED)]
        failed = [
            (value_of(each, INSTANCE), int(value_of(each, REASON) or 0))
            for each in values_of(told, FAILED)
        ]
        stored += [str(uid) for uid, reason in failed if reason == DUPLICATE and uid]
        return cls(tuple(stored), tuple(reason for _, reason in failed if reason != DUPLICATE))

    @property
    def is_out_of_space(self) -> bool:
        """There may be room later."""
        return any(reason >> 8 == NO_SPACE >> 8 for reason in self.reasons)

    @property
    def in_words(self) -> str:
        """Why some are not stored."""
        return ", ".join(sorted({_in_words(reason) for reason in self.reasons})) or "no reason"


def _in_words(reason: int) -> str:
    """Source: DICOM PS3.18, table 10.5.1-1, and PS3.4, table B.2-1."""
    if reason >> 8 == NO_SPACE >> 8:
        return "it is out of space"
    words = {
        0x0110: "it failed on them",
        0x0122: "it takes no such kind of DICOM",
        0x0124: "it does not allow it",
        0xA900: "they do not match",
        0xC000: "it cannot read them",
        0xC122: "it takes no such compression",
    }
    return words.get(reason, f"reason {reason:#06x}")
