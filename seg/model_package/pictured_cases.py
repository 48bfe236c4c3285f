"""Pictures of test cases that a package shows to people who think of using it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seg.files import sha256_of
from seg.model_package.card import CASE_PICTURES, CaseRank, ModelCard, PicturedCase
from seg.model_package.folder import read_card, write_card

SUFFIX = ".webp"


@dataclass(frozen=True)
class CasePictures:
    """A case to be shown, in pictures of WebP."""

    rank: CaseRank
    dice: float
    """Mean over the classes."""
    image: bytes
    reference: bytes
    prediction: bytes


def add_pictured_cases(folder: Path, cases: Sequence[CasePictures]) -> ModelCard:
    """Write pictures into a package, under names that tell nothing, and write the card anew.

    Raises:
        PackageError: the folder is no package.
        OSError: they cannot be written.
    """
    card = read_card(folder)
    pictured = []
    for case in cases:
        contents = {name: getattr(case, name) for name in CASE_PICTURES}
        names = tuple(f"case-{case.rank}-{name}{SUFFIX}" for name in contents)
        for name, content in zip(names, contents.values(), strict=True):
            (folder / name).write_bytes(content)
        hashes = tuple(sha256_of(folder / name) for name in names)
        pictured.append(
            PicturedCase.model_validate(
                {"rank": case.rank, "dice": case.dice, "files": names, "sha256": hashes}
            )
        )
    before = {name for case in card.pictured_cases for name in case.files}
    new = card.model_copy(update={"pictured_cases": tuple(pictured)})
    write_card(folder, new)
    for name in before - {name for case in pictured for name in case.files}:
        (folder / name).unlink(missing_ok=True)
    return new
