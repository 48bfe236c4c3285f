"""A folder of images and masks in which people draw, and which training reads as it is.

``images/ID.tif`` or ``images/ID/`` (the slices of a series), what is done in ``masks/``, and
``dataset.yaml``, which says what its numbers mean. Versions and drafts lie in ``.studio/``, which
no training looks into.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from seg.errors import ImageError
from seg.files import replace_file, replaced_file, sha256_of
from seg.images import images_at, stem_of
from service.problems.response import Problem
from service.studio.classes import (
    CARD,
    DrawnClasses,
    allow_unannotated,
    read_classes,
    write_classes,
)
from service.studio.held_back import forget_held_back, hold_back
from service.studio.object_table import note_objects
from service.studio.revisions import (
    DrawnBy,
    DrawnState,
    Record,
    Revision,
    read_record,
    write_record,
)

IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
CHANNEL = re.compile(r"_\d{4}$")
ASIDE = ".studio"
TOGETHER = timedelta(minutes=10)
"""Drafts that one person saves within so long are one version."""
LOCKED_S = 30.0


@dataclass(frozen=True, kw_only=True)
class DrawnMask:
    """A mask as the dataset has it, and where it comes from."""

    content: bytes
    ending: str
    objects: Mapping[int, str]
    """Class of each object, where the dataset has a table of them."""


@dataclass(frozen=True, kw_only=True)
class Author:
    """Who drew, by what, and for how long."""

    who: str = ""
    """Name of the key."""
    source: DrawnBy = "studio"
    package: str | None = None
    seconds: float | None = None
    content: str | None = None
    """Of the image that was drawn on."""


class StudioFolder:
    """The folder; any method may be called from any thread, and by several processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._images, self._masks = folder / "images", folder / "masks"

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

    def add(self, identity: str, ending: str, file: BinaryIO, *, once: bool = False) -> None:
        """Take an image in, whole or not at all.

        Args:
            identity: of the image.
            ending: of the file's name.
            file: the image.
            once: by one id alone, not once to train on and once to measure with.

        Raises:
            Problem: 422, no such id or no ending of an image, or both together are the name of
                another; 409, another image has this id, or the same image another one.
        """
        if not IDENTITY.fullmatch(identity) or CHANNEL.search(identity):
            raise Problem(
                422,
                "an image's id has up to 128 letters, digits, dots, dashes and underscores, and "
                "does not end in _0000",
            )
        if not ending:
            raise Problem(422, "the file's name must end as an image's does, such as .nii.gz")
        target = self._images / f"{identity}{ending}"
        if (read_as := _id_of(target)) != identity:
            raise Problem(
                422, f"{target.name} is a file of the image {read_as}; give this one another id"
            )
        if once:
            self._check_new(identity, file)
        self._images.mkdir(parents=True, exist_ok=True)
        known = self.images().get(identity)
        with replaced_file(target, mode=0o600) as part:
            file.seek(0)
            with part.open("wb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
            if known and not (
                len(known) == 1 and known[0].is_file() and sha256_of(known[0]) == sha256_of(part)
            ):
                raise Problem(409, "another image has this id; give this one its own")

    def _check_new(self, identity: str, file: BinaryIO) -> None:
        size = file.seek(0, SEEK_END)
        for name, files in self.images().items():
            if name == identity or len(files) > 1 or not files[0].is_file():
                continue
            if files[0].stat().st_size == size and sha256_of(files[0]) == _sha256_of(file):
                raise Problem(409, f"the same image is here already: {name}")

    def mask(self, identity: str) -> Path | None:
        """What is done of an image; None where nothing is."""
        return called(self._masks, identity)

    def masks(self) -> dict[str, Path]:
        """What is done, by the id of its image."""
        return by_name(self._masks)

    def classes(self) -> DrawnClasses | None:
        """What masks hold; None where nobody said it yet.

        Raises:
            Problem: 409, masks are there and nothing says it, or it cannot be read.
        """
        found = read_classes(self.folder)
        if found is None and self._masks.is_dir() and any(self._masks.iterdir()):
            raise Problem(409, f"write a {CARD} that says what the masks there hold")
        return found

    def begin(self, names: Sequence[Mapping[str, object]], *, are_objects: bool) -> DrawnClasses:
        """Write down the classes, where nobody has yet; those that count.

        Raises:
            Problem: 409, as of ``classes``.
        """
        with self._locked():
            found = self.classes()
            if found is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_classes(self.folder, names, are_objects=are_objects)
                found = self.classes()
        assert found is not None
        return found

    def record(self, identity: str) -> Record:
        """The versions of an image, what came from outside among them.

        Raises:
            Problem: 404, there is no such image; 409, its record is damaged.
        """
        self.files_of(identity)
        return self._looked_at(identity, self.mask(identity))

    def records(self) -> dict[str, Record]:
        """The same of all images, by their ids; the folder is listed once.

        Raises:
            Problem: 409, a record is damaged.
        """
        masks = self.masks()
        return {name: self._looked_at(name, masks.get(name)) for name in self.images()}

    def version(self, identity: str, revision: int | None = None) -> tuple[Revision, Path]:
        """A version and its mask; the last one where none is named.

        Raises:
            Problem: 404, there is none.
        """
        record = self.record(identity)
        number = record.number if revision is None else revision
        if not number:
            raise Problem(404, "nothing is drawn on this image yet")
        found = record.of(number)
        return found, self._versions(identity) / found.file

    def keep(
        self,
        identity: str,
        mask: DrawnMask,
        author: Author,
        *,
        state: DrawnState = "done",
        expected: int | None = None,
    ) -> Revision:
        """Keep what was drawn as a new version, and as the dataset's mask where it is done.

        Drafts of one person that follow each other within minutes are one version; nothing else is
        ever lost.

        Args:
            identity: of the image.
            mask: on its grid.
            author: of the mask.
            state: whether the dataset may have it.
            expected: version that was drawn on; None takes whichever is there.

        Raises:
            Problem: 404, there is no such image; 412, another version is there by now.
        """
        self.files_of(identity)
        with self._locked():
            record = self._settled(identity)
            _check_expected(record, expected)
            before = record.last
            number = record.number + 1
            now = datetime.now(UTC)
            file = f"{number:06}{mask.ending}"
            replace_file(self._versions(identity) / file, mask.content, mode=0o600)
            revision = Revision(
                revision=number,
                state=state,
                when=now,
                who=author.who,
                package=author.package,
                source=author.source,
                file=file,
                sha256=sha256_of(self._versions(identity) / file),
                seconds=author.seconds,
                content=author.content,
                objects=dict(mask.objects),
            )
            kept = record.revisions
            is_followed = before is not None and _follows(before, revision)
            if is_followed:
                kept = kept[:-1]
            record = record.model_copy(update={"revisions": (*kept, revision)})
            write_record(self._record_file(identity), record)
            if is_followed and before is not None:
                (self._versions(identity) / before.file).unlink(missing_ok=True)
            self._settled(identity)
        return revision

    def restore(
        self, identity: str, revision: int, author: Author, expected: int | None = None
    ) -> Revision:
        """An earlier version once more, as the newest.

        Raises:
            Problem: as of ``keep``.
        """
        old, path = self.version(identity, revision)
        ending = path.name[len(stem_of(path)) :]
        mask = DrawnMask(content=path.read_bytes(), ending=ending, objects=old.objects)
        author = replace(author, content=old.content)
        return self.keep(identity, mask, author, state=old.state, expected=expected)

    def remove(self, identity: str) -> None:
        """Delete an image with all that belongs to it.

        Raises:
            Problem: 404, there is none.
        """
        files = self.files_of(identity)
        with self._locked():
            self._forget_mask(identity)
            classes = read_classes(self.folder)
            if classes and classes.table:
                note_objects(self.folder / classes.table, identity, {})
            shutil.rmtree(self._versions(identity), ignore_errors=True)
            self._record_file(identity).unlink(missing_ok=True)
        for path in files:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def remove_mask(self, identity: str) -> None:
        """Take the mask out of the dataset; its versions stay.

        Raises:
            Problem: 404, there is none.
        """
        if self.mask(identity) is None:
            raise Problem(404, "this image has no label of this tag")
        with self._locked():
            record = self._settled(identity)
            self._forget_mask(identity)
            update = {"applied": -record.number}
            write_record(self._record_file(identity), record.model_copy(update=update))

    def _forget_mask(self, identity: str) -> None:
        path = self.mask(identity)
        if path is not None:
            path.unlink(missing_ok=True)
        forget_held_back(self.folder, identity)

    def _settled(self, identity: str) -> Record:
        """The record once mask and versions agree: what was begun is finished, what came is kept.

        For whoever holds the lock.
        """
        record = read_record(self._record_file(identity))
        if record.done and record.done.revision > abs(record.applied):
            return self._applied(identity, record, record.done)
        path = self.mask(identity)
        if path is None or (record.done and sha256_of(path) == record.done.sha256):
            return record
        number = record.number + 1
        ending = path.name[len(stem_of(path)) :]
        file = f"{number:06}{ending}"
        replace_file(self._versions(identity) / file, path.read_bytes(), mode=0o600)
        revision = Revision(
            revision=number,
            state="done",
            when=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            source="outside",
            file=file,
            sha256=sha256_of(path),
        )
        record = Record(revisions=(*record.revisions, revision), applied=number)
        write_record(self._record_file(identity), record)
        return record

    def _applied(self, identity: str, record: Record, revision: Revision) -> Record:
        """Put a version in the place of the dataset's mask."""
        content = (self._versions(identity) / revision.file).read_bytes()
        ending = revision.file[6:]
        before = self.mask(identity)
        target = self._masks / f"{identity}{ending}"
        classes = read_classes(self.folder)
        if classes:
            allow_unannotated(self.folder)
        if classes and classes.table:
            note_objects(self.folder / classes.table, identity, revision.objects)
        hold_back(self.folder, identity, self.masks(), self.images())
        replace_file(target, content, mode=0o600)
        if before not in (None, target):
            before.unlink(missing_ok=True)
        record = record.model_copy(update={"applied": revision.revision})
        write_record(self._record_file(identity), record)
        return record

    def _looked_at(self, identity: str, mask: Path | None) -> Record:
        """The record, without the lock where nothing is to be settled."""
        record = read_record(self._record_file(identity))
        if _is_settled(record, mask):
            return record
        with self._locked():
            return self._settled(identity)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        aside = self.folder / ASIDE
        aside.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(aside / "lock", timeout=LOCKED_S, mode=0o600, thread_local=False):
            yield

    def _versions(self, identity: str) -> Path:
        return self.folder / ASIDE / "versions" / identity

    def _record_file(self, identity: str) -> Path:
        return self.folder / ASIDE / "records" / f"{identity}.json"


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


def _is_settled(record: Record, mask: Path | None) -> bool:
    if record.done is None:
        return mask is None
    if record.done.revision > abs(record.applied):
        return False
    return mask is None or (mask.is_file() and sha256_of(mask) == record.done.sha256)


def _check_expected(record: Record, expected: int | None) -> None:
    if expected is not None and expected != record.number:
        last = record.last
        by = f" by {last.who}" if last and last.who else ""
        raise Problem(
            412,
            f"version {record.number} of this image was saved{by} while you drew on version "
            f"{expected}; yours is not saved: load that one, or save yours on top of it",
            {"ETag": f'"{record.number}"'},
        )


def _follows(before: Revision, after: Revision) -> bool:
    """Both are of one sitting."""
    return (
        before.state == "draft"
        and (before.who, before.source) == (after.who, after.source)
        and after.when - before.when < TOGETHER
    )
