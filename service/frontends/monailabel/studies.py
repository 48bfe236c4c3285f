"""The studio's folder as MONAI Label's clients see it: tags, and what models thought of images.

The tag ``final`` is what is done of an image, with all its versions (``service.studio``). Masks of
other tags, and predicted Dice, lie in ``.monailabel/``, which no training looks into.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from seg.files import replace_file
from seg.images import stem_of
from service.problems.response import Problem
from service.studio.on_disk.classes import DrawnClasses
from service.studio.on_disk.drawing import Author, DrawnMask
from service.studio.on_disk.image_files import by_name, called
from service.studio.on_disk.studio_folder import MONAI_LABEL_ASIDE as ASIDE
from service.studio.on_disk.studio_folder import StudioFolder

FINAL = "final"
"""The tag of what a person drew."""
TAG = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
NOBODY = Author(source="monailabel")


class Studies(StudioFolder):
    """The folder; any method may be called from any thread."""

    def labels(self, identity: str) -> dict[str, Path]:
        """The masks of an image by their tags."""
        found = {path.name: called(path, identity) for path in self._tag_folders()}
        found[FINAL] = self.mask(identity)
        return {tag: path for tag, path in found.items() if path is not None}

    def all_labels(self) -> dict[str, dict[str, Path]]:
        """The same of every image; each folder is listed once."""
        found: dict[str, dict[str, Path]] = {identity: {} for identity in self.images()}
        masks = {path.name: by_name(path) for path in self._tag_folders()}
        masks[FINAL] = self.masks()
        for tag, paths in masks.items():
            for identity in found.keys() & paths.keys():
                found[identity][tag] = paths[identity]
        return found

    def label(self, identity: str, tag: str) -> Path:
        """One of them.

        Raises:
            Problem: 404, there is none.
        """
        path = self.labels(identity).get(tag or FINAL)
        if path is None:
            raise Problem(404, "this image has no label of this tag")
        return path

    def put_label(self, identity: str, tag: str, mask: DrawnMask, author: Author = NOBODY) -> None:
        """Keep a mask in the place of the one of that tag; what is done keeps its versions.

        Raises:
            Problem: 422, no such tag.
        """
        folder = self._tag_folder(tag)
        if tag == FINAL:
            self.keep(identity, mask, author)
            return
        self.room.require(len(mask.content))
        folder.mkdir(parents=True, exist_ok=True)
        before = called(folder, identity)
        target = folder / f"{identity}{mask.ending}"
        replace_file(target, mask.content, mode=0o600)
        if before not in (None, target):
            before.unlink(missing_ok=True)

    def remove_label(self, identity: str, tag: str) -> None:
        """Take a mask away; the versions of what was done stay.

        Raises:
            Problem: 404, there is none.
        """
        path = self.label(identity, tag)
        if (tag or FINAL) == FINAL:
            self.remove_mask(identity)
        else:
            path.unlink()

    def drawn_classes(self, fresh: Mapping[str, int]) -> DrawnClasses:
        """What the masks hold.

        Args:
            fresh: classes that are written down where there are neither masks nor a
                ``dataset.yaml`` yet.

        Raises:
            Problem: 409, nothing says it, or it cannot be read.
        """
        return self.begin([{"name": name} for name in fresh], are_objects=False)

    def predicted_dice(self, identity: str, model: str) -> float | None:
        """What a model thought of its mask of an image; None where it was not asked."""
        try:
            facts = json.loads(self._facts(identity).read_bytes())
        except (OSError, ValueError):
            return None
        return facts["predicted_dice"] if facts["model"] == model else None

    def note_dice(self, identity: str, model: str, predicted_dice: float) -> None:
        """Remember that."""
        path = self._facts(identity)
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"model": model, "predicted_dice": predicted_dice}
        replace_file(path, json.dumps(facts).encode(), mode=0o600)

    def _facts(self, identity: str) -> Path:
        return self.folder / ASIDE / "quality" / f"{identity}.json"

    def _tag_folder(self, tag: str) -> Path:
        if not TAG.fullmatch(tag):
            raise Problem(422, "a tag has up to 32 small letters, digits, dashes and underscores")
        return self.folder / ASIDE / "labels" / tag

    def _tag_folders(self) -> list[Path]:
        folder = self.folder / ASIDE / "labels"
        return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def ending_at(path: Path) -> str:
    """The ending of an image's file; nothing of a folder."""
    return "" if path.is_dir() else path.name[len(stem_of(path)) :]
