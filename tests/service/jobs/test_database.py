"""Who listens between the service and its PostgreSQL: a server with TLS, and one without."""

import pytest
import sqlalchemy as sa

from seg.errors import ConfigError
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
        with store._engine.connect() as connection:
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
