"""The images of a folder: ``images/ID.tif``, one file a channel, or ``images/ID/`` (a series)."""

import hashlib
import re
import shutil
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

from seg.errors import ImageError
from seg.files import remove_stale_parts, replaced_file, sha256_of
from seg.images import images_at, stem_of
from service.problems.response import Problem
from service.requests.folder_room import FolderRoom

ASIDE = ".studio"
"""What is kept of an image besides it."""
TRAINING = "training"
"""A folder there, of the training that runs, which has a bound of its own."""
TOO_FULL = (
    "the studio's images and all that is drawn on them may take {most} here; remove images "
    "(DELETE /studio/images/ID), or raise SEG_MAX_STUDIO_MB"
)
IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
CHANNEL = re.compile(r"_\d{4}$")


class ImageFiles:
    """They are taken in and found by their ids; what is drawn on them is another matter."""

    def __init__(self, folder: Path, most_bytes: int | None = None) -> None:
        self._images = folder / "images"
        training = folder / ASIDE / TRAINING
        self.room = FolderRoom(folder, most_bytes, TOO_FULL, [training])

    def images(self) -> dict[str, list[Path]]:
        """The files of each image by its id, one a channel or one for all."""
        found: dict[str, list[Path]] = {}
        for path in images_at(self._images) if self._images.is_dir() else []:
            found.setdefault(_id_of(path), []).append(path)
        return found

    def files_of(self, identity: str) -> list[Path]:
        """The files of an image.

        Raises:
            Problem: 404, there is none of that id.
        """
        found = self.images().get(identity)
        if found is None:
            raise Problem(404, "there is no such image; GET /studio/images lists them")
        return found

    def add(self, identity: str, ending: str, file: BinaryIO, *, once: bool = False) -> bool:
        """Take an image in, whole or not at all; false where it is there already.

        Args:
            identity: of the image.
            ending: of the file's name.
            file: the image.
            once: by one id alone, not once to train on and once to measure with.

        Raises:
            Problem: 422, no such id or no ending of an image, or both together are the name of
                another; 409, another image has this id, or the same image another one; 507, there
                is no room for it.
        """
        if not IDENTITY.fullmatch(identity) or CHANNEL.search(identity):
            raise Problem(
                422,
                "an image's id has up to 128 letters, digits, dots, dashes and underscores, and "
                "does not end in _0000",
            )
        if not ending:
            raise Problem(
                422, "the file's name must end as an image's does, such as .tif, .png or .nii.gz"
            )
        target = self._images / f"{identity}{ending}"
        if (read_as := _id_of(target)) != identity:
            raise Problem(
                422, f"{target.name} is a file of the image {read_as}; give this one another id"
            )
        if once:
            self._check_new(identity, file)
        self.room.require(file.seek(0, SEEK_END))
        self._images.mkdir(parents=True, exist_ok=True)
        remove_stale_parts(self._images)
        known = self.images().get(identity)
        with replaced_file(target, mode=0o600) as part:
            file.seek(0)
            with part.open("wb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
            if known and not (
                len(known) == 1 and known[0].is_file() and sha256_of(known[0]) == sha256_of(part)
            ):
                raise Problem(409, "another image has this id; give this one its own")
        return not known

    def _check_new(self, identity: str, file: BinaryIO) -> None:
        size = file.seek(0, SEEK_END)
        for name, files in self.images().items():
            if name == identity or len(files) > 1 or not files[0].is_file():
                continue
            if files[0].stat().st_size == size and sha256_of(files[0]) == _sha256_of(file):
                raise Problem(409, f"the same image is here already: {name}")


def _id_of(file: Path) -> str:
    """The image that a file is, or is a channel of."""
    return CHANNEL.sub("", stem_of(file))


def called(folder: Path, identity: str) -> Path | None:
    """The image of that name in a folder."""
    return by_name(folder).get(identity)


def by_name(folder: Path) -> dict[str, Path]:
    """All images of a folder by their names."""
    try:
        found = images_at(folder) if folder.is_dir() else []
    except ImageError:
        return {}
    return {stem_of(path): path for path in reversed(found)}  # of two of a name the first


def _sha256_of(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
