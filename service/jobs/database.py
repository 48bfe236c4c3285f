"""The database of jobs: SQLite beside their files, or PostgreSQL that several replicas share."""

import os
import secrets
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import sqlalchemy as sa

from seg.errors import ConfigError
from service.jobs.records import METADATA, OF_OWNER, SALT

_SQLITE_NOW = "(julianday('now') - 2440587.5) * 86400.0"
_POSTGRESQL_NOW = "extract(epoch from clock_timestamp())::float8"
UNPROVEN = {"disable": False, "prefer": None, "require": True}
"""Modes of TLS that do not ask who answers; pg8000's words for them."""
PROVEN = {"verify-ca": False, "verify-full": True}
"""Modes that want a certificate, and whether it must name the host."""
ANSWER_S = 0.7
"""Seconds for an answer of the database, or for another program to unlock it."""
TURN_S = 3.0
"""Seconds that a change waits for others of this process, where one at a time is made."""
PAUSE_S = 0.3
"""Seconds in which a database that did not answer is not asked again."""
NOT_AWAY = (sa.exc.DataError, sa.exc.ProgrammingError)
"""An answer: it does not take what it was told. Others may be answered."""
READS = "seg_reads"
"""Execution option of transactions that change nothing."""
_SCHEMA_LOCK = 7_346_501
"""Replicas that start together make the tables one after the other."""


class DatabaseUnavailableError(Exception):
    """The database did not do what it was asked to; it may do so later."""


class Database:
    """Transactions on a database that may be away; for any thread.

    All methods raise `DatabaseUnavailableError` within a second where it is.
    """

    def __init__(self, url: sa.URL) -> None:
        """Open it."""
        self.engine = opened_engine(url)
        self._reader = self.engine.execution_options(**{READS: True})
        self._away_until = 0.0
        # SQLite lets those who wait try again now and then: of many the same ones would wait in
        # vain, and the database would count as away, while others change it all the time.
        self._turn = threading.Lock() if url.get_backend_name() == "sqlite" else None

    @contextmanager
    def changing(self) -> Iterator[sa.Connection]:
        """A transaction."""
        with self._in_turn(), self._asked(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that changes nothing, and waits for nobody who does not change anything."""
        with self._asked(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if self._turn is None:
            yield
            return
        if not self._turn.acquire(timeout=TURN_S):
            raise DatabaseUnavailableError
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _asked(self) -> Iterator[None]:
        # Who comes right after somebody waited in vain would wait in vain too, and hold a thread.
        if monotonic() < self._away_until:
            raise DatabaseUnavailableError
        try:
            yield
        except sa.exc.IntegrityError:
            raise
        except (sa.exc.SQLAlchemyError, OSError) as error:
            if not isinstance(error, NOT_AWAY):
                self._away_until = monotonic() + PAUSE_S
            raise DatabaseUnavailableError(type(error).__name__) from error


def opened_engine(url: sa.URL) -> sa.Engine:
    """Connections to a database, which is made where there is none."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    if url.drivername == "postgresql":  # as other programs write it
        url = url.set(drivername="postgresql+pg8000")
    arguments: dict[str, Any] = {}
    if url.drivername == "postgresql+pg8000":
        arguments["ssl_context"] = _tls_of(url)
        url = url.difference_update_query(["sslmode", "sslrootcert"])
        arguments["timeout"] = ANSWER_S / 2  # a connection that hangs is asked, and then replaced
    return sa.create_engine(
        url,
        connect_args=arguments,
        pool_pre_ping=True,
        pool_size=4,
        max_overflow=8,
        pool_timeout=ANSWER_S,
    )


def _tls_of(url: sa.URL) -> ssl.SSLContext | bool | None:
    """What pg8000 takes for ``sslmode`` and ``sslrootcert``, which PostgreSQL's own library knows.

    Raises:
        ConfigError: there is no such mode.
        OSError: the file of authorities cannot be read.
    """
    mode, authorities = url.query.get("sslmode", "prefer"), url.query.get("sslrootcert")
    if mode in UNPROVEN and not authorities:
        return UNPROVEN[mode]
    if mode not in PROVEN or isinstance(authorities, tuple):
        raise ConfigError(
            f"sslmode of SEG_JOBS_DATABASE is one of {', '.join((*UNPROVEN, *PROVEN))}, "
            "and sslrootcert one file, for the last two"
        )
    context = ssl.create_default_context(cafile=authorities)
    context.check_hostname = PROVEN[mode]
    return context


def _sqlite(url: sa.URL) -> sa.Engine:
    if url.database:
        # The files beside it, with what is not yet in it, get the same mode.
        os.close(os.open(url.database, os.O_RDWR | os.O_CREAT, 0o600))
        Path(url.database).chmod(0o600)
    engine = sa.create_engine(url, connect_args={"timeout": ANSWER_S}, pool_timeout=ANSWER_S)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions are begun below
        # No write-ahead log: its reader would take what was true before for what is, while another
        # program holds the database for itself; and it needs memory that two machines do not share.
        with suppress(sqlite3.OperationalError):  # another process has it open with such a log
            connection.execute("pragma journal_mode = truncate")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma secure_delete = on")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        reads = connection.get_execution_options().get(READS)
        connection.exec_driver_sql("begin" if reads else "begin immediate")

    return engine


def prepared(engine: sa.Engine) -> bytes:
    """Make the tables where there are none; the salt of all hashes."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
        METADATA.create_all(connection)
        OF_OWNER.create(connection, checkfirst=True)  # a table of before has none
        salt = connection.scalar(sa.select(SALT.c.salt))
        if salt is None:
            salt = secrets.token_bytes(32)
            connection.execute(sa.insert(SALT).values(salt=salt))
    return bytes(salt)


def now_of(engine: sa.Engine) -> sa.ColumnElement[float]:
    """Seconds since 1970 by the clock of the database, which all replicas share."""
    is_postgresql = engine.dialect.name == "postgresql"
    return sa.literal_column(_POSTGRESQL_NOW if is_postgresql else _SQLITE_NOW, sa.Double)
