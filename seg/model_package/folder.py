"""A package on disk: it is read strictly, and nothing in it was changed since its export."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt32
from pydantic import ValidationError

from seg.errors import PackageError
from seg.files import replace_file, sha256_of
from seg.images import MadeBy
from seg.images.arrays.npz import DECODING_ERRORS
from seg.model_package.card import SCHEMA_VERSION, ModelCard
from seg.model_package.outside_weights import outside_weights
from seg.model_package.variants import Variant
from seg.verbs import called

READABLE_VERSIONS = (1, SCHEMA_VERSION)
"""Version 1 had one file a variant and one tolerance for all; what it says holds as it is."""
CARD_FILE = "model.json"
"""The card, by which a folder is known as a package."""
CARD_HASH_FILE = f"{CARD_FILE}.sha256"
"""As ``sha256sum`` writes it; a package without one is read as it is."""
GOLDEN_FILE = "golden.npz"


@dataclass(frozen=True, eq=False)
class GoldenSamples:
    """Real validation patches and what the network said to them."""

    patches: Float[np.ndarray, "b c *patch"]
    logits: Float[np.ndarray, "b k *patch"]
    objects: UInt32[np.ndarray, "b *patch"] | None = None
    """The objects that the package's logits make in each patch by itself."""


@dataclass(frozen=True, eq=False)
class ModelPackage:
    """A checked package on disk."""

    path: Path
    card: ModelCard
    variant: str | None = None
    """That answers, with a card of its scores and doubts; None is the package by itself."""
    whole: ModelCard | None = None
    """The package's own card, where a variant answers."""

    @classmethod
    def load(cls, path: Path | str) -> "ModelPackage":
        """Read and check a package: schema, files and hashes.

        Raises:
            PackageError: anything is missing, altered or of another schema version.
        """
        path = Path(path)
        card = read_card(path)
        files = {(variant.file, variant.sha256) for variant in card.variants}
        files |= {(v.weights.file, v.weights.sha256) for v in card.variants if v.weights}
        if card.example:
            files |= set(zip(card.example.files, card.example.sha256, strict=True))
        for case in card.pictured_cases:
            files |= set(zip(case.files, case.sha256, strict=True))
        for name, sha256 in sorted(files):
            _check_file(path, name, sha256)
        _check_file(path, GOLDEN_FILE, card.golden_sha256)
        for variant in card.variants:
            _check_weights(path, variant)
        return cls(path=path, card=card)

    def model_file(self, variant: str | None = None) -> Path:
        """The ONNX file of a variant."""
        return self.path / self.card.variant(variant).file

    @cached_property
    def made_by(self) -> MadeBy:
        """What its masks say of themselves."""
        card = self.whole or self.card
        sha256 = hashlib.sha256(card.model_dump_json().encode()).hexdigest()
        return MadeBy(
            model=card.name, version=card.version, sha256=sha256, variant=self.variant or ""
        )

    def as_variant(self, name: str | None) -> "ModelPackage":
        """As it stands for one variant, with its scores and doubts; None changes nothing.

        Raises:
            PackageError: no variant has that name.
        """
        if name in (None, self.variant):
            return self
        whole = self.whole or self.card
        return replace(self, card=whole.of_variant(name), variant=name, whole=whole)

    def has_golden(self, variant: str | None = None) -> bool:
        """Whether the golden samples are of that variant, and not of the package's first."""
        if variant is None or (self.card.members() == (variant,)):
            return True
        with np.load(self.path / GOLDEN_FILE, allow_pickle=False) as arrays:
            return f"logits.{variant}" in arrays

    def golden(self, variant: str | None = None) -> GoldenSamples:
        """The golden samples: what the variant says, or the package where none is named.

        Raises:
            PackageError: the arrays are missing or do not fit the card.
        """
        try:
            with np.load(self.path / GOLDEN_FILE, allow_pickle=False) as arrays:
                own = f"logits.{variant}"
                logits = arrays[own if own in arrays else "logits"]
                is_own = own in arrays
                objects = None if is_own or "objects" not in arrays else arrays["objects"]
                samples = GoldenSamples(arrays["patches"], logits, objects)
        except DECODING_ERRORS as error:
            raise PackageError(f"{GOLDEN_FILE} cannot be read: {error}") from error
        patch = self.card.input.patch
        channels, outputs = len(self.card.input.channels), self.card.logits
        if samples.patches.shape[1:] != (channels, *patch) or samples.logits.shape != (
            len(samples.patches),
            outputs,
            *patch,
        ):
            raise PackageError(
                f"golden patches must be (b, {channels}, {patch}) with {outputs} logits each, got "
                f"{samples.patches.shape} and {samples.logits.shape}"
            )
        return samples


def write_card(folder: Path, card: ModelCard) -> None:
    """Write ``model.json`` and its hash, so that at any moment the package can be read.

    Raises:
        OSError: it cannot be written.
    """
    content = (card.model_dump_json(indent=2) + "\n").encode()
    before = _hashes(folder)
    new = hashlib.sha256(content).hexdigest()
    if before:
        _write_hashes(folder, [*before, new])  # whichever card a reader finds is one of them
    replace_file(folder / CARD_FILE, content)
    _write_hashes(folder, [new])


def accept_card(folder: Path) -> ModelCard:
    """Take ``model.json`` as people have changed it: check it, and write its hash anew.

    Raises:
        PackageError: it is not valid.
        OSError: the hash cannot be written.
    """
    content, card = _valid_card(folder)
    _write_hashes(folder, [hashlib.sha256(content).hexdigest()])
    return card


def write_golden(
    folder: Path,
    samples: GoldenSamples,
    of_variants: Mapping[str, Float[np.ndarray, "b k *patch"]] | None = None,
) -> str:
    """Write the golden samples and return their sha256.

    Args:
        folder: the package that is being filled.
        samples: patches, and what the package says to them: its ensemble, or its only network.
        of_variants: logits of variants that are networks of their own, e.g. folds.
    """
    others = {f"logits.{name}": logits for name, logits in (of_variants or {}).items()}
    arrays = {"patches": samples.patches, "logits": samples.logits, **others}
    if samples.objects is not None:
        arrays["objects"] = samples.objects
    np.savez_compressed(folder / GOLDEN_FILE, allow_pickle=False, **arrays)
    return sha256_of(folder / GOLDEN_FILE)


def add_golden_objects(folder: Path, objects: UInt32[np.ndarray, "b *patch"]) -> str:
    """Put the objects of the golden patches beside what is there, and return the new sha256."""
    with np.load(folder / GOLDEN_FILE, allow_pickle=False) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    np.savez_compressed(folder / GOLDEN_FILE, allow_pickle=False, **{**kept, "objects": objects})
    return sha256_of(folder / GOLDEN_FILE)


def read_card(folder: Path) -> ModelCard:
    """The card of a package whose other files are not looked at.

    Raises:
        PackageError: there is no card, it is not valid, or was changed by accident.
    """
    content, card = _valid_card(folder)
    hashes = _hashes(folder)
    if hashes and hashlib.sha256(content).hexdigest() not in hashes:
        raise PackageError(
            f"{CARD_FILE} was changed after the export: its sha256 is not that of "
            f"{CARD_HASH_FILE}; if you changed it, `{called('seg.model_package', folder)}` takes "
            "it as it is"
        )
    return card


def _valid_card(folder: Path) -> tuple[bytes, ModelCard]:
    path = folder / CARD_FILE
    try:
        content = path.read_bytes()
        raw = json.loads(content.decode())
    except (FileNotFoundError, NotADirectoryError) as error:
        inside = folder / "package"  # of a run
        hint = (
            f"did you mean {inside}?"
            if (inside / CARD_FILE).is_file()
            else f"name the folder that `{called('training.fit')}` wrote as package/"
        )
        raise PackageError(
            f"{path.parent} is no model package: it has no {CARD_FILE}; {hint}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise PackageError(f"{path} cannot be read: {error}") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version not in READABLE_VERSIONS:
        raise PackageError(
            f"this program reads model packages of schema versions 1 and {SCHEMA_VERSION}, the "
            f"package has {version!r}; export it again with this version of seg"
        )
    try:
        return content, ModelCard.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or CARD_FILE
        raise PackageError(f"{CARD_FILE} is not valid at {where}: {first['msg']}") from error


def _check_file(folder: Path, name: str, sha256: str) -> None:
    if Path(name).name != name:
        raise PackageError(f"a package names files in its own folder only, got {name!r}")
    path = folder / name
    if not path.is_file():
        raise PackageError(f"the package lacks {name}, which {CARD_FILE} names; export it again")
    if sha256_of(path) != sha256:
        raise PackageError(f"{name} was changed after the export: its sha256 is not the card's")


def _check_weights(folder: Path, variant: Variant) -> None:
    if not variant.file.endswith(".onnx"):
        raise PackageError(f"a package's networks are .onnx files, got {variant.file!r}")
    known = {variant.weights.file} if variant.weights else set()
    if others := outside_weights(folder / variant.file) - known:
        raise PackageError(
            f"{variant.file} takes weights from {min(others)[:80]!r}, which {CARD_FILE} does not "
            "name as its weights; export the package again"
        )


def _hashes(folder: Path) -> list[str]:
    """Of the cards that may be there: one, or two while one takes the other's place."""
    try:
        lines = (folder / CARD_HASH_FILE).read_text("ascii", "replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PackageError(f"{CARD_HASH_FILE} cannot be read: {error}") from error
    return [line.partition(" ")[0] for line in lines] or [""]


def _write_hashes(folder: Path, hashes: Iterable[str]) -> None:
    lines = "".join(f"{each}  {CARD_FILE}\n" for each in hashes)
    replace_file(folder / CARD_HASH_FILE, lines.encode())
