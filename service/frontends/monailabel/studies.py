"""A folder of images and masks in which people annotate, and which training reads as it is.

``images/ID.nii.gz`` or ``images/ID/`` (the slices of a series), what people drew in ``masks/``, and
``dataset.yaml``, which says what its numbers mean. What models drew, and what they thought of it,
lies in ``.monailabel/``, which no training looks into.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import yaml

from seg.errors import ImageError
from seg.files import replace_file, replaced_file, sha256_of
from seg.images import images_at, stem_of
from service.problems.response import Problem

FINAL = "final"
"""The tag of what a person drew."""
IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
TAG = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
CHANNEL = re.compile(r"_\d{4}$")
CARD = "dataset.yaml"
ASIDE = ".monailabel"


class Studies:
    """The folder; any method may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._images, self._masks = folder / "images", folder / "masks"

    def images(self) -> dict[str, list[Path]]:
        """The files of each image by its id, one a channel or one for all."""
        found: dict[str, list[Path]] = {}
        for path in images_at(self._images) if self._images.is_dir() else []:
            found.setdefault(CHANNEL.sub("", stem_of(path)), []).append(path)
        return found

    def files_of(self, identity: str) -> list[Path]:
        """The files of an image.

        Raises:
            Problem: 404, there is none of that id.
        """
        found = self.images().get(identity)
        if found is None:
            raise Problem(404, "there is no such image; GET /datastore/?output=all lists them")
        return found

    def add(self, identity: str, ending: str, file: BinaryIO) -> None:
        """Take an image in, whole or not at all.

        Raises:
            Problem: 422, no such id or no ending of an image; 409, another image has this id.
        """
        if not IDENTITY.fullmatch(identity) or CHANNEL.search(identity):
            raise Problem(
                422,
                "an image's id has up to 128 letters, digits, dots, dashes and underscores, and "
                "does not end in _0000",
            )
        if not ending:
            raise Problem(422, "the file's name must end as an image's does, such as .nii.gz")
        self._images.mkdir(parents=True, exist_ok=True)
        known = self.images().get(identity)
        with replaced_file(self._images / f"{identity}{ending}", mode=0o600) as part:
            file.seek(0)
            with part.open("wb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
            if known and not (
                len(known) == 1 and known[0].is_file() and sha256_of(known[0]) == sha256_of(part)
            ):
                raise Problem(409, "another image has this id; give this one its own")

    def labels(self, identity: str) -> dict[str, Path]:
        """The masks of an image by their tags."""
        found = {path.name: _called(path, identity) for path in self._tag_folders()}
        found[FINAL] = _called(self._masks, identity)
        return {tag: path for tag, path in found.items() if path is not None}

    def label(self, identity: str, tag: str) -> Path:
        """One of them.

        Raises:
            Problem: 404, there is none.
        """
        path = self.labels(identity).get(tag or FINAL)
        if path is None:
            raise Problem(404, "this image has no label of this tag")
        return path

    def put_label(self, identity: str, tag: str, ending: str, content: bytes) -> None:
        """Keep a mask in the place of the one of that tag.

        Raises:
            Problem: 422, no such tag.
        """
        folder = self._tag_folder(tag)
        folder.mkdir(parents=True, exist_ok=True)
        before = _called(folder, identity)
        target = folder / f"{identity}{ending}"
        replace_file(target, content, mode=0o600)
        if before not in (None, target):
            before.unlink(missing_ok=True)

    def remove(self, identity: str) -> None:
        """Delete an image with all that belongs to it."""
        files = self.files_of(identity)
        for path in (*self.labels(identity).values(), self._facts(identity)):
            path.unlink(missing_ok=True)
        for path in files:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def values(self, fresh: Mapping[str, int]) -> Mapping[str, int]:
        """What stands for each class in the masks, by ``dataset.yaml``.

        Args:
            fresh: is written down where there are neither masks nor that file yet.

        Raises:
            Problem: 409, nothing says it, or it cannot be read.
        """
        card = self.folder / CARD
        if not card.is_file():
            if self._masks.is_dir() and any(self._masks.iterdir()):
                raise Problem(409, f"write a {CARD} that says what the masks there hold")
            classes = [{"name": "background", "value": 0}]
            classes += [{"name": name, "value": value} for name, value in fresh.items()]
            self.folder.mkdir(parents=True, exist_ok=True)
            text = yaml.safe_dump({"classes": classes}, allow_unicode=True, sort_keys=False)
            replace_file(card, text.encode(), mode=0o600)
        try:
            entries = yaml.safe_load(card.read_text(encoding="utf-8"))["classes"]
            return dict(_name_and_value(entry, place) for place, entry in enumerate(entries))
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
            raise Problem(409, f"{CARD} there does not list classes with a value each") from None

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
        return self._masks if tag == FINAL else self.folder / ASIDE / "labels" / tag

    def _tag_folders(self) -> list[Path]:
        folder = self.folder / ASIDE / "labels"
        return [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []


def ending_at(path: Path) -> str:
    """The ending of an image's file; nothing of a folder."""
    return "" if path.is_dir() else path.name[len(stem_of(path)) :]


def _called(folder: Path, identity: str) -> Path | None:
    try:
        found = images_at(folder) if folder.is_dir() else []
    except ImageError:
        return None
    return next((path for path in found if stem_of(path) == identity), None)


def _name_and_value(entry: object, place: int) -> tuple[str, int]:
    if isinstance(entry, dict):
        return entry["name"], int(entry.get("value", place))
    return str(entry), place
