"""Jobs on a server that really runs, and their queue."""

import hashlib
import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import psutil
import pytest
import sqlalchemy as sa

from service.errors import NotReadyError
from service.jobs.database import DatabaseUnavailableError
from service.jobs.files import RESULT, FilesUnavailableError
from service.jobs.held import HeldJob
from service.jobs.records import JOBS, NewJob, PageEnd, Progress
from service.jobs.refused import KeyInUseError, QueueFullError
from service.jobs.routes import Jobs
from service.jobs.status import status_of
from service.jobs.store import DIED_TWICE, JobStore
from service.models.registry import ModelRegistry
from service.observability.metrics import Metrics
from service.settings import Settings
from tests.packages import write_package
from tests.service.conftest import labels_of, png, served, serving, until, until_status
from tests.service.jobs.queued import queue_of

PICTURE = png(np.random.default_rng(0).integers(0, 255, (90, 70)))
MODEL = "tiny:1"


def taken_in(store, owner, idempotency_key=None):
    new = NewJob(owner=owner, model=MODEL, order={}, idempotency_key=idempotency_key)
    job = store.reserve(new, 100, 60)
    store.enqueue(job, [["image-0-0"]], "hash", 60)
    return job


def test_jobs_of_an_owner_are_listed_page_by_page_the_newest_first(store):
    mine = [taken_in(store, "a") for _ in range(5)]
    taken_in(store, "b")
    first = store.of_owner("a", 3)
    end = PageEnd(first[-1].created, first[-1].id)
    rest = store.of_owner("a", 3, after=end)
    assert [job.id for job in (*first, *rest)] == mine[::-1]
    assert [job.ahead for job in (*first, *rest)] == [4, 3, 2, 1, 0]
    assert store.of_owner("b", 3, after=end) == []


def test_one_sees_a_list_of_ones_jobs_over_http(server):
    sent = [server.post("/jobs", content=PICTURE).json()["id"] for _ in range(3)]
    listed = server.get("/jobs?limit=2").json()
    assert [job["id"] for job in listed["jobs"]] == [sent[2], sent[1]]
    older = server.get(listed["next"]).json()
    assert older["jobs"][0]["id"] == sent[0]
    by_id = server.get(f"/jobs?after={sent[1]}").json()
    assert by_id["jobs"][0]["id"] == sent[0]
    for wrong in (
        "after=x",
        f"after={'A' * 43}",
        "after=",
        "after=1~x",
        "limit=0",
        "limit=101",
        "limit=x",
        f"limit={'9' * 5000}",
        "state=done",
    ):
        assert server.get(f"/jobs?{wrong}").status_code == 422
    for job in sent:
        server.delete(f"/jobs/{job}")


def test_a_list_goes_on_where_the_last_job_of_a_page_was_deleted(server):
    sent = [server.post("/jobs", content=PICTURE).json()["id"] for _ in range(3)]
    listed = server.get("/jobs?limit=2").json()
    for job in sent[1:]:
        server.delete(f"/jobs/{job}")
    assert [job["id"] for job in server.get(listed["next"]).json()["jobs"]][:1] == sent[:1]
    refused = server.get(f"/jobs?after={sent[1]}")
    assert (refused.status_code, "begin the list anew" in refused.text) == (422, True)
    server.delete(f"/jobs/{sent[0]}")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("jobs") / "package")


@pytest.fixture(scope="module")
def server(package, tmp_path_factory):
    with serving(package, tmp_path_factory.mktemp("jobs-server")) as client:
        yield client


def submitted(client: httpx.Client, query: str = "", **headers: str) -> dict:
    answer = client.post(f"/jobs{query}", files={"image": PICTURE}, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/jobs/{answer.json()['id']}"
    return answer.json()


def finished(client: httpx.Client, job: dict) -> dict:
    until(lambda: client.get(job["links"]["self"]).json()["state"] in ("done", "failed"))
    return client.get(job["links"]["self"]).json()


def queued(store: JobStore, **fields: str) -> str:
    new = NewJob(owner="", model=MODEL, order={}, **fields)
    job = store.reserve(new, most=3, upload_s=60)
    store.enqueue(job, [["image-0-0"]], "hash", keep_s=60)
    return job


def test_a_job_s_answer_is_that_of_a_request(server):
    job = finished(server, submitted(server, "?format=png"))
    assert (job["state"], job["progress"]) == ("done", 1.0)
    result = server.get(job["links"]["result"])
    segmented = server.post("/segment?format=png", files={"image": PICTURE})
    np.testing.assert_array_equal(labels_of(result.content), labels_of(segmented.content))
    assert result.headers["X-Segmentation-Quality"] == segmented.headers["X-Segmentation-Quality"]


def test_events_tell_of_a_job_until_its_end(server):
    job = submitted(server)
    with server.stream("GET", job["links"]["events"]) as events:
        lines = [line for line in events.iter_lines() if line.startswith(("event", "data"))]
    assert lines[-2] == "event: end"
    assert json.loads(lines[-1].removeprefix("data: "))["state"] == "done"


def test_a_deleted_job_is_gone_with_its_files(server):
    job = finished(server, submitted(server))
    assert server.delete(job["links"]["self"]).status_code == 204
    for link in job["links"].values():
        assert server.get(link).status_code == 404


def test_a_request_that_is_sent_again_makes_no_second_job(server):
    first = submitted(server, **{"Idempotency-Key": "a"})
    assert submitted(server, **{"Idempotency-Key": "a"})["id"] == first["id"]
    model = first["model"]
    for query, image in (("", png([[0]])), (f"?model={model}", PICTURE), ("?split=true", PICTURE)):
        files, headers = {"image": image}, {"Idempotency-Key": "a"}
        other = server.post(f"/jobs{query}", files=files, headers=headers)
        assert other.status_code == 422
        assert "Idempotency-Key" in other.json()["detail"]


def test_a_job_with_a_bad_image_says_what_is_wrong(server):
    job = server.post("/jobs", files={"image": b"no image"}).json()
    assert finished(server, job)["state"] == "failed"
    problem = server.get(job["links"]["result"])
    assert problem.status_code in (415, 422)
    assert problem.headers["Content-Type"] == "application/problem+json"


def test_several_images_are_answered_as_one_archive(server):
    images = [("images", PICTURE), ("images", PICTURE)]
    answer = server.post("/segment?format=png,json", files=images)
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = set(archive.namelist())
    assert names == {"mask-1.png", "mask-1.json", "mask-2.png", "mask-2.json", "report.json"}


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        pytest.param("?colour=red", "there is no option 'colour'", id="unknown option"),
        pytest.param("?mirror=perhaps", "mirror is true or false", id="no boolean"),
        pytest.param("?format=gif", "format must be one of", id="unknown format"),
        pytest.param("?classes=liver", "it has cytoplasm, nucleus", id="unknown class"),
        pytest.param("?threshold=1", "threshold cannot be '1'", id="no probability"),
        pytest.param("?frame=t:1&series=1.2", "leave one out", id="two things at once"),
    ],
)
def test_an_option_that_cannot_be_is_one_sentence(server, query, sentence):
    for path in ("/segment", "/jobs"):
        answer = server.post(path + query, files={"image": PICTURE})
        assert answer.status_code == 422
        assert sentence in answer.json()["detail"]


def killed(client: httpx.Client) -> None:
    """End a server and its workers as a crash does."""
    server = psutil.Process(int(client.headers["X-Test-Server"]))
    for process in [server, *server.children(recursive=True)]:  # workers lead a group each
        process.kill()


def test_jobs_outlive_a_killed_service_and_one_at_work_is_begun_again(tmp_path):
    slow = write_package(tmp_path / "package", slow=True)
    settings = {"SEG_JOBS_FILES": str(tmp_path / "kept"), "SEG_JOB_LEASE_S": "2"}
    with served(slow, tmp_path / "a.txt", SEG_NETWORK_THREADS="1", **settings) as client:
        until_status(client, "/readyz", 200)
        large = png(np.random.default_rng(0).integers(0, 255, (500, 500)))
        job = client.post("/jobs?format=png", files={"image": large}).json()
        waiting = submitted(client, "?format=png")
        until(lambda: client.get(job["links"]["self"]).json()["tiles_done"] > 0)
        assert client.get(job["links"]["self"]).json()["state"] == "running"
        killed(client)
    with served(slow, tmp_path / "b.txt", **settings) as client:
        until_status(client, "/readyz", 200)
        done = finished(client, job)
        assert (done["state"], done["attempts"]) == ("done", 2)
        assert labels_of(client.get(job["links"]["result"]).content).shape == (500, 500)
        done = finished(client, waiting)
        assert (done["state"], done["attempts"]) == ("done", 1)


def test_replicas_on_one_postgresql_share_their_jobs(package, postgresql, tmp_path):
    shared = {"SEG_JOBS_FILES": str(tmp_path / "kept"), "SEG_JOBS_DATABASE": postgresql}
    with (
        serving(package, tmp_path, SEG_JOB_WORKERS="0", **shared) as one,
        served(package, tmp_path / "log.txt", **shared) as two,
    ):
        until_status(two, "/readyz", 200)
        job = submitted(one, "?format=png", **{"Idempotency-Key": "once"})
        assert submitted(two, "?format=png", **{"Idempotency-Key": "once"})["id"] == job["id"]
        assert finished(two, job)["state"] == "done"
        results = [client.get(job["links"]["result"]).content for client in (one, two)]
        assert results[0] == results[1]
        assert labels_of(results[0]).shape == (90, 70)


def test_a_job_waits_for_files_that_cannot_be_reached_now(tmp_path, tiny_package):
    with queue_of(tiny_package, tmp_path) as queue:
        jobs, job = queue.jobs, queue.enqueued(PICTURE)

        def work():
            jobs.runner._run_with_model(queue.claimed())
            return jobs.store.get(job)

        aside = (tmp_path / job).rename(tmp_path / "aside")
        (tmp_path / job).symlink_to(tmp_path / job)  # access fails, and not since there is no file
        with pytest.raises(FilesUnavailableError):
            work()
        assert jobs.store.get(job).state == "queued"
        (tmp_path / job).unlink()
        aside.rename(tmp_path / job)
        done = work()
        assert (done.state, done.attempts) == ("done", 1)
        assert labels_of(jobs.files.read(job, RESULT)).shape == (90, 70)


def test_a_job_that_is_deleted_in_the_moment_when_it_begins_is_gone_without_an_error(
    tmp_path, tiny_package, caplog, monkeypatch
):
    with queue_of(tiny_package, tmp_path) as queue:
        jobs, job = queue.jobs, queue.enqueued()
        held = queue.claimed()
        jobs.runner.forget(job)
        jobs.runner._run_with_model(held)
        other = queue.enqueued()
        claims = []
        monkeypatch.setattr(
            jobs.files,
            "delete",
            lambda _: claims.append(jobs.store.claim([queue.label], "two", lease_s=60, keep_s=60)),
        )
        jobs.runner.forget(other)
        assert claims == [None, None]
        assert jobs.store.get(job) is None
        assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_job_that_is_about_to_be_deleted_is_taken_up_by_nobody(store):
    job = queued(store, idempotency_key="k")
    store.withdraw(job)
    assert store.claim([MODEL], "one", lease_s=60, keep_s=60) is None
    assert store.expired() == [job]
    queued(store, idempotency_key="k")


def test_an_idempotency_key_is_kept_as_a_hash_that_tells_nothing_elsewhere(store):
    queued(store, idempotency_key="Doe^John")
    with store._database.engine.begin() as connection:
        kept = connection.scalar(JOBS.select().with_only_columns(JOBS.c.key_hash))
    assert kept != hashlib.sha256(b"Doe^John").hexdigest()
    assert store.by_key("", "Doe^John") is not None


def test_the_database_is_its_owner_s_alone(tmp_path):
    JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite'}").close()
    assert (tmp_path / "jobs.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_job_is_claimed_once(store):
    job = queued(store)
    claimed = store.claim([MODEL], "one", lease_s=60, keep_s=600)
    assert claimed is not None
    assert claimed.id == job
    assert store.claim([MODEL], "two", lease_s=60, keep_s=600) is None


def test_replicas_that_ask_together_get_different_jobs(store):
    jobs = {queued(store) for _ in range(3)}
    workers = [f"w{n}" for n in range(8)]
    with ThreadPoolExecutor(8) as replicas:
        claims = list(
            replicas.map(lambda name: store.claim([MODEL], name, lease_s=60, keep_s=600), workers)
        )
    assert sorted(claim.id for claim in claims if claim) == sorted(jobs)


def test_a_job_whose_worker_died_is_taken_up_once_more(store):
    job = queued(store)
    for worker in ("one", "two"):
        claimed = store.claim([MODEL], worker, lease_s=-1, keep_s=600)
        assert claimed is not None
        assert claimed.id == job
    assert store.claim([MODEL], "three", lease_s=60, keep_s=600) is None
    failed = store.get(job)
    assert failed is not None
    assert (failed.state, failed.problem_detail) == ("failed", DIED_TWICE)
    assert failed.expires - failed.finished == pytest.approx(600, abs=1)


def test_a_worker_that_lost_its_lease_cannot_finish(store):
    job = queued(store)
    store.claim([MODEL], "one", lease_s=-1, keep_s=600)
    store.claim([MODEL], "two", lease_s=60, keep_s=600)
    assert not store.finish(job, "one", {}, keep_s=60)
    assert store.finish(job, "two", {}, keep_s=60)


def test_a_job_that_is_superseded_leaves_its_key_and_stores_nothing_more(store):
    old = queued(store, idempotency_key="series")
    store.claim([MODEL], "one", lease_s=60, keep_s=600)
    new = NewJob(owner="", model=MODEL, order={})
    job = store.reserve(new, 100, 60)
    assert store.extend(job, "part", new, 0, 60, (old, "more came"))
    assert not store.renew(old, "one", 60, Progress())
    assert not store.finish(old, "one", {}, keep_s=60)
    assert (store.get(old).state, store.get(old).problem_detail) == ("failed", "more came")
    assert store.by_key("", "series").id == job


def test_a_job_that_is_done_has_done_all_its_tiles(store):
    job = queued(store)
    store.claim([MODEL], "one", lease_s=60, keep_s=600)
    store.renew(job, "one", 60, Progress(tiles_done=3, tiles_total=4))
    assert status_of(store.get(job), f"/jobs/{job}").tiles_done == 3
    result = {"media_type": "image/png", "filename": "m.png", "quality": None, "failed": 0}
    store.finish(job, "one", {**result, "bytes": 1}, keep_s=60)
    done = status_of(store.get(job), f"/jobs/{job}")
    assert (done.progress, done.tiles_done, done.tiles_total) == (1, 4, 4)


def test_a_job_that_goes_back_has_lost_no_attempt(store):
    job = queued(store)
    for worker in ("one", "two", "three"):
        claimed = store.claim([MODEL], worker, lease_s=60, keep_s=600)
        assert claimed is not None
        assert (claimed.id, claimed.attempts) == (job, 1)
        store.release(job, worker)


def test_a_failed_job_is_kept_from_its_end(store):
    job = queued(store)
    store.claim([MODEL], "one", lease_s=60, keep_s=600)
    store.fail(job, "one", 422, "why", keep_s=600)
    failed = store.get(job)
    assert failed is not None
    assert failed.expires - failed.finished == pytest.approx(600, abs=1)


def test_a_job_whose_model_is_not_to_be_had_now_goes_back(tmp_path, tiny_package):
    models = ModelRegistry(Settings(package=tiny_package, jobs_files=str(tmp_path)), Metrics())
    jobs = Jobs.of(models)
    job = queued(jobs.store)
    held = HeldJob(jobs.store.claim([MODEL], "one", lease_s=60, keep_s=600), "one")
    with pytest.raises(NotReadyError):
        jobs.runner._run_with_model(held)  # nothing is loaded: the registry was not started
    assert jobs.store.get(job).state == "queued"
    jobs.store.close()


def test_the_queue_is_limited_and_a_key_used_once(store):
    queued(store, idempotency_key="k")
    with pytest.raises(KeyInUseError):
        queued(store, idempotency_key="k")
    queued(store)
    queued(store)
    with pytest.raises(QueueFullError):
        queued(store)


def test_what_has_expired_is_told(store):
    job = store.reserve(NewJob(owner="", model=MODEL, order={}), most=3, upload_s=60)
    store.enqueue(job, [["image-0-0"]], "hash", keep_s=-1)
    assert store.expired() == [job]


def test_an_id_that_is_none_keeps_the_database_for_the_others(store):
    """PostgreSQL fails over NUL in a text, which anybody may put into an address."""
    job = store.reserve(NewJob(owner="a", model=MODEL, order={}), most=3, upload_s=60)
    for other in ("a\0b", "\0" * 43, "\udcff" * 43, "", job + "\n", "x" * 100_000):
        assert store.get(other) is None
        assert PageEnd.of(other) is PageEnd.of(f"1.5~{other}") is None
        assert store.get(job).id == job


def test_a_database_that_does_not_take_what_it_was_told_is_not_away(store):
    job = store.reserve(NewJob(owner="a", model=MODEL, order={}), most=3, upload_s=60)
    with pytest.raises(DatabaseUnavailableError), store._database.reading() as connection:
        connection.execute(sa.text("select * from no_such_table_1, 'x'"))
    if store._database.engine.dialect.name == "postgresql":  # to SQLite all errors are of one kind
        assert store.get(job).id == job
