"""How an image stands: its versions, and which of them training has."""

from typing import Any

from service.studio.on_disk.revisions import Record, Revision


def standing(record: Record, is_done: bool) -> dict[str, Any]:
    """Which version is shown, which one training has, and whether they differ."""
    trained_on = record.done.revision if record.done and is_done else None
    return {
        "revision": record.number,
        "done": is_done,
        "trained_on": trained_on,
        "changed": is_done and record.is_changed,
    }


def told_of(revision: Revision) -> dict[str, Any]:
    """A version as clients read it."""
    return revision.model_dump(
        mode="json", include={"revision", "state", "when", "who", "package", "source", "seconds"}
    )
