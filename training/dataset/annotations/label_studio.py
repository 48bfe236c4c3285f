"""Label Studio: all tasks of a project in one JSON file (export "JSON", not "JSON-MIN").

Source: labelstud.io/guide/task_format.
"""

from collections import Counter
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from seg.errors import ImageError
from seg.images import IMAGE_ENDINGS
from seg.images.outlines.drawing import AnnotatedDrawing
from seg.images.outlines.label_studio import drawing_of
from training.dataset.annotations.annotated import Annotated, add_drawing

EARLIER = "earlier annotations of an image"


def is_label_studio(raw: Any) -> bool:
    """The JSON of a file is Label Studio's."""
    first = raw[0] if isinstance(raw, list) and raw else raw
    return (
        isinstance(first, dict)
        and isinstance(first.get("data"), dict)
        and any(isinstance(first.get(key), list) for key in ("annotations", "completions"))
    )


def read_label_studio(raw: Any) -> Annotated:
    """Drawings by the images of the tasks; of several annotations the ground truth is taken.

    Where none or several of them are called so, it is the one of them that was updated last.

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
    drawings: dict[str, AnnotatedDrawing] = {}
    unfinished, left_out = [], Counter[str]()
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
        true = [each for each in done if each.get("ground_truth")]
        left_out["annotations of an image beside its ground truth" if true else EARLIER] += (
            len(done) - 1
        )
        latest = max(
            true or done, key=lambda each: str(each.get("updated_at") or each.get("created_at"))
        )
        add_drawing(drawings, name, drawing_of(latest["result"], left_out), "tasks")
    return Annotated("Label Studio", drawings, left_out=+left_out, unfinished=tuple(unfinished))


def _image_of(task: Any) -> str:
    """The file's name; that of an upload is told beside, and has a prefix of its own."""
    if isinstance(task.get("file_upload"), str):
        return str(task["file_upload"])
    data = task["data"]
    paths = [_path_of(value) for value in data.values() if isinstance(value, str) and "." in value]
    images = [path for path in paths if path.lower().endswith(IMAGE_ENDINGS)] or paths
    if isinstance(data.get("image"), str):
        return _path_of(data["image"])
    if len(images) != 1:
        what = "several images, and not which was drawn on" if images else "no image"
        raise ImageError(f"task {task.get('id')} of this Label Studio file names {what}")
    return images[0]


def _path_of(address: str) -> str:
    """The file that an address leads to: of a disk that is served, of a bucket, or as it is."""
    if "://" not in address and not address.startswith("/data/"):
        return address
    parts = urlsplit(address)
    on_disk = parse_qs(parts.query).get("d")
    return (on_disk[0] if on_disk else unquote(parts.path)).lstrip("/")
