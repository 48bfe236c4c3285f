"""What the service says in JSON, as types.

The routes fill them in, ``/openapi.json`` shows them, ``seg.client`` reads them.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from seg.model_package import ModelCard

JobState = Literal["uploading", "queued", "running", "done", "failed"]
VersionState = Literal["found", "proven", "broken"]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ProblemDocument(_Said):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    """The status in words."""
    status: int
    detail: str | None = None
    """One sentence: what is wrong, and what would be right."""


class JobResult(_Said):
    """The answer of a job that is done."""

    href: str
    media_type: str
    filename: str
    bytes: int
    images_failed: int
    """Of several images, how many have no mask; the report in the answer says why."""
    stored: tuple[str, ...] | None = None
    """SOPInstanceUIDs that an archive has stored; null of a job that came with its images."""
    not_stored: str | None = None
    """Why nothing was stored, where that was meant so."""


class JobLinks(_Said):
    """Where to go from a job."""

    self: str
    events: str
    result: str


class JobStatus(_Said):
    """A job."""

    id: str
    state: JobState
    model: str
    """Name and version of the model."""
    created: datetime
    started: datetime | None
    finished: datetime | None
    expires: datetime
    """When the job and its files are deleted."""
    attempts: int
    """2 where its first worker died."""
    jobs_ahead: int | None
    """Jobs that were queued before; null unless it is queued."""
    waits_for: str | None = None
    """Why nobody takes it up now although its turn may have come; null where nothing is wrong."""
    progress: Annotated[float, Field(ge=0, le=1)]
    images_done: int
    images_total: int
    tiles_done: int
    """Of the image at hand."""
    tiles_total: int | None
    seconds_left: float | None
    """An estimate, from the work that is done."""
    problem: ProblemDocument | None
    """Why it failed."""
    result: JobResult | None
    links: JobLinks

    @property
    def is_over(self) -> bool:
        """Nothing more will happen to it."""
        return self.state in ("done", "failed")


class JobListing(_Said):
    """Jobs of whoever asks, the newest first."""

    jobs: tuple[JobStatus, ...]
    next: str | None
    """Where the older ones are; null where there are none."""


class VersionSummary(_Said):
    """A version of a model."""

    version: str
    state: VersionState
    """Not tried yet, golden samples agreed here, never live."""
    reason: str | None
    """Why it is broken."""
    in_memory: bool
    created: str
    dims: int
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    url: str


class ModelEntry(_Said):
    """A model."""

    name: str
    latest: str | None
    """The version that answers; null where none is proven."""
    pinned: str | None = None
    """The version that an operator chose; null where the highest answers."""
    candidate: str | None = None
    """A version that answers a share of the requests that name no version."""
    share: float = 0.0
    """Of requests, 0 to 1."""
    reason: str | None = None
    """Why a version that is named here does not answer."""
    versions: tuple[VersionSummary, ...]
    """The highest first."""


class RuleChange(_Said):
    """What an operator decides of a model; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    pinned: str | None = None
    """The version that answers, whatever is higher; none is the highest that is proven."""
    candidate: str | None = None
    """A version that answers a share of the requests that name no version."""
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Of requests, 0 to 1."""


class UnreadableFolder(_Said):
    """A folder that looks like a package and is none."""

    folder: str
    reason: str


class ModelListing(_Said):
    """All models."""

    default: str | None
    """The model of requests that name none."""
    models: tuple[ModelEntry, ...]
    unreadable: tuple[UnreadableFolder, ...]


class BatchTimes(_Said):
    """What was measured here of each batch size; nothing where the size was chosen by hand."""

    patches_a_second: dict[int, float]
    run_ms: dict[int, float]


class Runtime(_Said):
    """What runs a model here; of one that is not in memory only the first four."""

    state: VersionState
    reason: str | None
    golden_error: float | None
    """Largest absolute error of probabilities on the golden samples."""
    formats: tuple[str, ...]
    provider: str | None = None
    precision: str | None = None
    """Of the network's arithmetic, e.g. ``bfloat16``."""
    overlap: float | None = None
    """Share of a window that its neighbour covers as well."""
    fallback: str | None = None
    """Why a provider that would be faster does not run the model; null where none failed."""
    variant: str | None = None
    variants: tuple[str, ...] | None = None
    runners: int | None = None
    batch_size: int | None = None
    batch_wait_ms: float | None = None
    """Milliseconds that a free device waits for its batch to fill."""
    batch_times: BatchTimes | None = None


class ServedCard(ModelCard):
    """A model's card, and what runs it here."""

    runtime: Runtime
