"""Jobs in a database: SQLite beside their files, or PostgreSQL that several replicas share.

A worker holds a job by a lease that it renews. A lease that ran out belongs to a worker that died:
the job is taken up once more, and no more than once.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Set
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from seg.errors import ConfigError
from service.jobs.clauses import count, due, given_up, held, progress_columns, without_dead
from service.jobs.database import Database, now_of, prepared
from service.jobs.records import BYTES, JOBS, Job, NewJob, PageEnd, Progress, job_of
from service.jobs.refused import KeyInUseError, NoRoomError, QueueFullError, TooManyKeptError

JOB_ID = re.compile(r"[A-Za-z0-9_-]{43}")
MAX_ATTEMPTS = 2
DIED_TWICE = (
    "the service ended twice while it worked on this job, which is not tried again; the image may "
    "need more memory than there is"
)


class JobStore:
    """Rows of jobs. All methods may be called from any thread; none takes long."""

    def __init__(self, url: str) -> None:
        """Open the database, and make the table where there is none.

        Args:
            url: of SQLAlchemy: ``sqlite:////data/jobs.sqlite`` or
                ``postgresql+pg8000://user:password@host/database``.

        Raises:
            ConfigError: it cannot be opened.
        """
        try:
            self._database = Database(sa.make_url(url))
            self._salt = prepared(self._database.engine)
        except (SQLAlchemyError, OSError) as error:
            # its message may hold the password
            raise ConfigError(
                f"the database of jobs cannot be opened ({type(error).__name__}); "
                "SEG_JOBS_DATABASE is a URL like sqlite:////data/jobs.sqlite or "
                "postgresql+pg8000://user:password@host/database"
            ) from error
        self._now = now_of(self._database.engine)

    def close(self) -> None:
        """Close all connections."""
        self._database.engine.dispose()

    def reserve(self, new: NewJob, most: int, upload_s: float, most_kept: int | None = None) -> str:
        """A place in the queue for a job whose images are still to come, and its id.

        Args:
            new: what is to be done.
            most: jobs that may wait.
            upload_s: seconds after which its upload is over, unless it is told that it goes on.
            most_kept: jobs that there may be, over ones too, and half as many of a key.

        Raises:
            QueueFullError: ``most`` jobs wait already.
            TooManyKeptError: so many are kept already.
            KeyInUseError: the owner has used this idempotency key.
        """
        job = secrets.token_urlsafe(32)
        row: dict[str, Any] = {
            "id": job,
            "owner": new.owner,
            "key_hash": new.idempotency_key and self._hashed(new.idempotency_key),
            "state": "uploading",
            "model": new.model,
            "order": new.order,
            "images": [],
            "traceparent": new.traceparent,
            "created": self._now,
            "expires": self._now + upload_s,
        }
        try:
            with self._database.changing() as connection:
                if count(connection, JOBS.c.state.in_(("uploading", "queued"))) >= most:
                    raise QueueFullError
                if most_kept is not None:
                    _check_kept(connection, new.owner, most_kept)
                connection.execute(without_dead(new.owner, row["key_hash"], self._now))
                connection.execute(sa.insert(JOBS).values(row))
        except IntegrityError as error:
            raise KeyInUseError from error
        return job

    def goes_on(self, job: str, upload_s: float) -> None:
        """The upload of a job is not over, for so many seconds more."""
        self._update(
            sa.and_(JOBS.c.id == job, JOBS.c.state == "uploading"), expires=self._now + upload_s
        )

    def hold(self, job: str, size: int, of_all: int, of_key: int, *, more: bool = False) -> None:
        """Note how many bytes the files of a job take.

        Args:
            job: its id.
            size: bytes.
            of_all: most that all jobs may take.
            of_key: most that jobs of its owner may take, if that is a key.
            more: they come on top of what was noted.

        Raises:
            NoRoomError: it would be too much; nothing is noted then.
        """
        all_bytes = sa.select(sa.func.coalesce(sa.func.sum(BYTES.c.bytes), 0))
        this = BYTES.c.job == job
        with self._database.changing() as connection:
            owner = connection.scalar(sa.select(JOBS.c.owner).where(JOBS.c.id == job))
            before = connection.scalar(sa.select(BYTES.c.bytes).where(this))
            total = size + (before or 0) if more else size
            grown = total - (before or 0)
            of_owner = connection.scalar(all_bytes.where(BYTES.c.owner == owner)) or 0
            if owner and of_owner + grown > of_key:
                raise NoRoomError(of_key=True)
            if (connection.scalar(all_bytes) or 0) + grown > of_all:
                raise NoRoomError(of_key=False)
            if before is None:
                row = {"job": job, "owner": owner or "", "bytes": total}
                connection.execute(sa.insert(BYTES).values(row))
            else:
                connection.execute(sa.update(BYTES).where(this).values(bytes=total))

    def enqueue(self, job: str, images: list[list[str]], content_hash: str, keep_s: float) -> None:
        """All images have come."""
        self._update(
            JOBS.c.id == job,
            state="queued",
            images=images,
            content_hash=self._hashed(content_hash),
            expires=self._now + keep_s,
        )

    def extend(
        self,
        job: str,
        part: str,
        new: NewJob | None,
        wait_s: float,
        keep_s: float,
        superseded: tuple[str, str] | None = None,
    ) -> bool:
        """Another part of the one image of a job has come; False where work on it has begun.

        Args:
            job: its id.
            part: name of a file of it.
            new: what is to be done, once nothing more comes for ``wait_s`` seconds; None leaves the
                job without work.
            wait_s: seconds.
            keep_s: seconds after which it is deleted where nobody works on it.
            superseded: a job whose idempotency key it takes over, and why that one fails where it
                is not over.
        """
        with self._database.changing() as connection:
            open_still = sa.and_(
                JOBS.c.id == job, JOBS.c.state.in_(("uploading", "queued")), JOBS.c.attempts == 0
            )
            row = connection.execute(
                sa.select(JOBS.c.images).where(open_still).with_for_update()
            ).one_or_none()
            if row is None:
                return False
            parts = row.images[0] if row.images else []
            values: dict[str, Any] = {"images": [[*parts, part]], "expires": self._now + keep_s}
            if new is not None:
                values |= {"state": "queued", "model": new.model, "order": new.order}
                values |= {"leased_until": self._now + wait_s}
            if superseded is not None:
                values |= {"key_hash": given_up(connection, *superseded, self._now, keep_s)}
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job).values(values))
        return True

    def get(self, job: str) -> Job | None:
        """A job; None where there is none, or no more."""
        # PostgreSQL takes no text with NUL in it, which anybody may put into an address
        return self._one(JOBS.c.id == job) if JOB_ID.fullmatch(job) else None

    def several(self, jobs: Set[str]) -> dict[str, Job]:
        """Those of some jobs that there are, by their ids."""
        asked = self._with_ahead().where(JOBS.c.id.in_([*filter(JOB_ID.fullmatch, jobs)]))
        with self._database.reading() as connection:
            return {row.id: job_of(row, row.ahead) for row in connection.execute(asked)}

    def by_key(self, owner: str, idempotency_key: str) -> Job | None:
        """The job that its owner gave this key."""
        key = JOBS.c.key_hash == self._hashed(idempotency_key)
        return self._one(sa.and_(JOBS.c.owner == owner, key))

    def of_owner(self, owner: str, most: int, after: PageEnd | None = None) -> list[Job]:
        """Jobs of an owner, the newest first; those that come after a place in that list."""
        asked = self._with_ahead().where(JOBS.c.owner == owner)
        if after is not None:
            created, job = JOBS.c.created, JOBS.c.id
            is_beside = sa.and_(created == after.created, job > after.job)
            asked = asked.where(sa.or_(created < after.created, is_beside))
        asked = asked.order_by(JOBS.c.created.desc(), JOBS.c.id).limit(most)
        with self._database.reading() as connection:
            rows = connection.execute(asked).all()
        return [job_of(row, row.ahead) for row in rows]

    def waiting(self) -> int:
        """Jobs that nobody works on yet."""
        with self._database.reading() as connection:
            return count(connection, JOBS.c.state == "queued")

    def is_of(self, job: Job, content_hash: str) -> bool:
        """Whether a job is of these images and options."""
        return job.content_hash == self._hashed(content_hash)

    def claim(
        self, models: Collection[str], worker: str, *, lease_s: float, keep_s: float
    ) -> Job | None:
        """The job that has waited longest, now held by ``worker``; None where none waits.

        PostgreSQL locks the row and lets others pass it (``SKIP LOCKED``); SQLite has one writer at
        a time. So no job is claimed twice. Where there is nothing to do, as at most looks, nothing
        is locked.
        """
        lost = sa.and_(JOBS.c.state == "running", JOBS.c.leased_until < self._now)
        wanted = sa.and_(JOBS.c.model.in_(models), sa.or_(due(self._now), lost))
        gone = sa.and_(lost, JOBS.c.attempts >= MAX_ATTEMPTS)
        with self._database.reading() as connection:
            if not connection.scalar(sa.select(sa.exists().where(sa.or_(wanted, gone)))):
                return None
        with self._database.changing() as connection:
            connection.execute(
                sa.update(JOBS)
                .where(gone)
                .values(
                    state="failed",
                    finished=self._now,
                    problem_status=500,
                    problem_detail=DIED_TWICE,
                    expires=self._now + keep_s,
                )
            )
            job = connection.scalar(
                sa.select(JOBS.c.id)
                .where(wanted)
                .order_by(JOBS.c.created)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            if job is None:
                return None
            connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.id == job)
                .values(
                    state="running",
                    worker=worker,
                    attempts=JOBS.c.attempts + 1,
                    started=self._now,
                    leased_until=self._now + lease_s,
                    **progress_columns(Progress()),
                )
            )
        return self.get(job)

    def renew(self, job: str, worker: str, lease_s: float, progress: Progress) -> bool:
        """Go on holding a job; False when it was deleted or has gone to another worker."""
        values = {"leased_until": self._now + lease_s, **progress_columns(progress)}
        return self._update(held(job, worker), **values)

    def release(self, job: str, worker: str, wait_s: float = 0) -> None:
        """Put a job back that is not to blame; the attempt does not count.

        Nobody takes it up again before ``wait_s`` seconds.
        """
        self._update(
            held(job, worker),
            state="queued",
            attempts=JOBS.c.attempts - 1,
            worker=None,
            leased_until=self._now + wait_s if wait_s else None,
        )

    def finish(self, job: str, worker: str, result: dict[str, Any], keep_s: float) -> bool:
        """It is done; False when it was deleted or has gone to another worker meanwhile."""
        done = {"state": "done", "result": result, "finished": self._now}
        done["expires"] = self._now + keep_s
        larger = sa.update(BYTES).where(BYTES.c.job == job)
        with self._database.changing() as connection:
            change = sa.update(JOBS).where(held(job, worker)).values(done)
            if not connection.execute(change).rowcount:
                return False
            # An answer is not refused any more, but it is counted.
            size = BYTES.c.bytes + result.get("bytes", 0)
            connection.execute(larger.values(bytes=size))
        return True

    def fail(self, job: str, worker: str, status: int, detail: str, keep_s: float) -> None:
        """It cannot be done, and this is why."""
        self._update(
            held(job, worker),
            state="failed",
            finished=self._now,
            problem_status=status,
            problem_detail=detail,
            expires=self._now + keep_s,
        )

    def withdraw(self, job: str) -> None:
        """Let nobody take up a job that is about to be deleted, or send it once more."""
        self._update(
            JOBS.c.id == job,
            state="failed",
            key_hash=None,
            worker=None,
            problem_status=404,
            problem_detail="the job was deleted",
            expires=self._now,
        )

    def delete(self, job: str) -> bool:
        """Forget a job, whatever it does; whether there was one."""
        with self._database.changing() as connection:
            connection.execute(sa.delete(BYTES).where(BYTES.c.job == job))
            return connection.execute(sa.delete(JOBS).where(JOBS.c.id == job)).rowcount > 0

    def expired(self) -> list[str]:
        """Jobs whose time is over, and that nobody works on."""
        at_work = sa.and_(JOBS.c.state == "running", JOBS.c.leased_until >= self._now)
        with self._database.reading() as connection:
            over = sa.select(JOBS.c.id).where(JOBS.c.expires < self._now, sa.not_(at_work))
            return list(connection.scalars(over))

    def _with_ahead(self) -> sa.Select[Any]:
        """Jobs, each with the number of queued ones that were there before it where it waits."""
        earlier = JOBS.alias()
        before = sa.and_(earlier.c.state == "queued", earlier.c.created < JOBS.c.created)
        ahead = sa.select(sa.func.count()).select_from(earlier).where(before).scalar_subquery()
        of_queued = sa.case((JOBS.c.state == "queued", ahead), else_=0)
        return sa.select(JOBS, self._now.label("now"), of_queued.label("ahead"))

    def _hashed(self, text: str) -> str:
        """Clients may put anything into a key, names of patients too."""
        return hmac.new(self._salt, text.encode(), hashlib.sha256).hexdigest()

    def _update(self, where: sa.ColumnElement[bool], **values: object) -> bool:
        with self._database.changing() as connection:
            return connection.execute(sa.update(JOBS).where(where).values(values)).rowcount > 0

    def _one(self, where: sa.ColumnElement[bool]) -> Job | None:
        with self._database.reading() as connection:
            row = connection.execute(self._with_ahead().where(where)).one_or_none()
        return None if row is None else job_of(row, row.ahead)


def _check_kept(connection: sa.Connection, owner: str, most: int) -> None:
    all_jobs = sa.select(sa.func.count()).select_from(JOBS)
    if owner and (connection.scalar(all_jobs.where(JOBS.c.owner == owner)) or 0) >= most // 2:
        raise TooManyKeptError(of_key=True)
    if (connection.scalar(all_jobs) or 0) >= most:
        raise TooManyKeptError(of_key=False)
