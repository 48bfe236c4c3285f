"""Requests with an Idempotency-Key that are sent again, after whatever happened to the first."""

import time

import anyio
import pytest

from service.jobs import intake
from service.jobs.records import NewJob
from service.jobs.refused import KeyInUseError

ONCE = NewJob(owner="a", model="tiny:1", order={}, idempotency_key="once")


def test_a_request_whose_process_died_over_its_upload_may_be_sent_again(store):
    dead = store.reserve(ONCE, 100, -1)
    again = store.reserve(ONCE, 100, 60)
    assert store.by_key("a", "once").id == again
    assert store.expired() == [dead]
    with pytest.raises(KeyInUseError):
        store.reserve(ONCE, 100, 60)


def test_an_upload_gives_signs_of_life_as_long_as_it_goes_on(store, monkeypatch):
    monkeypatch.setattr(intake, "UPLOAD_BEAT_S", 0.01)
    job = store.reserve(ONCE, 100, 0.5)
    before = store.get(job).expires

    async def upload() -> None:
        async with intake.coming_whole(store, store.delete, job):
            deadline = time.monotonic() + 60
            while store.get(job).expires < before + 10 and time.monotonic() < deadline:
                await anyio.sleep(0.01)
            assert store.get(job).expires > before + 10
        store.enqueue(job, [["image-0-0"]], "hash", 0)
        await anyio.sleep(0.05)

    anyio.run(upload)
    assert store.get(job).expires < before + 10  # what has come is kept as long as jobs are
