"""What a job is, and the table that keeps it.

No file name, no URL and nothing else of what a client calls an image is kept: images are numbered.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

State = Literal["uploading", "queued", "running", "done", "failed"]

METADATA = sa.MetaData()

JOBS = sa.Table(
    "seg_jobs_2",  # the number rises with every change of the columns: old jobs are left alone
    METADATA,
    sa.Column("id", sa.String(43), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("key_hash", sa.String(64)),
    sa.Column("content_hash", sa.String(64)),
    sa.Column("state", sa.String(9), nullable=False, index=True),
    sa.Column("model", sa.String(300), nullable=False),
    sa.Column("order", sa.JSON, nullable=False),
    sa.Column("images", sa.JSON, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("started", sa.Double),
    sa.Column("finished", sa.Double),
    sa.Column("expires", sa.Double, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("worker", sa.String(32)),
    sa.Column("leased_until", sa.Double),
    sa.Column("images_done", sa.Integer, nullable=False, default=0),
    sa.Column("tiles_done", sa.Integer, nullable=False, default=0),
    sa.Column("tiles_total", sa.Integer, nullable=False, default=0),
    sa.Column("problem_status", sa.Integer),
    sa.Column("problem_detail", sa.Text),
    sa.Column("result", sa.JSON),
    sa.Column("traceparent", sa.String(55)),
    sa.UniqueConstraint("owner", "key_hash"),
)
"""Times are seconds since 1970 by the clock of the database, which all replicas share."""

OF_OWNER = sa.Index("seg_jobs_2_of_owner", JOBS.c.owner, JOBS.c.created, JOBS.c.id)
"""Of a hundred thousand jobs the newest are listed in a millisecond, not in one second."""

BYTES = sa.Table(
    "seg_jobs_bytes_2",
    METADATA,
    sa.Column("job", sa.String(43), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Index("seg_jobs_bytes_2_of_owner", "owner", "bytes"),
)
"""What the files of a job take; apart, so that jobs of older versions stay, which take nothing. The
index is all that is read where they are added up, which happens while others wait to write."""

SALT = sa.Table("seg_jobs_salt", METADATA, sa.Column("salt", sa.LargeBinary(32), nullable=False))
"""One row: what hashes of keys and images are keyed with, so that they tell nothing elsewhere."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is."""

    images_done: int = 0
    tiles_done: int = 0
    """Of the image at hand."""
    tiles_total: int = 0
    """Of the image at hand; 0 before it is known."""

    def fraction(self, images: int) -> float:
        """Of all images, 0 to 1."""
        of_this = self.tiles_done / self.tiles_total if self.tiles_total else 0.0
        return min(1.0, (self.images_done + of_this) / images)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """What is known of a job before its images have come."""

    owner: str
    model: str
    order: dict[str, Any]
    idempotency_key: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A row, at the moment when it was read."""

    id: str
    owner: str
    state: State
    model: str
    """Name and version of the model that was promised."""
    order: dict[str, Any]
    images: list[list[str]]
    """Names in the file store: the files of each image, one a channel."""
    created: float
    started: float | None
    finished: float | None
    expires: float
    attempts: int
    progress: Progress
    problem_status: int | None
    problem_detail: str | None
    result: dict[str, Any] | None
    content_hash: str | None
    traceparent: str | None
    """Of the request that sent it, where that was traced."""
    now: float
    """When it was read."""
    ahead: int = field(default=0)
    """Queued jobs that were there before."""

    @property
    def is_over(self) -> bool:
        """Nothing more will happen to it."""
        return self.state in ("done", "failed")

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the work that is done; None before any is."""
        if self.state != "running" or self.started is None:
            return None
        fraction = self.progress.fraction(len(self.images) or 1)
        if not fraction:
            return None
        return (self.now - self.started) * (1 - fraction) / fraction


def job_of(row: sa.Row[Any], ahead: int) -> Job:
    """A job from its row, which has ``now`` beside the columns."""
    return Job(
        id=row.id,
        owner=row.owner,
        state=row.state,
        model=row.model,
        order=row.order,
        images=row.images,
        created=row.created,
        started=row.started,
        finished=row.finished,
        expires=row.expires,
        attempts=row.attempts,
        progress=Progress(row.images_done, row.tiles_done, row.tiles_total),
        problem_status=row.problem_status,
        problem_detail=row.problem_detail,
        result=row.result,
        content_hash=row.content_hash,
        traceparent=row.traceparent,
        now=row.now,
        ahead=ahead,
    )


@dataclass(frozen=True, slots=True)
class PageEnd:
    """Where a page of the list of jobs ended; the job that it ended with may have gone."""

    created: float
    job: str

    @classmethod
    def of(cls, text: str) -> "PageEnd | None":
        """What ``str`` made of a place; None of other texts."""
        found = _PLACE.fullmatch(text)
        return cls(float(found[1]), found[2]) if found else None

    def __str__(self) -> str:
        return f"{self.created!r}~{self.job}"


_PLACE = re.compile(r"([0-9]{1,12}(?:[.][0-9]{1,12})?)~([A-Za-z0-9_-]{43})")
