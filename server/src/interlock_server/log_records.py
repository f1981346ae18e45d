"""What the log's entries name, for those who may read it (I/O, reading).

Rules:

1. A record is the envelope that stands behind an entry, as it is on file: of a statement the
   statement, of a quarantine the report that showed the fork. Metadata is in the Store for
   everybody, and other entries have nothing behind them.
2. A page is found by the numbers of entries, so pages never shift, and has at most 100 entries. It
   ends early where its records would become longer than an answer may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from interlock_core.api import MAX_ANSWER, PAGE, LogRecord, LogRecordPage
from interlock_core.log import Entry, read_entry
from interlock_core.statement import read_envelope
from interlock_server.db.fleet_tables import (
    ActRow,
    AssignmentRow,
    ClaimRow,
    EnrolmentRow,
    ForkRow,
    ReportRow,
    WordRow,
)
from interlock_server.db.session import Database
from interlock_server.db.tables import StatementRow
from interlock_server.logbook import entries, size

_TABLES: Final[tuple[Any, ...]] = (
    StatementRow,
    ClaimRow,
    EnrolmentRow,
    WordRow,
    AssignmentRow,
    ReportRow,
    ActRow,
)


def page_of_records(database: Database, start: int) -> LogRecordPage:
    """The records behind the entries from ``start`` on.

    Raises:
        TransientError: the database failed.
    """
    with database.reading() as session:
        total = size(session)
        found = [read_entry(entry) for entry in entries(session, start, start + PAGE)]
        envelopes = _envelopes(session, found)
    items: list[LogRecord] = []
    length = 0
    for entry in found:
        envelope = envelopes.get(entry.number)
        if envelope is None:
            continue
        length += len(envelope) + 100
        if length > MAX_ANSWER // 2:
            return LogRecordPage(items=tuple(items), next=entry.number)
        items.append(LogRecord(number=entry.number, envelope=read_envelope(envelope)))
    end = start + len(found)
    return LogRecordPage(items=tuple(items), next=end if end < total else None)


def _envelopes(session: Session, found: Sequence[Entry]) -> dict[int, bytes]:
    wanted = {entry.fact.id for entry in found if entry.fact.kind == "statement"}
    by_id: dict[str, bytes] = {}
    for table in _TABLES:
        rows = session.execute(select(table.id, table.envelope).where(table.id.in_(wanted)))
        by_id |= dict(rows.all())
    seen = [entry.fact.id for entry in found if entry.fact.kind == "state" and entry.fact.sha256]
    forks = dict(
        session.execute(
            select(EnrolmentRow.id, ForkRow.envelope)
            .join(EnrolmentRow, EnrolmentRow.number == ForkRow.enrolment)
            .where(EnrolmentRow.id.in_(seen))
        ).all()
    )
    return {
        entry.number: envelope
        for entry in found
        if (envelope := (by_id if entry.fact.kind == "statement" else forks).get(entry.fact.id))
        and (entry.fact.kind == "statement" or entry.fact.sha256)
    }
