"""What a training began with, noted in its checkpoint: nothing goes on with that of another."""

import hashlib
from collections.abc import Mapping
from typing import Any

from seg.errors import ConfigError
from seg.verbs import called
from training.run.folder import RunFolder
from training.run.plan import Plan

MAY_CHANGE = frozenset(
    {
        *("minutes", "steps", "expected_steps", "memory", "dataset", "data", "track"),
        *("learning_rate", "weight_decay", "gradient_clip", "checkpoint_seconds"),
        *("threads", "precision", "compiled", "channels_last", "augment_on"),
        *("overlap", "mirror", "empty", "contest"),
    }
)
"""Fields of a plan that people may edit while it is trained; the network stays what it was."""
LONGEST = 80
"""Letters about a field."""


def origin_of(plan: Plan, run: RunFolder) -> dict[str, Any]:
    """The plan, and a digest of what the run noted of its data; of plain types."""
    return {"plan": plan.model_dump(mode="json"), "data": _data_of(run)}


def check_origin(origin: Mapping[str, Any] | None, plan: Plan, run: RunFolder) -> None:
    """Pass where a checkpoint is of this plan and of this run's data; one of older times is.

    Raises:
        ConfigError: ``plan.yaml`` was changed since, or the checkpoint is of another run.
    """
    if origin is None:
        return
    if origin["data"] and origin["data"] != _data_of(run):
        raise ConfigError(
            f"the checkpoint in {run.path} was trained on other data than data.json and "
            "fingerprint.json there tell of; put back those of one run, or begin a new one"
        )
    check_unchanged(origin["plan"], plan, run)


def check_unchanged(before: Mapping[str, Any], plan: Plan, run: RunFolder) -> None:
    """Pass where a plan differs from an earlier one in nothing but what may change.

    Raises:
        ConfigError: ``plan.yaml`` of the run was edited.
    """
    now = plan.model_dump(mode="json")
    changed = [
        _in_words(name, was, now[name])
        for name, was in before.items()
        if name in now and name not in MAY_CHANGE and now[name] != was
    ]
    if changed:
        raise ConfigError(
            f"{run.plan} changed since the training began: {'; '.join(changed)}; put that back, or "
            f"begin a new run: {called('training.fit', '--plan', run.plan, '--out', 'DIR')}"
        )


def _in_words(name: str, was: Any, now: Any) -> str:
    said = f"{name} was {was} and is {now}"
    return said if len(said) <= LONGEST else f"{name} is another"


def _data_of(run: RunFolder) -> str:
    """Empty where nothing was noted, as in a run of older times."""
    if not (run.data.is_file() and run.fingerprint.is_file()):
        return ""
    noted = run.data.read_bytes(), run.fingerprint.read_bytes()
    return hashlib.sha256(b"\0".join(noted)).hexdigest()
