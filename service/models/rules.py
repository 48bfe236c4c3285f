"""Which version of a model answers: the highest that is proven, unless an operator said otherwise.

What was said is kept beside the packages, so that a restart and other processes and replicas that
share the folder go by it too.
"""

import fcntl
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError, model_validator

from seg.client.schemas import RuleChange
from seg.errors import ConfigError
from seg.files import replace_file
from service.models.versions import ModelVersion, latest, newest_first

FILE, LOCK = ".rules.json", ".rules.lock"
"""Beside the packages, hidden from whoever looks for them."""


class ServingRule(RuleChange):
    """What counts for a model."""

    @model_validator(mode="after")
    def _candidate_has_share(self) -> Self:
        if self.candidate is None and self.share:
            raise ValueError("a share is that of a candidate: name its version")
        if self.candidate is not None and self.candidate == self.pinned:
            raise ValueError("the candidate is the pinned version itself")
        return self

    def names(self) -> set[str]:
        """Versions that must be proven."""
        return {version for version in (self.pinned, self.candidate) if version}


_RULES = TypeAdapter(dict[str, ServingRule])
NO_RULE = ServingRule()


class ServingRules:
    """The rules of all models, read again when their file changes.

    Args:
        folder: of the packages; None where there is a single one, which has no rules.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._seen: tuple[int, int] | None = None
        self._rules: Mapping[str, ServingRule] = {}

    def of(self, name: str) -> ServingRule:
        """The rule of a model.

        Raises:
            ConfigError: what is kept cannot be read: better no answer than one of another version.
        """
        if self._folder is None:
            return NO_RULE
        try:
            status = (self._folder / FILE).stat()
        except OSError:
            self._rules, self._seen = {}, None
            return NO_RULE
        seen = (status.st_mtime_ns, status.st_ino)
        if seen != self._seen:
            self._rules = _read(self._folder / FILE)
            self._seen = seen
        return self._rules.get(name, NO_RULE)

    def change(self, name: str, change: Callable[[ServingRule], ServingRule]) -> ServingRule:
        """Write a new rule of a model, made from the present one."""
        assert self._folder is not None
        with _locked(self._folder / LOCK):
            path = self._folder / FILE
            rules = dict(_read(path)) if path.exists() else {}
            rules[name] = changed = change(rules.get(name, NO_RULE))
            kept = {of: rule for of, rule in rules.items() if rule != NO_RULE}
            replace_file(path, _RULES.dump_json(kept, indent=2, exclude_none=True) + b"\n")
        return changed


def live_version(versions: Sequence[ModelVersion], rule: ServingRule) -> ModelVersion | None:
    """The version of a model that answers, but for a candidate's share; None where none may."""
    if rule.pinned is not None:
        return latest(v for v in versions if v.card.version == rule.pinned)
    return latest(v for v in versions if v.card.version != rule.candidate)


def drawn_version(versions: Sequence[ModelVersion], rule: ServingRule) -> ModelVersion | None:
    """The version that answers this request."""
    if rule.candidate is not None and random.random() < rule.share:
        drawn = latest(v for v in versions if v.card.version == rule.candidate)
        if drawn:
            return drawn
    return live_version(versions, rule)


def why_not(versions: Sequence[ModelVersion], rule: ServingRule) -> str | None:
    """Which version that a rule names does not answer here, and what does; None where all may."""
    proven = {v.card.version for v in versions if v.state == "proven"}
    if rule.pinned is not None and rule.pinned not in proven:
        return f"version {rule.pinned} is pinned, which is not proven here; no other answers for it"
    if rule.candidate is None or rule.candidate in proven:
        return None
    others = "the version that answers the others answers its share as well"
    return f"the candidate {rule.candidate} is not proven here, or not here at all; {others}"


def version_before(versions: Sequence[ModelVersion], live: ModelVersion) -> ModelVersion | None:
    """The next lower version that is not broken: where one goes back to."""
    in_order = newest_first(versions)
    lower = in_order[in_order.index(live) + 1 :]
    return next((version for version in lower if version.state != "broken"), None)


def _read(path: Path) -> dict[str, ServingRule]:
    try:
        return _RULES.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"{path} cannot be read, which says what versions are pinned; mend or delete it"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
