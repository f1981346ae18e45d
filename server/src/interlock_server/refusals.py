"""Counts refusals by name (I/O).

Rules:

1. Each refusal is logged, and counted in the database, one row for each name: it grows with the
   number of names and not with the number of attempts. What is refused in the name of an enrolment
   is counted for that enrolment too.
2. Counting never changes the answer, nor keeps it waiting: it takes no turn, and where another
   writer holds the database it is kept in memory and written when that one has finished, by a
   thread that lives as long. A process ends after its counts are written; one that is killed loses
   those that waited.
3. Several processes count at once and lose nothing: a row is raised where it lies, by as many as
   were refused.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import CursorResult, Update, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from interlock_core.clock import Clock
from interlock_core.errors import ConflictError, RefusedError, TransientError
from interlock_server.db.fleet_tables import ReportRefusalRow
from interlock_server.db.session import BUSY_SECONDS, Database
from interlock_server.db.tables import RefusalRow

MAX_DETAIL: Final = 500
MAX_WAITING: Final = 10_000
"""How many different counts are kept in memory while the database is held; more are not kept."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class _Name:
    """What is counted: a kind and a reason, and in whose name, or nobody's."""

    kind: str
    reason: str
    enrolment: str


@dataclass(frozen=True)
class _Count:
    times: int
    last_at: datetime
    detail: str


class Refusals:
    """Where refusals are counted.

    Args:
        database: where they are kept.
        clock: now.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[_Name, _Count] = {}
        self._writer: threading.Thread | None = None

    @contextmanager
    def counted(self, kind: str, enrolment: str = "") -> Iterator[None]:
        """Log and count what is refused inside, and let it pass on.

        Args:
            kind: of what is refused: ``statement``, ``publication``, ``session``, ``enrolment`` or
                ``report``.
            enrolment: the id of the enrolment on file in whose name it came, if it did.
        """
        try:
            yield
        except (RefusedError, ConflictError) as e:
            _log.warning("%s refused (%s): %s", kind, e.reason, e)
            self._count(_Name(kind, e.reason, enrolment), str(e)[:MAX_DETAIL])
            raise

    def flush(self) -> None:
        """Write what waits; other writers are waited for.

        Raises:
            TransientError: the database failed; it is all kept.
        """
        writer = self._writer
        if writer is not None:
            writer.join()
        self._write(BUSY_SECONDS)

    def _count(self, name: _Name, detail: str) -> None:
        self._keep({name: _Count(1, self._clock(), detail)})
        try:
            self._write(0)
        except TransientError:
            self._write_later()

    def _keep(self, counts: Mapping[_Name, _Count]) -> None:
        with self._lock:
            for name, new in counts.items():
                before = self._waiting.get(name)
                if before is None and len(self._waiting) >= MAX_WAITING:
                    _log.error("too many refusals wait to be counted: %s is not", name)
                    continue
                times = new.times + (before.times if before is not None else 0)
                self._waiting[name] = _Count(times, new.last_at, new.detail)

    def _write(self, wait_seconds: float) -> None:
        """Write what waits; what the database does not take waits on."""
        with self._lock:
            counts, self._waiting = self._waiting, {}
        if not counts:
            return
        try:
            with self._database.storing(wait_seconds) as session:
                # In one order, so that two writers never wait for each other.
                for name in sorted(counts):
                    _raise_by(session, name, counts[name])
        except BaseException:
            self._keep(counts)
            raise

    def _write_later(self) -> None:
        with self._lock:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_waiting, name="refusals")
                self._writer.start()

    def _write_waiting(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._writer = None
                    return
            try:
                self._write(BUSY_SECONDS)
            except TransientError as fault:
                _log.error("refusals could not be counted yet: %s", fault)
                with self._lock:
                    self._writer = None
                return


def _raise_by(session: Session, name: _Name, count: _Count) -> None:
    total = {
        RefusalRow.times: RefusalRow.times + count.times,
        RefusalRow.last_at: count.last_at,
        RefusalRow.last_detail: count.detail,
    }
    same = (RefusalRow.kind == name.kind, RefusalRow.reason == name.reason)
    if not _raised(session, update(RefusalRow).where(*same).values(total)):
        new = RefusalRow(
            kind=name.kind,
            reason=name.reason,
            times=count.times,
            last_at=count.last_at,
            last_detail=count.detail,
        )
        if not _added(session, new):
            session.execute(update(RefusalRow).where(*same).values(total))
    if name.enrolment:
        _raise_in_name(session, name, count)


def _raise_in_name(session: Session, name: _Name, count: _Count) -> None:
    same = (ReportRefusalRow.enrolment == name.enrolment, ReportRefusalRow.reason == name.reason)
    mine = {
        ReportRefusalRow.times: ReportRefusalRow.times + count.times,
        ReportRefusalRow.last_at: count.last_at,
    }
    if not _raised(session, update(ReportRefusalRow).where(*same).values(mine)):
        new = ReportRefusalRow(
            enrolment=name.enrolment, reason=name.reason, times=count.times, last_at=count.last_at
        )
        if not _added(session, new):
            session.execute(update(ReportRefusalRow).where(*same).values(mine))


def _raised(session: Session, by: Update) -> bool:
    result = session.execute(by.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return result.rowcount > 0


def _added(session: Session, row: RefusalRow | ReportRefusalRow) -> bool:
    """Whether the row was not there; somebody else may have made it a moment ago (rule 3)."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return False
    return True
