"""What readers of a job's events are told: however many they are, a process looks once for all."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Set
from dataclasses import dataclass

from anyio.to_thread import run_sync

from seg.client.schemas import JobStatus
from service.jobs.database import DatabaseUnavailableError
from service.jobs.records import Job
from service.jobs.store import JobStore

LOOK_S = 0.5
"""Seconds between two looks at the jobs that somebody reads of."""
KEEP_ALIVE_S = 15.0
"""Proxies close connections on which nothing moves."""


class JobLooks:
    """Looks at jobs in the database, each for all who wait for it by then."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._next: dict[asyncio.AbstractEventLoop, _Look] = {}

    async def next(self, job: str) -> Job | None:
        """A job as the next look finds it; None where there is none any more.

        Raises:
            DatabaseUnavailableError: nobody can say.
        """
        loop = asyncio.get_running_loop()
        look = self._next.get(loop)
        if look is None:
            jobs: set[str] = set()
            look = self._next[loop] = _Look(jobs, loop.create_task(self._taken(jobs)))
        look.jobs.add(job)
        found = await asyncio.shield(look.task)  # who leaves takes it from nobody else
        return found.get(job)

    async def _taken(self, jobs: Set[str]) -> Mapping[str, Job]:
        try:
            await asyncio.sleep(LOOK_S)
        finally:
            del self._next[asyncio.get_running_loop()]
        return await run_sync(self._store.several, jobs)


@dataclass(frozen=True, slots=True)
class _Look:
    """One that is to come."""

    jobs: set[str]
    task: asyncio.Task[Mapping[str, Job]]


async def events_of(
    first: Job, looks: JobLooks, told_of: Callable[[Job], JobStatus]
) -> AsyncIterator[bytes]:
    """The states of a job as server-sent events, whenever it changes, to its end.

    Args:
        first: the job as it is now.
        looks: at what becomes of it.
        told_of: what its reader is told.
    """
    job: Job | None = first
    told: JobStatus | None = None
    quiet = 0.0
    yield b"retry: 2000\n\n"
    while job is not None:
        status = told_of(job)
        # of why it waits only that it does: it says for how long
        unsteady = {"seconds_left": None, "waits_for": status.waits_for and ""}
        seen = status.model_copy(update=unsteady)
        if seen != told:
            told, quiet = seen, 0.0
            yield _event("end" if job.is_over else "progress", status.model_dump_json())
        elif quiet >= KEEP_ALIVE_S:
            quiet = 0.0
            yield b": still there\n\n"
        if job.is_over:
            return
        quiet += LOOK_S
        try:
            job = await looks.next(first.id)
        except DatabaseUnavailableError:  # the answer has begun: it goes on when it can
            yield b": the database does not answer\n\n"
    yield _event("end", json.dumps({"id": first.id, "state": "deleted"}))


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()
