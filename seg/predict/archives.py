"""Inputs that lie in an archive (a PACS), and masks that it is to store, by DICOMweb."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Never

from tqdm import tqdm

from seg.dicomweb.addresses import is_address, parsed_address
from seg.dicomweb.archive import Archive, FoundSeriesFacts
from seg.dicomweb.credentials import Credentials
from seg.errors import ArchiveError, ConfigError, ImageError, NotInArchiveError
from seg.files import replaced_file
from seg.images import series_in

DICOM = "application/dicom"
FETCHED = ".fetched"
"""Folder beside the masks in which series lie until all masks are there."""
NO_IMAGES = frozenset(
    ("SEG", "SR", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "PR", "KO", "DOC", "REG", "ECG", "AU")
)
"""Modalities of what lies in studies beside images."""
MOST_BYTES = 64 << 30


@dataclass(frozen=True, slots=True)
class RemoteSeries:
    """A series of an archive."""

    root: str
    facts: FoundSeriesFacts

    @property
    def name(self) -> str:
        """Of its case: its UID, by which it is found again."""
        return self.facts.series


class RemoteInputs:
    """The addresses among the inputs of a run."""

    def __init__(self, addresses: Sequence[str], credentials: Path | None, out: Path) -> None:
        """Ask the archives what there is.

        Args:
            addresses: ``dicomweb+https://HOST/dicom-web/studies/UID[/series/UID]``.
            credentials: file that says who asks.
            out: folder of the masks.

        Raises:
            ConfigError: an address is none, or the credentials are none.
            ArchiveError: an archive does not say, or has no such series.
        """
        self._credentials = Credentials.read(credentials) if credentials else None
        self._folder = out / FETCHED
        self._series = [each for text in addresses for each in self._at(text)]

    @property
    def by_case(self) -> Mapping[str, RemoteSeries]:
        """Series by the names of their cases."""
        return {each.name: each for each in self._series}

    def fetch(self) -> list[Path]:
        """The files of all series, each a ZIP file; those that are there are not fetched again.

        Raises:
            ArchiveError: an archive does not give one.
        """
        files = [self._folder / f"{each.name}.zip" for each in self._series]
        missing = [(each, file) for each, file in self._with_files() if not file.exists()]
        for number, (each, file) in enumerate(missing, 1):
            about = f"series {number} of {len(missing)}"
            with (
                Archive(each.root, self._credentials) as archive,
                replaced_file(file, 0o600) as part,
                part.open("w+b") as target,
                tqdm(desc=about, unit="B", unit_scale=True, disable=None) as bar,
            ):
                archive.retrieve(each.facts, target, MOST_BYTES, partial(_count, bar))
                target.flush()
                os.utime(part, (0, 0))  # fetched once more it is the same image: its size tells
                _check_is_of(each, part)
        return files

    def store(self, masks: Mapping[str, Sequence[Path]]) -> dict[str, str]:
        """Store masks beside their series; why not, by case.

        A mask that was stored before is the same instance, of which an archive keeps one.
        """
        failures: dict[str, str] = {}
        for name, files in tqdm(masks.items(), desc="storing", unit="image", disable=None):
            series = self.by_case[name]
            try:
                with Archive(series.root, self._credentials) as archive, ExitStack() as opened:
                    parts = [opened.enter_context(file.open("rb")) for file in files]
                    sizes = [file.stat().st_size for file in files]
                    archive.store(list(zip(parts, sizes, strict=True)), series.facts.study)
            except ArchiveError as error:
                failures[name] = str(error)
        return failures

    def forget(self) -> None:
        """Delete what was fetched."""
        for _, file in self._with_files():
            file.unlink(missing_ok=True)
        if self._folder.exists() and not any(self._folder.iterdir()):
            self._folder.rmdir()

    def _with_files(self) -> list[tuple[RemoteSeries, Path]]:
        return [(each, self._folder / f"{each.name}.zip") for each in self._series]

    def _at(self, text: str) -> list[RemoteSeries]:
        address = parsed_address(text)
        with Archive(address.root, self._credentials) as archive:
            there = archive.series(address.study, address.series)
        images = [
            RemoteSeries(address.root, facts) for facts in there if facts.modality not in NO_IMAGES
        ]
        if not images:
            raise NotInArchiveError("the archive has nothing but masks and reports there")
        return images


def _check_is_of(series: RemoteSeries, file: Path) -> None:
    """An archive may send another series than it was asked for: another patient, at worst.

    Raises:
        ArchiveError: it did.
    """
    try:
        sent = set(series_in(file))
    except ImageError:  # whoever reads it says what is wrong, and goes on with the next
        return
    if sent != {series.name}:
        raise ArchiveError("the archive sent other series than the one that it was asked for")


def _count(bar: "tqdm[Never]", new: int) -> None:
    bar.update(new)


def split_inputs(inputs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Paths, and addresses."""
    addresses = list(dict.fromkeys(text for text in inputs if is_address(text)))
    return [text for text in inputs if not is_address(text)], addresses


def check_storable(paths: Sequence[str], media_types: Mapping[str, str]) -> None:
    """Whether results can be stored where their images came from.

    Raises:
        ConfigError: some are files, or no format is DICOM.
    """
    if paths:
        raise ConfigError(
            "--store puts masks beside the series of an archive that they are of; the inputs are "
            "then addresses, dicomweb+https://..., and no files"
        )
    if DICOM not in media_types.values():
        raise ConfigError(
            f"an archive stores DICOM, and {', '.join(media_types)} is none; leave --format out, "
            "or add dicom-seg"
        )


def say_not_stored(failures: Mapping[str, str]) -> None:
    """What is left to do."""
    for name, sentence in failures.items():
        sys.stderr.write(f"not stored: {name}: {sentence}; the same command stores it again\n")
