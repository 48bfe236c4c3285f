"""Many who read of jobs, and the one look that there is for all of them."""

import asyncio
import json
import time
from collections import Counter

import pytest

from seg.client.schemas import JobStatus
from service.jobs import events
from service.jobs.database import DatabaseUnavailableError
from service.jobs.events import JobLooks, events_of
from service.jobs.records import NewJob
from service.jobs.status import status_of

PATIENCE_S = 60


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(events, "LOOK_S", 0.05)


@pytest.fixture
def looked(store, monkeypatch):
    """Jobs that each look at the database asked for."""
    seen, several = [], store.several

    def counted(jobs):
        seen.append(set(jobs))
        return several(jobs)

    monkeypatch.setattr(store, "several", counted)
    return seen


def queued(store) -> str:
    job = store.reserve(NewJob(owner="a", model="tiny:1", order={}), 100, 60)
    store.enqueue(job, [["image-0-0"]], "hash", 60)
    return job


def told(job) -> JobStatus:
    return status_of(job, f"/jobs/{job.id}")


async def read(store, looks, job: str) -> list[dict]:
    """All that a reader is told of a job."""
    parts = [part.decode() async for part in events_of(store.get(job), looks, told)]
    return [json.loads(part.partition("data: ")[2]) for part in parts if "data: " in part]


def run(reading) -> None:
    asyncio.run(asyncio.wait_for(reading, PATIENCE_S))


def test_however_many_read_of_jobs_the_database_is_asked_once_for_all(store, looked):
    jobs = [queued(store) for _ in range(3)]

    begun = time.monotonic()

    async def reading() -> None:
        looks = JobLooks(store)
        readers = [asyncio.create_task(read(store, looks, job)) for job in jobs * 20]
        while len(looked) < 3:
            await asyncio.sleep(0.01)
        assert not any(reader.done() for reader in readers)
        store.withdraw(jobs[0])
        store.delete(jobs[1])
        while sum(reader.done() for reader in readers) < 40:
            await asyncio.sleep(0.01)
        store.withdraw(jobs[2])
        seen = await asyncio.gather(*readers)
        assert Counter(lines[-1]["id"] for lines in seen) == dict.fromkeys(jobs, 20)
        for lines in seen:
            is_deleted = lines[-1]["id"] == jobs[1]
            assert lines[-1]["state"] == ("deleted" if is_deleted else "failed")
            assert lines[0]["jobs_ahead"] == jobs.index(lines[-1]["id"])

    run(reading())
    assert len(looked) <= (time.monotonic() - begun) / events.LOOK_S
    assert max(map(len, looked)) == 3
    assert looked[-1] == {jobs[2]}


def test_who_leaves_takes_a_look_from_nobody_else(store):
    job = queued(store)

    async def reading() -> None:
        looks = JobLooks(store)
        first = asyncio.create_task(read(store, looks, job))
        second = asyncio.create_task(read(store, looks, job))
        await asyncio.sleep(0.02)
        first.cancel()
        store.withdraw(job)
        assert (await second)[-1]["state"] == "failed"

    run(reading())


def test_nobody_looks_where_nobody_reads(store, looked):
    job = queued(store)

    async def reading() -> None:
        reader = asyncio.create_task(read(store, JobLooks(store), job))
        while not looked:
            await asyncio.sleep(0.01)
        reader.cancel()
        before = len(looked)
        await asyncio.sleep(0.3)
        assert len(looked) <= before + 1  # one was on its way

    run(reading())


def test_all_readers_are_told_that_the_database_is_away_and_go_on(store, monkeypatch):
    job, several, away = queued(store), store.several, [True, True]

    def sometimes(jobs):
        if away:
            away.pop()
            raise DatabaseUnavailableError
        return several(jobs)

    monkeypatch.setattr(store, "several", sometimes)

    async def lines(looks) -> list[bytes]:
        return [part async for part in events_of(store.get(job), looks, told)]

    async def reading() -> None:
        looks = JobLooks(store)
        readers = [asyncio.create_task(lines(looks)) for _ in range(2)]
        await asyncio.sleep(0.2)
        store.withdraw(job)
        for seen in await asyncio.gather(*readers):
            assert sum(b"does not answer" in part for part in seen) == 2
            assert seen[-1].startswith(b"event: end")

    run(reading())
