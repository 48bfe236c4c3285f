"""Queues of jobs in both databases."""

import pytest

from service.jobs.records import BYTES, JOBS
from service.jobs.store import JobStore
from tests.service.jobs.postgresql import running_postgresql


@pytest.fixture(scope="session")
def postgresql():
    """The URL of a database of its own, where Debian's postgresql is installed."""
    with running_postgresql() as port:
        yield f"postgresql://seg@127.0.0.1:{port}/postgres"


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    """Empty."""
    is_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'jobs.sqlite'}" if is_sqlite else None
    store = JobStore(url or request.getfixturevalue("postgresql"))
    with store._database.engine.begin() as connection:
        for table in (BYTES, JOBS):
            connection.execute(table.delete())
    yield store
    store.close()
