"""Versions of models, and which of them a request means."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Literal

from seg.model_package import ModelCard
from service.models.ready_model import ReadyModel
from service.problems.response import Problem

State = Literal["found", "proven", "broken"]
"""``found``: not tried yet; ``proven``: its golden samples agreed here; ``broken``: never live."""

Fault = Literal["package", "golden", "duplicate", "other"]
"""Why a package is broken, in one word: for metrics."""

LATEST = "latest"


@dataclass(eq=False, kw_only=True)
class ModelVersion:
    """A package: one version of a model."""

    folder: Path
    card: ModelCard
    state: State = "found"
    reason: str = ""
    fault: Fault | None = None
    model: ReadyModel | None = None
    """In memory, or not."""
    golden_error: float | None = None
    leases: int = 0
    """Requests that use it or wait for it."""
    last_used: float = field(default_factory=monotonic)
    shrunk: bool = False
    """It gave back the memory of its runs, and nobody asked it since."""
    stale: bool = False
    """Its folder holds something else now, so that it could not be loaded again."""
    retired: bool = False
    """It takes no new requests."""

    @property
    def key(self) -> tuple[str, str]:
        """Name and version."""
        return self.card.name, self.card.version

    @property
    def label(self) -> str:
        """``name:version``, as a request may choose it."""
        return ":".join(self.key)


def natural(version: str) -> list[tuple[int, int, str]]:
    """Sorts versions as people do: 1.9 before 1.10."""
    parts = re.findall(r"\d+|[^\d.]+", version)
    numbers = {part: part.lstrip("0") for part in parts if part.isdecimal()}
    # the longer number is the larger one: int() refuses thousands of digits
    return [
        (1, len(numbers[part]), numbers[part]) if part in numbers else (0, 0, part)
        for part in parts
    ]


def newest_first(versions: Iterable[ModelVersion]) -> list[ModelVersion]:
    """The highest version first; of equal ones the one that was created last."""
    return sorted(
        versions,
        key=lambda v: (natural(v.card.version), v.card.provenance.created),
        reverse=True,
    )


def latest(versions: Iterable[ModelVersion]) -> ModelVersion | None:
    """The highest proven version."""
    return next((v for v in newest_first(versions) if v.state == "proven"), None)


def named(choice: str, versions: Sequence[ModelVersion]) -> list[ModelVersion]:
    """The versions that ``name``, ``name:latest`` or ``name:version`` may mean.

    Raises:
        Problem: 404 for what is not there.
    """
    by_name = [v for v in versions if v.card.name == choice]
    if by_name:
        return by_name
    exact = [v for v in versions if v.label == choice]  # a version may be 2026-11-30T12:00
    if exact:
        return exact
    name, _, version = choice.rpartition(":")
    by_name = [v for v in versions if v.card.name == name]
    if not by_name:
        known = ", ".join(sorted({v.card.name for v in versions})) or "none yet"
        asked = name if version == LATEST else choice
        raise Problem(404, f"there is no model {asked[:80]!r}; there is {known}")
    if version == LATEST:
        return by_name
    known = ", ".join(v.card.version for v in newest_first(by_name))
    raise Problem(404, f"model {name} has no version {version[:80]!r}; it has {known}")
