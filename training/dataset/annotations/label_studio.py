"""Label Studio: all tasks of a project in one JSON file (export "JSON", not "JSON-MIN").

Source: labelstud.io/guide/task_format.
"""

from collections import Counter
from typing import Any

from seg.errors import ImageError
from seg.images.outlines.label_studio import drawing_of
from training.dataset.annotations.annotated import Annotated


def is_label_studio(raw: Any) -> bool:
    """The JSON of a file is Label Studio's."""
    first = raw[0] if isinstance(raw, list) and raw else raw
    return (
        isinstance(first, dict)
        and isinstance(first.get("data"), dict)
        and any(isinstance(first.get(key), list) for key in ("annotations", "completions"))
    )


def read_label_studio(raw: Any) -> Annotated:
    """Drawings by the images of the tasks; of several annotations the one updated last is taken.

    Raises:
        ImageError: a result is not as Label Studio has it.
    """
    try:
        return _read(raw if isinstance(raw, list) else [raw])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ImageError(
            f"this Label Studio file is not as it should be: {error!r:.100}"
        ) from error


def _read(tasks: list[Any]) -> Annotated:
    drawings, unfinished, left_out = {}, [], Counter[str]()
    for task in tasks:
        name = _image_of(task)
        done = [
            each
            for each in task.get("annotations", task.get("completions", ()))
            if not each.get("was_cancelled")
        ]
        if not done:
            unfinished.append(name)
            continue
        left_out["earlier annotations of an image"] += len(done) - 1
        latest = max(done, key=lambda each: str(each.get("updated_at") or each.get("created_at")))
        drawings[name] = drawing_of(latest["result"], left_out)
    return Annotated("Label Studio", drawings, left_out=+left_out, unfinished=tuple(unfinished))


def _image_of(task: Any) -> str:
    """The file's name; that of an upload is told beside, and has a prefix of its own."""
    if isinstance(task.get("file_upload"), str):
        return str(task["file_upload"])
    data = task["data"]
    named = data.get("image") or next(
        (value for value in data.values() if isinstance(value, str) and "." in value), None
    )
    if not isinstance(named, str):
        raise ImageError(f"task {task.get('id')} of this Label Studio file names no image")
    return named.partition("?d=")[2] or named
