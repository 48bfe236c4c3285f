"""What people have drawn in Label Studio, kept as masks of the folder in which all draw.

Each annotation of an image is kept by itself, in ``.label-studio/``, which no training looks into.
The dataset's mask is the one that counts: ground truth before others, then what came last.
"""

import base64
import json
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

from seg.files import replace_file
from seg.images.endings import IMAGE_ENDINGS
from seg.images.reading import HEAD_BYTES, format_of
from service.studio.on_disk.drawing import Author, DrawnMask
from service.studio.on_disk.studio_folder import LABEL_STUDIO_ASIDE as ASIDE
from service.studio.on_disk.studio_folder import StudioFolder

_ENDINGS = {"JPEG": ".jpg", "TIFF": ".tif"}


class Annotations:
    """Of all tasks."""

    def __init__(self, folder: StudioFolder) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def keep(
        self, image: str, file: BinaryIO, annotation: int, mask: DrawnMask, author: Author,
        *, is_truth: bool,
    ) -> int:  # fmt: skip
        """Keep an annotation, and its image with it; the number of the one that counts.

        Raises:
            Problem: 409, another image has this id; 422, the file cannot be one of the dataset.
        """
        kept = {
            "is_truth": is_truth,
            "who": author.who,
            "ending": mask.ending,
            "objects": dict(mask.objects),
            "drawn_on": mask.drawn_on,
            "mask": base64.b64encode(mask.content).decode(),
        }
        with self._lock:
            self.folder.add(image, _ending(file), file)
            content = json.dumps(kept).encode()
            self.folder.room.require(len(content))
            path = self._aside(image) / f"{annotation}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content, mode=0o600)
            counting = self._settle(image, annotation)
        assert counting is not None
        return counting

    def forget(self, annotations: Collection[int]) -> list[str]:
        """Let annotations count no more; the images that they were of."""
        gone = {str(number) for number in annotations}
        with self._lock:
            files = [
                file for file in (self.folder.folder / ASIDE).glob("*/*.json") if file.stem in gone
            ]
            for file in files:
                file.unlink()
            for image in {file.parent.name for file in files}:
                self._settle(image)
        return [file.parent.name for file in files]

    def _settle(self, image: str, drawn: int | None = None) -> int | None:
        """Make the annotation that counts the dataset's mask, or take that away where none does.

        What somebody drew elsewhere since then stays, but for one that is ``drawn`` now.
        """
        found: list[tuple[bool, int, int, dict[str, Any]]] = []
        for file in self._aside(image).glob("*.json"):
            kept = json.loads(file.read_bytes())
            found.append((kept["is_truth"], file.stat().st_mtime_ns, int(file.stem), kept))
        if image not in self.folder.images():
            return None
        last = None if self.folder.mask(image) is None else self.folder.record(image).done
        is_ours = last is not None and last.source == "label-studio"
        if not found:
            if is_ours:
                self.folder.remove_mask(image)
            return None
        _, _, number, kept = max(found, key=lambda each: each[:3])
        mask = DrawnMask(
            content=base64.b64decode(kept["mask"]),
            ending=kept["ending"],
            objects={int(number): name for number, name in kept["objects"].items()},
            drawn_on=kept.get("drawn_on"),  # those kept before do not say it
        )
        if last is None or (number == drawn and not is_ours) or (is_ours and not mask.is_of(last)):
            self.folder.keep(image, mask, Author(who=kept["who"], source="label-studio"))
        return number

    def _aside(self, image: str) -> Path:
        return self.folder.folder / ASIDE / image


def _ending(file: BinaryIO) -> str:
    """By its content; the name that a client gave it is nobody's business."""
    file.seek(0)
    name = format_of(file.read(HEAD_BYTES)).name
    ending = _ENDINGS.get(name, f".{name.lower()}")
    return ending if ending in IMAGE_ENDINGS else ""
