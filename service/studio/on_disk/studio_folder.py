"""A folder of images and masks in which people draw, and which training reads as it is.

``images/ID.tif`` or ``images/ID/`` (the slices of a series), what is done in ``masks/``, and
``dataset.yaml``, which says what its numbers mean. Versions and drafts lie in ``.studio/``, which
no training looks into.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from seg.files import remove_stale_parts, replace_file, sha256_of
from seg.images import stem_of
from service.problems.response import Problem
from service.studio.on_disk.classes import (
    CARD,
    DrawnClasses,
    allow_unannotated,
    read_classes,
    write_classes,
)
from service.studio.on_disk.drawing import Author, DrawnMask
from service.studio.on_disk.held_back import Side, forget_held_back, held_back, hold_back
from service.studio.on_disk.image_files import ASIDE, ImageFiles, by_name, called
from service.studio.on_disk.object_table import note_objects, objects_in
from service.studio.on_disk.revisions import (
    DrawnState,
    Record,
    Revision,
    read_record,
    write_record,
)

MONAI_LABEL_ASIDE, LABEL_STUDIO_ASIDE = ".monailabel", ".label-studio"
"""Where front ends keep what they know of images by their ids."""
LOCKED_S = 30.0
RECORDED = 500
"""Bytes that are written down of a version."""


class StudioFolder(ImageFiles):
    """The folder; any method may be called from any thread, and by several processes."""

    def __init__(self, folder: Path, most_bytes: int | None = None) -> None:
        """``most_bytes`` of all that lies there, as `FolderRoom` has it."""
        super().__init__(folder, most_bytes)
        self.folder = folder
        self._masks = folder / "masks"

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
        if number == record.applied:  # the dataset's own, whose table somebody may have edited
            found = found.model_copy(update={"objects": self._named_objects(identity)})
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

        Drafts of one sitting that follow each other within minutes are one version; nothing else
        is ever lost.

        Args:
            identity: of the image.
            mask: on its grid.
            author: of the mask.
            state: whether the dataset may have it.
            expected: version that was drawn on; None takes whichever is there.

        Raises:
            Problem: 404, there is no such image; 412, another version is there by now; 507, there
                is no room for it.
        """
        self.files_of(identity)
        told = sum(map(len, mask.objects.values())) + RECORDED  # in the record and in the table
        self.room.require(*[len(mask.content), told] * 2)  # the version, and the dataset's mask
        with self._locked():
            for folder in (self._masks, self._versions(identity)):
                remove_stale_parts(folder)
            record = self._settled(identity)
            record.check_last(expected)
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
                sitting=author.sitting,
                content=mask.drawn_on,
                objects=dict(mask.objects),
            )
            kept = record.revisions
            is_followed = before is not None and revision.follows(before)
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
        mask = DrawnMask(
            content=path.read_bytes(), ending=ending, objects=old.objects, drawn_on=old.content
        )
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
        for path in (*self._kept_by_front_ends(identity), *files):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _kept_by_front_ends(self, identity: str) -> Iterator[Path]:
        """What another image that gets this id has nothing to do with."""
        yield self.folder / LABEL_STUDIO_ASIDE / identity
        monai_label = self.folder / MONAI_LABEL_ASIDE
        yield monai_label / "quality" / f"{identity}.json"
        for tag in monai_label.glob("labels/*"):
            mask = called(tag, identity)
            if mask is not None:
                yield mask

    def remove_mask(self, identity: str) -> None:
        """Take the mask out of the dataset; its versions stay.

        Raises:
            Problem: 404, there is none.
        """
        if self.mask(identity) is None:
            raise Problem(404, "this image has no label of this tag")
        with self._locked():
            record = self._settled(identity)
            was_held_back = identity in held_back(self.folder)
            self._forget_mask(identity)
            update = {"applied": -record.number, "was_held_back": was_held_back}
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
            objects=self._named_objects(identity),
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
        hold_back(self.folder, identity, self.masks(), self.images(), _side(record, revision))
        replace_file(target, content, mode=0o600)
        if before not in (None, target):
            before.unlink(missing_ok=True)
        record = record.model_copy(update={"applied": revision.revision})
        write_record(self._record_file(identity), record)
        return record

    def _named_objects(self, identity: str) -> dict[int, str]:
        """Class of each object of the dataset's mask, where there is a table of them."""
        classes = read_classes(self.folder)
        return (
            objects_in(self.folder / classes.table, identity) if classes and classes.table else {}
        )

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


def _is_settled(record: Record, mask: Path | None) -> bool:
    if record.done is None:
        return mask is None
    if record.done.revision > abs(record.applied):
        return False
    return mask is None or (mask.is_file() and sha256_of(mask) == record.done.sha256)


def _side(record: Record, new: Revision) -> Side | None:
    """On which an image lay before this version: a training may have had it."""
    if record.was_held_back:
        return "test"
    earlier = (each for each in record.revisions if each.revision < new.revision)
    return "train" if any(each.state == "done" for each in earlier) else None
