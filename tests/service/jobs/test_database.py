"""Databases that are away, and who listens between the service and its PostgreSQL."""

import sqlite3
import threading
import time
from contextlib import closing
from time import monotonic

import psutil
import pytest
import sqlalchemy as sa

from seg.errors import ConfigError
from service.jobs.database import ANSWER_S, Database, DatabaseUnavailableError
from service.jobs.records import NewJob
from service.jobs.store import JobStore
from tests.service.jobs.postgresql import running_postgresql


@pytest.fixture(scope="module")
def secure(certificates):
    """The URL of a database that offers TLS."""
    with running_postgresql(certificates["trusted"]) as port:
        yield f"postgresql://seg@127.0.0.1:{port}/postgres"


def is_encrypted(url: str) -> bool:
    store = JobStore(url)
    try:
        with store._database.engine.connect() as connection:
            question = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
            return bool(connection.scalar(sa.text(question)))
    finally:
        store.close()


@pytest.mark.parametrize(
    ("mode", "encrypted"),
    [
        pytest.param("", True, id="where it is offered"),
        ("?sslmode=disable", False),
        ("?sslmode=require", True),
        ("?sslmode=verify-full&sslrootcert=trusted", True),
    ],
)
def test_a_database_is_reached_by_tls_as_its_url_says(secure, certificates, mode, encrypted):
    url = secure + mode.replace("trusted", str(certificates["trusted"]))
    assert is_encrypted(url) == encrypted


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("sslmode=verify-full&sslrootcert=foreign", "cannot be opened"),
        pytest.param("sslmode=verify-full", "cannot be opened", id="authorities of this machine"),
        ("sslmode=verify-full&sslrootcert=/nowhere", "cannot be opened"),
        ("sslmode=always", "sslmode of SEG_JOBS_DATABASE is one of disable, prefer, require,"),
        ("sslmode=require&sslrootcert=trusted", "sslrootcert one file, for the last two"),
    ],
)
def test_who_is_not_the_database_gets_no_connection(secure, certificates, mode, sentence):
    for name, file in certificates.items():
        mode = mode.replace(f"={name}", f"={file}")
    with pytest.raises(ConfigError, match=sentence):
        JobStore(f"{secure}?{mode}")


def test_where_tls_is_asked_for_and_not_offered_there_is_no_connection():
    with running_postgresql() as port:
        url = f"postgresql://seg@127.0.0.1:{port}/postgres"
        assert not is_encrypted(url)
        with pytest.raises(ConfigError, match="cannot be opened"):
            JobStore(f"{url}?sslmode=require")


NEW = NewJob(owner="", model="m:1", order={})


def reserved(store: JobStore) -> str:
    return store.reserve(NEW, 10, 60)


def assert_away(ask) -> None:
    """It says so within a second or so, and at once when it is asked again."""
    waited = []
    for _ in range(4):  # who is held up for longer than a pause asks once more
        begun = monotonic()
        with pytest.raises(DatabaseUnavailableError):
            ask()
        waited.append(monotonic() - begun)
    assert max(waited) < ANSWER_S + 2.0
    assert min(waited[1:]) < 0.2


def until_back(ask):
    until = monotonic() + 60
    while True:
        try:
            return ask()
        except DatabaseUnavailableError:
            assert monotonic() < until
            threading.Event().wait(0.1)


def test_a_database_that_another_program_holds_is_away_for_a_second_and_no_longer(tmp_path):
    store = JobStore(f"sqlite:///{tmp_path}/jobs.sqlite")
    job = reserved(store)
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite", isolation_level=None)) as other:
        other.execute("begin exclusive")
        assert_away(lambda: store.get(job))
    assert until_back(lambda: store.get(job)).id == job
    store.close()


def test_questions_wait_for_nobody_who_is_about_to_write(tmp_path):
    store = JobStore(f"sqlite:///{tmp_path}/jobs.sqlite")
    job = reserved(store)
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite", isolation_level=None)) as other:
        other.execute("begin immediate")
        assert store.get(job).id == job
        assert store.expired() == []
        assert_away(lambda: reserved(store))
    assert until_back(lambda: reserved(store))
    store.close()


def test_changes_of_one_process_wait_for_each_other_and_are_not_taken_for_a_database_away(tmp_path):
    database = Database(sa.make_url(f"sqlite:///{tmp_path}/jobs.sqlite"))
    begun = threading.Event()

    def slow():
        with database.changing():
            begun.set()
            time.sleep(2 * ANSWER_S)

    thread = threading.Thread(target=slow)
    thread.start()
    assert begun.wait(30)
    with database.changing() as connection:
        assert connection.scalar(sa.select(1)) == 1
    thread.join()
    database.engine.dispose()


def test_a_postgresql_that_stands_still_or_has_ended_is_away():
    with running_postgresql() as port:
        store = JobStore(f"postgresql://seg@127.0.0.1:{port}/postgres")
        job = reserved(store)
        servers = [
            each
            for each in psutil.process_iter(["cmdline"])
            if str(port) in (each.info["cmdline"] or ()) and "postgres" in each.name()
        ]
        processes = [*servers, *(child for each in servers for child in each.children())]
        assert processes
        for each in processes:
            each.suspend()
        try:
            assert_away(lambda: store.get(job))
        finally:
            for each in processes:
                each.resume()
        assert until_back(lambda: store.get(job)).id == job
    assert_away(lambda: store.get(job))
    store.close()
