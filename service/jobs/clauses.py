"""What rows of jobs are asked for, and what they become."""

import sqlalchemy as sa

from service.jobs.records import JOBS, Progress


def due(now: sa.ColumnElement[float]) -> sa.ColumnElement[bool]:
    """Queued, and not to wait for a while."""
    waits = sa.and_(JOBS.c.leased_until.is_not(None), JOBS.c.leased_until >= now)
    return sa.and_(JOBS.c.state == "queued", sa.not_(waits))


def held(job: str, worker: str) -> sa.ColumnElement[bool]:
    """A job that this worker is at."""
    return sa.and_(JOBS.c.id == job, JOBS.c.worker == worker, JOBS.c.state == "running")


def count(connection: sa.Connection, where: sa.ColumnElement[bool]) -> int:
    """Jobs of which something holds."""
    return connection.scalar(sa.select(sa.func.count()).select_from(JOBS).where(where)) or 0


def given_up(
    connection: sa.Connection, job: str, detail: str, now: sa.ColumnElement[float], keep_s: float
) -> str | None:
    """The idempotency key of a job, which has none any more, and fails where it is not over."""
    this = JOBS.c.id == job
    key: str | None = connection.scalar(sa.select(JOBS.c.key_hash).where(this))
    connection.execute(sa.update(JOBS).where(this).values(key_hash=None))
    connection.execute(
        sa.update(JOBS)
        .where(this, JOBS.c.state.in_(("uploading", "queued", "running")))
        .values(
            state="failed",
            finished=now,
            problem_status=409,
            problem_detail=detail,
            expires=now + keep_s,
        )
    )
    return key


def without_dead(owner: str, key_hash: str | None, now: sa.ColumnElement[float]) -> sa.Update:
    """Free the key of a request whose process died before it was answered: it is sent again."""
    this = sa.and_(JOBS.c.owner == owner, JOBS.c.key_hash == key_hash)
    is_dead = sa.and_(JOBS.c.state == "uploading", JOBS.c.expires < now)
    return sa.update(JOBS).where(this, is_dead).values(key_hash=None)


def progress_columns(progress: Progress) -> dict[str, int]:
    """How far a job is, as its row has it."""
    return {
        "images_done": progress.images_done,
        "tiles_done": progress.tiles_done,
        "tiles_total": progress.tiles_total,
    }
