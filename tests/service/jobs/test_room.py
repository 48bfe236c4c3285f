"""How much of the disk jobs may have."""

import asyncio
import shutil
from collections.abc import AsyncIterator

import httpx
import pytest

from service.app import create_app
from service.jobs.files import JobFiles
from service.jobs.intake import reserve
from service.jobs.records import NewJob
from service.jobs.room import JobRoom
from service.jobs.routes import Jobs
from service.jobs.store import JobStore
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.problems.response import Problem
from service.settings import Settings
from tests.service.conftest import png

MODEL = "nearest-level:1"
ROOM = JobRoom(of_all=100, of_key=60)


def job_of(store: JobStore, owner: str) -> str:
    return store.reserve(NewJob(owner=owner, model=MODEL, order={}), most=100, upload_s=60)


def refused(store: JobStore, job: str, size: int, **more: bool) -> int:
    with pytest.raises(Problem) as problem:
        ROOM.take(store, job, size, **more)
    assert problem.value.headers == {"Retry-After": "60"}
    return problem.value.status_code


def test_a_key_has_so_much_and_all_have_so_much(store):
    first, second, third = (job_of(store, owner) for owner in ("a", "a", "b"))
    ROOM.take(store, first, 40)
    assert refused(store, second, 30) == 429
    ROOM.take(store, second, 20)
    assert refused(store, third, 50) == 507
    ROOM.take(store, third, 40)


def test_what_a_job_has_already_counts_once(store):
    job = job_of(store, "a")
    for _ in range(3):
        ROOM.take(store, job, 50)  # what it announced, what came, what was sent again
    ROOM.take(store, job, 10, more=True)
    assert refused(store, job, 1, more=True) == 429
    ROOM.take(store, job, 10)  # what is refused changes nothing


def test_where_nobody_has_a_key_only_all_are_bounded(store):
    job, other = job_of(store, ""), job_of(store, "")
    ROOM.take(store, job, 90)
    assert refused(store, other, 20) == 507
    store.delete(job)
    ROOM.take(store, other, 90)  # what is deleted takes nothing


def test_an_answer_counts_until_it_is_deleted(store):
    job = job_of(store, "a")
    ROOM.take(store, job, 10)
    store.enqueue(job, [["image-0-0"]], "hash", keep_s=60)
    store.claim([MODEL], "worker", lease_s=60, keep_s=60)
    assert store.finish(job, "worker", {"bytes": 45}, keep_s=60)
    other = job_of(store, "a")
    assert refused(store, other, 10) == 429
    store.delete(job)
    ROOM.take(store, other, 10)


def test_so_many_jobs_are_kept_and_half_as_many_of_a_key(store):
    """Of small images a hundred thousand take no room, and minutes of everybody's time."""

    def reserved(owner: str, most: int = 4) -> str:
        new = NewJob(owner=owner, model=MODEL, order={})
        return reserve(store, Settings(max_kept_jobs=most), new)

    first, _ = reserved("a"), reserved("a")
    store.enqueue(first, [["image-0-0"]], "hash", keep_s=60)
    store.claim([MODEL], "worker", lease_s=60, keep_s=60)
    store.finish(first, "worker", {}, keep_s=60)  # what is over is kept still
    with pytest.raises(Problem, match="2 of your jobs are kept already") as refused:
        reserved("a")
    assert (refused.value.status_code, refused.value.headers) == (429, {"Retry-After": "60"})
    reserved("b"), reserved("")
    with pytest.raises(Problem, match="SEG_MAX_KEPT_JOBS") as refused:
        reserved("c")
    assert refused.value.status_code == 507
    store.delete(first)
    reserved("c")


def test_by_itself_it_follows_from_the_disk(tmp_path):
    disk = shutil.disk_usage(tmp_path).total
    room = JobRoom.of(Settings(), JobFiles(str(tmp_path / "jobs")))
    assert (room.of_all, room.of_key) == (disk // 2, disk // 4)
    elsewhere = JobRoom.of(Settings(max_jobs=10, max_job_mb=2), JobFiles("memory://jobs"))
    assert elsewhere.of_all == 20_000_000
    said = JobRoom.of(Settings(max_jobs_mb=5, max_client_jobs_mb=1), JobFiles("memory://jobs"))
    assert (said.of_all, said.of_key) == (5_000_000, 1_000_000)


@pytest.fixture
def asked(tmp_path, tiny_package):
    """What ``POST /jobs`` answers to a body where jobs may have a hundred bytes."""
    settings = Settings(package=tiny_package, jobs_files=str(tmp_path), max_jobs_mb=0.0001)
    models = ModelRegistry(settings, Metrics())
    models.start()
    models.wait()
    jobs = Jobs.of(models)
    transport = httpx.ASGITransport(create_app(models, jobs=jobs))

    def ask(body: AsyncIterator[bytes], **headers: str) -> httpx.Response:
        async def run() -> httpx.Response:
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.post("/jobs", content=body, headers=headers)

        return asyncio.run(run())

    yield ask
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]  # and nothing is left
    assert jobs.store.of_owner("", 1) == []
    models.close()
    jobs.store.close()


def test_a_job_without_room_is_refused_and_leaves_nothing(asked):
    async def body():
        yield png([[0, 1], [1, 0]]) + bytes(100)

    answer = asked(body())
    assert answer.status_code == 507, answer.text
    assert "SEG_MAX_JOBS_MB" in answer.json()["detail"]


def test_what_is_announced_is_refused_before_it_comes(asked):
    read = []

    async def body():
        read.append(1)
        yield bytes(2000)

    answer = asked(body(), **{"Content-Length": "2000"})
    assert (answer.status_code, read) == (507, [])
