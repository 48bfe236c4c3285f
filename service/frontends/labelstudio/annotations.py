"""What people have drawn in Label Studio, kept as masks of the dataset of ``SEG_STUDIES``.

Each annotation of an image is kept by itself, in ``.label-studio/``, which no training looks into.
The dataset's mask is the one that counts: ground truth before others, then what came last.
"""

import re
import threading
from pathlib import Path
from typing import BinaryIO

from seg.files import replace_file
from seg.images.endings import IMAGE_ENDINGS
from seg.images.reading import HEAD_BYTES, format_of
from service.frontends.monailabel.studies import FINAL, Studies

ASIDE = ".label-studio"
ENDING = ".tif"
TRUTH = "-truth"
_ENDINGS = {"JPEG": ".jpg", "TIFF": ".tif"}


class Annotations:
    """Of all tasks."""

    def __init__(self, studies: Studies) -> None:
        self.studies = studies
        self._lock = threading.Lock()

    def keep(
        self, image: str, file: BinaryIO, annotation: int, mask: bytes, *, is_truth: bool
    ) -> int:
        """Keep an annotation, and its image with it; the number of the one that counts.

        Raises:
            Problem: 409, another image has this id; 422, the file cannot be one of the dataset.
        """
        with self._lock:
            self.studies.add(image, _ending(file), file)
            folder = self._folder(image)
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{annotation}{TRUTH if is_truth else ''}{ENDING}"
            replace_file(folder / name, mask, mode=0o600)
            other = folder / f"{annotation}{'' if is_truth else TRUTH}{ENDING}"
            other.unlink(missing_ok=True)
            counting = self._settle(image)
        assert counting is not None
        return counting

    def forget(self, annotation: int) -> str | None:
        """Delete an annotation; the image that it was of."""
        with self._lock:
            root = self.studies.folder / ASIDE
            for name in (f"{annotation}{ENDING}", f"{annotation}{TRUTH}{ENDING}"):
                for file in root.glob(f"*/{name}"):
                    image = file.parent.name
                    file.unlink()
                    self._settle(image)
                    return image
        return None

    def _settle(self, image: str) -> int | None:
        """Make the annotation that counts the dataset's mask, or delete that of none."""
        files = list(self._folder(image).glob(f"*{ENDING}"))
        if not files:
            if (mask := self.studies.labels(image).get(FINAL)) is not None:
                mask.unlink()
            return None
        counting = max(files, key=lambda file: (TRUTH in file.name, file.stat().st_mtime_ns))
        self.studies.put_label(image, FINAL, ENDING, counting.read_bytes())
        number = re.match(r"\d+", counting.name)
        assert number is not None
        return int(number[0])

    def _folder(self, image: str) -> Path:
        return self.studies.folder / ASIDE / image


def _ending(file: BinaryIO) -> str:
    """By its content; the name that a client gave it is nobody's business."""
    file.seek(0)
    name = format_of(file.read(HEAD_BYTES)).name
    ending = _ENDINGS.get(name, f".{name.lower()}")
    return ending if ending in IMAGE_ENDINGS else ""
