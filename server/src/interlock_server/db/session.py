"""Sessions, and the turn that makes one publisher at a time (I/O).

Rules:

1. ``writing`` first changes the row ``publisher``: that takes SQLite's write lock, or PostgreSQL's
   lock of the row, so writers of all processes and hosts go one after another, and each reads
   what the one before has committed.
2. ``reading`` changes nothing, and all that it reads is of one moment.
3. SQLite: write-ahead log, foreign keys, a busy timeout; the file is for its owner alone, since it
   holds the secret that signs tokens.
   PostgreSQL: by psycopg, whatever driver the URL leaves open; a connection that the database
   dropped is made anew.
4. A fault of the database becomes a ``TransientError``: the call may be made again.
5. ``storing`` is a short write without the turn, for what no publication depends on: reports and
   counters. Whoever changes a row that others change too reads it first with ``with_for_update``;
   SQLite, which has one lock for all, takes that at the beginning, so that nothing that was read
   is old when it is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine, event, make_url, text, update
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from interlock_core import durable
from interlock_core.errors import ConfigurationError, TransientError
from interlock_server.db.tables import PublisherRow

BUSY_SECONDS: Final = 30.0

_WAIT: Final = "interlock_wait_seconds"
_POSTGRESQL: Final = "postgresql"
# As SQLite's transactions are by themselves. One that only reads never has to be tried again.
_ONE_MOMENT: Final = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def _private_sqlite(connection: Any, _record: object) -> None:
    # The driver begins transactions on its own, and late; SQLAlchemy shall say when.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"busy_timeout = {int(BUSY_SECONDS * 1000)}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    options = connection.get_execution_options()
    wait_ms = int(options.get(_WAIT, BUSY_SECONDS) * 1000)
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {wait_ms}").close()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _WAIT in options else "BEGIN")


def _connecting(url: URL) -> Engine:
    if url.get_backend_name() != _POSTGRESQL:
        return create_engine(url)
    if url.drivername == _POSTGRESQL:
        url = url.set(drivername=f"{_POSTGRESQL}+psycopg")
    if url.get_driver_name() != "psycopg":
        raise ArgumentError("the driver for PostgreSQL is psycopg; write postgresql+psycopg://")
    import psycopg  # noqa: PLC0415  # a server on SQLite does without

    return create_engine(url, module=psycopg, pool_pre_ping=True)


def _wait_for_locks(session: Session, seconds: float) -> None:
    """See that PostgreSQL waits for other writers so long, and not for ever."""
    if session.get_bind().dialect.name == _POSTGRESQL:
        # Zero would mean for ever.
        session.execute(text(f"SET LOCAL lock_timeout = {max(1, int(seconds * 1000))}"))


@contextmanager
def translated() -> Iterator[None]:
    """Turn a fault of the database into a TransientError (rule 4).

    A constraint that does not hold is no fault: it passes as it is.
    """
    try:
        yield
    except (DBAPIError, PoolTimeoutError) as e:
        cause = getattr(e, "orig", None) or e
        if type(e).__name__ == "IntegrityError":
            raise
        raise TransientError(
            f"The database did not do it ({str(cause)[:200]}): try again.", reason="database"
        ) from e


class Database:
    """One database.

    Nothing connects before the first session, so an object may be made before a process forks.

    Args:
        url: an SQLAlchemy URL, unless it is SQLite.
        file: where SQLite keeps it; None for another database.

    Raises:
        ConfigurationError: the URL is wrong, or its driver is not installed.
    """

    def __init__(self, url: str | None, file: Path | None) -> None:
        self.file = file
        try:
            # Not as text: a directory may have a name that means something in a URL.
            sqlite = URL.create("sqlite", database=str(file))
            self.engine = _connecting(make_url(url) if url is not None else sqlite)
        except (ArgumentError, NoSuchModuleError, ImportError) as e:
            raise ConfigurationError(f"storage.database is not usable: {e}.") from e
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _private_sqlite)
            event.listen(self.engine, "begin", _begin)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    def make_file(self) -> None:
        """Make SQLite's file, for its owner alone, if it is not there (rule 3).

        Raises:
            TransientError: the disk did not do it.
        """
        if self.file is None:
            return
        durable.mkdir(self.file.parent)
        with durable.translated("make the database", self.file):
            if not self.file.exists():
                os.close(os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600))

    def is_there(self) -> bool:
        """Whether there is a database at all; a missing SQLite file is not made by looking."""
        return self.file is None or self.file.exists()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session to read with (rule 2).

        Raises:
            TransientError: the database failed.
        """
        with translated(), self._sessions() as session:
            if self.engine.dialect.name == _POSTGRESQL:
                session.connection(execution_options=_ONE_MOMENT)
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """The turn: a session that is the only writer until it ends, and commits then (rule 1).

        Raises:
            TransientError: the database failed, or other writers took too long.
        """
        with translated(), self._sessions.begin() as session:
            _wait_for_locks(session, BUSY_SECONDS)
            session.execute(update(PublisherRow).values(turn=PublisherRow.turn + 1))
            yield session

    @contextmanager
    def storing(self, wait_seconds: float = BUSY_SECONDS) -> Iterator[Session]:
        """A short write without the turn (rule 5); commits when it ends.

        Args:
            wait_seconds: for how long another writer is waited for.

        Raises:
            TransientError: the database failed, or another writer took too long.
        """
        with translated(), self._sessions.begin() as session:
            session.connection(execution_options={_WAIT: wait_seconds})
            _wait_for_locks(session, wait_seconds)
            yield session

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
