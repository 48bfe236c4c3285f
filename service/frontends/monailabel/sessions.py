"""Sessions: an image that is sent once and asked about again, until it is forgotten.

Each is a folder of its own, named by a random id, which only its owner reads; workers of one
machine share them. What a client calls its files is not kept, but for their ending.
"""

import json
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from seg.files import replace_file
from seg.images import IMAGE_ENDINGS
from service.problems.response import Problem

MOST_OF_AN_OWNER = 100
"""Sessions; the one that was used longest ago makes room for the next."""
SHARE = 2
"""Of the room for all, an owner has one part in so many."""
EXPIRY_S = 3600.0
LONGEST_EXPIRY_S = 24 * 3600.0
ID = re.compile(r"[A-Za-z0-9_-]{43}")
IMAGE, FACTS = "image", "session.json"


@dataclass(frozen=True, kw_only=True)
class Session:
    """What is known of one."""

    owner: str
    ending: str
    """Of the image's name as the client had it, one that is known, or nothing."""
    files: int
    created: float
    expiry_s: float
    size: int


class Sessions:
    """In a folder; any method may be called from any thread."""

    def __init__(self, folder: Path, most_bytes: float) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def begin(
        self, owner: str, files: Sequence[tuple[str, BinaryIO]], expiry_s: float = 0
    ) -> tuple[str, Session]:
        """Keep the files, by name and content; several are the slices of one DICOM series.

        Raises:
            Problem: 422, there is no file or no such time; 503, there is no room.
        """
        if not files or not 0 <= expiry_s <= LONGEST_EXPIRY_S:
            raise Problem(
                422,
                "a session has a file or more in fields named files, and expiry is 0 to "
                f"{LONGEST_EXPIRY_S:g} seconds",
            )
        size = sum(file.seek(0, 2) for _, file in files)
        kept = self._room_for(size, owner)
        if kept + size > self._most_bytes:
            raise Problem(
                503, "other sessions leave no room; try again later", {"Retry-After": "60"}
            )
        identity = secrets.token_urlsafe(32)
        folder = self._folder / identity
        folder.mkdir(parents=True, mode=0o700)
        try:
            _keep(files, folder / IMAGE)
            session = Session(
                owner=owner,
                ending=ending_of(files[0][0]) if len(files) == 1 else "",
                files=len(files),
                created=time.time(),
                expiry_s=expiry_s or EXPIRY_S,
                size=(folder / IMAGE).stat().st_size,
            )
            replace_file(folder / FACTS, json.dumps(asdict(session)).encode(), mode=0o600)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return identity, session

    def get(self, identity: str, owner: str) -> tuple[Path, Session]:
        """The image of a session, and what is known of it.

        Raises:
            Problem: 404, there is none, or no more, or it is another's.
        """
        try:
            if not ID.fullmatch(identity):
                raise FileNotFoundError
            folder = self._folder / identity
            session = Session(**json.loads((folder / FACTS).read_bytes()))
            # its use is the time of the image's file, so that asking keeps it
            is_over = time.time() > (folder / IMAGE).stat().st_mtime + session.expiry_s
        except OSError:
            session, is_over = None, True
        if session is None or is_over or session.owner != owner:
            raise Problem(
                404, "there is no such session; it may have expired: send the image again"
            )
        return folder / IMAGE, session

    def touch(self, image: Path) -> None:
        """It was used just now."""
        image.touch()

    def end(self, identity: str, owner: str) -> Session:
        """Forget it.

        Raises:
            Problem: 404, as `get` does.
        """
        image, session = self.get(identity, owner)
        shutil.rmtree(image.parent, ignore_errors=True)
        return session

    def _room_for(self, size: int, owner: str) -> int:
        """Forget what has expired, and of an owner's what was used longest ago; bytes that stay."""
        living = self._living()
        own = sorted((each for each in living if each[2].owner == owner), reverse=True)
        while own and (
            len(own) >= MOST_OF_AN_OWNER
            or size + sum(each[2].size for each in own) > self._most_bytes / SHARE
        ):
            oldest = own.pop()
            living.remove(oldest)
            shutil.rmtree(oldest[1], ignore_errors=True)
        return sum(session.size for _, _, session in living)

    def _living(self) -> list[tuple[float, Path, Session]]:
        """When each was used, where it lies, and what is known of it."""
        living = []
        for folder in self._folder.glob("*"):
            try:
                session = Session(**json.loads((folder / FACTS).read_bytes()))
                used = (folder / IMAGE).stat().st_mtime
                is_over = time.time() > used + session.expiry_s
            except (OSError, ValueError, TypeError):  # another worker is at it, or was killed
                is_over = _is_left_behind(folder)
                session = None
            if is_over:
                shutil.rmtree(folder, ignore_errors=True)
            elif session is not None:
                living.append((used, folder, session))
        return living


def _is_left_behind(folder: Path) -> bool:
    try:
        return time.time() > folder.stat().st_mtime + LONGEST_EXPIRY_S
    except OSError:
        return False


def ending_of(name: str) -> str:
    """The ending of a file's name, where it is one of images; all that is used of the name."""
    lower = name.lower()
    return next((each for each in IMAGE_ENDINGS if lower.endswith(each)), "")


def _keep(files: Sequence[tuple[str, BinaryIO]], target: Path) -> None:
    if len(files) == 1:
        files[0][1].seek(0)
        with target.open("wb") as copy:
            shutil.copyfileobj(files[0][1], copy, 1 << 20)
        return
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for number, (_, file) in enumerate(files):
            file.seek(0)
            with archive.open(f"{number:06}.dcm", "w") as member:
                shutil.copyfileobj(file, member, 1 << 20)
