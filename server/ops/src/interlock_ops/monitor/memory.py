"""What the monitor remembers, in one SQLite file (I/O).

Rules:

1. Whatever belongs together is written in one transaction, flushed to the disk before ``writing``
   returns: how far the log was read, and everything that was read up to there. A process that is
   killed at any instant goes on from the last transaction.
2. One process uses a state directory at a time: two monitors have one each.
3. Nothing here decides. Memory use does not grow with the number of devices: what many devices
   said is read row by row, and counted by the database.
4. All of it but the stops that people delivered directly can be read again from the log.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from interlock_core import disk, durable
from interlock_core.errors import ConfigurationError, TransientError

FILE: Final = "monitor.sqlite"
LOCK: Final = "monitor.lock"
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE trouble (name TEXT PRIMARY KEY, times INTEGER NOT NULL, told INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE bundle (number INTEGER PRIMARY KEY, root BLOB NOT NULL);
CREATE TABLE paper (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, about TEXT NOT NULL, counted INTEGER NOT NULL,
    envelope BLOB NOT NULL
);
CREATE INDEX paper_about ON paper (about, kind);
CREATE INDEX paper_kind ON paper (kind);
CREATE TABLE enrolment (
    id TEXT PRIMARY KEY, device TEXT NOT NULL, product TEXT NOT NULL, site TEXT NOT NULL,
    cohort TEXT NOT NULL, stands INTEGER NOT NULL, quarantined TEXT, ended TEXT,
    tip_number INTEGER NOT NULL, tip_id TEXT, heard_at INTEGER, report BLOB, envelope BLOB NOT NULL
);
CREATE INDEX enrolment_device ON enrolment (device);
CREATE INDEX enrolment_place ON enrolment (cohort, product, device);
CREATE TABLE taken (
    enrolment TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (enrolment, number)
) WITHOUT ROWID;
CREATE TABLE stage (
    order_id TEXT NOT NULL, stage INTEGER NOT NULL, cohort TEXT NOT NULL, since INTEGER NOT NULL,
    PRIMARY KEY (order_id, stage, cohort)
) WITHOUT ROWID;
CREATE TABLE action (
    order_id TEXT NOT NULL, device TEXT NOT NULL, cohort TEXT NOT NULL, stage INTEGER NOT NULL,
    counted INTEGER NOT NULL, since INTEGER NOT NULL, deadline INTEGER NOT NULL,
    patience INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, vote TEXT,
    vote_reason TEXT, excluded TEXT, over INTEGER NOT NULL, heard_at INTEGER,
    PRIMARY KEY (order_id, device)
) WITHOUT ROWID;
CREATE INDEX action_late ON action (order_id, cohort, over, deadline);
CREATE INDEX action_device ON action (device);
CREATE TABLE forgiven (
    order_id TEXT NOT NULL, stage INTEGER NOT NULL, cohort TEXT NOT NULL, counts BLOB NOT NULL,
    PRIMARY KEY (order_id, stage, cohort)
) WITHOUT ROWID;
CREATE TABLE signed (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, made_at INTEGER NOT NULL, state TEXT NOT NULL,
    detail TEXT NOT NULL, told INTEGER NOT NULL, envelope BLOB NOT NULL
);
CREATE INDEX signed_key ON signed (key);
CREATE TABLE due (key TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE alert (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, since INTEGER NOT NULL, told_at INTEGER,
    detail TEXT NOT NULL
) WITHOUT ROWID;
"""
_CACHE_KIB: Final = 16 * 1024


class Memory:
    """The monitor's memory in a state directory.

    Args:
        directory: made if it is missing, for this user alone.

    Raises:
        ConfigurationError: ``state_in_use``: another process uses it; ``bad_state``: what stands
            there was made by another version, or is damaged.
        TransientError: the disk failed.
    """

    def __init__(self, directory: Path) -> None:
        durable.mkdir(directory, 0o700)
        self.path = directory / FILE
        self._lock = _locked(directory)
        with ExitStack() as undo:
            undo.callback(self._lock.close)
            with self._translated():
                self._db = sqlite3.connect(self.path, isolation_level=None)
                undo.callback(self._db.close)
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                self._found()
            undo.pop_all()

    def _found(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == _VERSION:
            return
        if version:
            raise ConfigurationError(
                f"{self.path} is of version {version}, and this program keeps {_VERSION}: use the "
                "program that made it, or move it away and let the log be read again.",
                reason="bad_state",
            )
        disk.step("write", self.path)
        self._db.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {_VERSION};COMMIT;")
        disk.sync_directory(self.path.parent)

    def close(self) -> None:
        """Let go of the directory."""
        self._db.close()
        self._lock.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Everything inside is written together, or not at all (rule 1).

        Raises:
            TransientError: the disk failed; nothing was written.
        """
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                disk.step("write", self.path)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def run(self, sql: str, *values: Any) -> int:
        """Change rows; returns how many."""
        return self._db.execute(sql, values).rowcount

    def rows(self, sql: str, *values: Any) -> Iterator[Any]:
        """Rows, one by one (rule 3)."""
        with self._translated():
            yield from self._db.execute(sql, values)

    def row(self, sql: str, *values: Any) -> Any:
        """The first row, or None."""
        with self._translated():
            return self._db.execute(sql, values).fetchone()

    def get(self, name: str) -> str | None:
        """A value of ``meta``."""
        row = self.row("SELECT value FROM meta WHERE name = ?", name)
        return None if row is None else str(row[0])

    def put(self, name: str, value: str) -> None:
        """Set a value of ``meta``; inside ``writing``."""
        self.run("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, value)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as e:
            raise TransientError(
                f"{self.path} could not be used ({e}): check the disk; nothing is lost.",
                reason="disk",
            ) from e
        except sqlite3.DatabaseError as e:
            raise ConfigurationError(
                f"{self.path} is damaged ({e}): move it away, and the log will be read again. Have "
                "the stops that people delivered directly delivered again first.",
                reason="bad_state",
            ) from e


def _locked(directory: Path) -> Any:
    with durable.translated("use", directory):
        file = (directory / LOCK).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        file.close()
        raise ConfigurationError(
            f"Another process uses {directory}: each monitor has a 'state_directory' of its own.",
            reason="state_in_use",
        ) from e
    return file
