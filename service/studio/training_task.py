"""A training that somebody ordered: what it is, and how far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from service.models.versions import ModelVersion

TrainingState = Literal["RUNNING", "DONE", "ERROR", "STOPPED"]


@dataclass
class TrainingTask:
    """A training that was ordered."""

    version: ModelVersion | None
    """That it goes on with; None makes the first model."""
    request: Mapping[str, Any]
    minutes: float = 0.0
    steps: int | None = None
    promotes: bool = False
    """A new model answers by itself where it is surely better."""
    id: str = field(default_factory=lambda: str(uuid4()))
    status: TrainingState = "RUNNING"
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    details: list[str] = field(default_factory=list)

    @property
    def spent(self) -> dict[str, Any]:
        """What it may take, and what it has taken."""
        elapsed = (self.ended or datetime.now(UTC)) - self.started
        return {
            "minutes": self.minutes,
            "steps": self.steps,
            "elapsed_s": round(elapsed.total_seconds(), 1),
        }

    def told(self) -> dict[str, Any]:
        """As clients read it."""
        return {
            "id": self.id,
            "status": self.status,
            "request": dict(self.request),
            "start_ts": _clock(self.started),
            "end_ts": None if self.ended is None else _clock(self.ended),
            "details": self.details,
        }


def _clock(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
