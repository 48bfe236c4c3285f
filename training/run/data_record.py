"""What a run was trained on, written down at its start, so that a resume notices what changed."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from seg.errors import ConfigError, DatasetError
from seg.files import replace_file
from seg.frozen import FrozenData
from seg.images import ClassInfo
from seg.model_package import Channel
from training.dataset import Dataset, Split
from training.dataset.cases import Case, image_digest, mask_digest, objects_digest

_MOST_NAMED = 3


class CaseRecord(FrozenData):
    """A case as it was."""

    split: Split
    subject: str | None
    image: str
    mask: str
    """Digests of the files."""
    objects: str | None = None
    """Of the file that numbers them; None where none does, and in older runs."""


class DataRecord(FrozenData):
    """``data.json``."""

    classes: tuple[ClassInfo, ...]
    channels: tuple[Channel, ...]
    cases: dict[str, CaseRecord]
    meaning: str | None = None
    """Digest of what stands for which class in the files of masks; None in older runs."""
    left_right: str | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> "DataRecord":
        """Of a dataset as it is now."""
        return cls(
            classes=dataset.classes,
            channels=dataset.channels,
            cases={case.name: _record_of(case) for case in dataset.cases},
            meaning=meaning_of_masks(dataset),
            left_right=dataset.left_right,
        )

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        replace_file(path, (self.model_dump_json(indent=1) + "\n").encode())


def read_record(path: Path) -> DataRecord:
    """What ``DataRecord.write`` wrote.

    Raises:
        ConfigError: the file is damaged.
    """
    try:
        return DataRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{path} is no record of a run's data; begin the run anew") from error


def as_recorded(
    dataset: Dataset, record: DataRecord, *, are_files_read: bool = True
) -> tuple[Dataset, list[str]]:
    """The dataset with the cases and the split of the record, and names of cases that are new.

    Args:
        dataset: as it is now.
        record: of the run's beginning.
        are_files_read: compare contents too; of several processes one does.

    Raises:
        DatasetError: what the run has trained on, or holds back, is not what it was; all of it.
    """
    names = {case.name for case in dataset.cases}
    changes = list(_changes(dataset, record))
    if are_files_read:
        changes += _other_contents(dataset, record)
    new = sorted(names - record.cases.keys())
    if names == record.cases.keys():  # else the split may have moved by itself
        changes += _other_split(dataset, record)
    if changes:
        raise DatasetError(
            f"the data in {dataset.folder} changed since the run began: {'; '.join(changes)}; put "
            "them back as they were, or begin a new run"
        )
    cases = tuple(
        replace(case, split=was.split, subject=was.subject)
        for case in dataset.cases
        if (was := record.cases.get(case.name))
    )
    return replace(dataset, cases=cases), new


def _record_of(case: Case) -> CaseRecord:
    return CaseRecord(
        split=case.split,
        subject=case.subject,
        image=image_digest(case),
        mask=mask_digest(case),
        objects=objects_digest(case),
    )


def _changes(dataset: Dataset, record: DataRecord) -> Iterator[str]:
    ours, theirs = ([channel.name for channel in each.channels] for each in (record, dataset))
    if ours != theirs:
        yield f"its channels were {', '.join(ours)} and are {', '.join(theirs)}"
    if _meaning(dataset.classes) != _meaning(record.classes):
        yield f"its classes were {_named(record.classes)} and are {_named(dataset.classes)}"
    elif record.meaning not in (None, meaning_of_masks(dataset)):
        yield "what stands for which class in the masks is another (colors, ignore, masks, objects)"
    if record.meaning is not None and record.left_right != dataset.left_right:
        yield f"left_right was {record.left_right} and is {dataset.left_right}"
    names = {case.name for case in dataset.cases}
    lost = [name for name in record.cases if name not in names]
    if lost:
        yield f"{_listed(lost)} {_are(lost)} no longer there"


def _other_contents(dataset: Dataset, record: DataRecord) -> Iterator[str]:
    now = {case.name: case for case in dataset.cases}
    digests = {"image": image_digest, "mask": mask_digest, "objects": objects_digest}
    for what, digest in digests.items():
        other = [
            name
            for name, was in record.cases.items()
            if name in now and getattr(was, what) not in (None, digest(now[name]))
        ]
        if other:
            plural = "s" if len(other) > 1 and not what.endswith("s") else ""
            yield f"the {what}{plural} of {_listed(other)} changed"


def _other_split(dataset: Dataset, record: DataRecord) -> list[str]:
    moved = [
        case.name
        for case in dataset.cases
        if (was := record.cases.get(case.name))
        and (was.split, was.subject) != (case.split, case.subject)
    ]
    return (
        [f"{_listed(moved)} {_are(moved)} in another split or of another subject"] if moved else []
    )


def meaning_of_masks(dataset: Dataset) -> str:
    """Digest of what stands for which class in the files of masks."""
    masks = dataset.masks
    said = (
        masks.kind,
        sorted(masks.label_of.items()),
        sorted(masks.label_of_name.items()),
        {case: sorted(of.items()) for case, of in sorted((masks.classes_of_objects or {}).items())},
        dataset.legend.regions,
    )
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _meaning(classes: Sequence[ClassInfo]) -> list[tuple[str, tuple[int, ...]]]:
    return [(each.name, each.values) for each in classes]


def _named(classes: Sequence[ClassInfo]) -> str:
    return ", ".join(
        f"{each.name} ({'+'.join(map(str, each.values))})" if each.values else each.name
        for each in classes
    )


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(names[:_MOST_NAMED])
    return f"{text} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else text


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
