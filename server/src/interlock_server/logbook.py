"""Writes facts into the log, in the transaction that makes them facts (I/O).

Rules:

1. No entry without its fact and no fact without its entry: both are in one transaction.
2. Entries are written when everything else of the transaction is, so that the row which gives out
   numbers is the last that is locked, and for the shortest time. Numbers have no gap: whoever
   rolls back used none.
3. The log decides nothing: no gateway, and no rule here, reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from interlock_core import wire
from interlock_core.log import Entry, Fact, write_entry
from interlock_server.db.log_tables import APPENDED, LogEntryRow, LogHeadRow

_QUEUE: Final = "interlock_log"
_AT_ONCE: Final = 500

Timed = tuple[datetime, Fact]


def record(session: Session, at: datetime, fact: Fact) -> None:
    """Record a fact with this transaction (rules 1 and 2).

    Args:
        session: one that writes.
        at: now; when it is recorded.
        fact: what the transaction makes a fact.
    """
    queue: list[Timed] = session.info.setdefault(_QUEUE, [])
    if not queue:
        event.listen(session, "before_commit", _append, once=True)
    queue.append((at, fact))


def _append(session: Session) -> None:
    queue: list[Timed] = session.info.pop(_QUEUE, [])
    # What this transaction changed is locked before the row that everybody needs.
    session.flush()
    head = session.get_one(LogHeadRow, APPENDED, with_for_update=True)
    for at, fact in queue:
        entry = Entry(number=head.size, at=at.replace(microsecond=0), fact=fact)
        row = LogEntryRow(number=head.size, fact=_key(fact), entry=write_entry(entry))
        session.add(row)
        head.size += 1
    session.flush()


def size(session: Session) -> int:
    """How many entries there are."""
    return session.get_one(LogHeadRow, APPENDED, populate_existing=True).size


def entries(session: Session, start: int, end: int) -> list[bytes]:
    """The entries from ``start`` up to but not including ``end``, as they are hashed."""
    wanted = select(LogEntryRow.entry).where(LogEntryRow.number >= start, LogEntryRow.number < end)
    return list(session.scalars(wanted.order_by(LogEntryRow.number)))


def every_entry(session: Session) -> Iterator[bytes]:
    """All entries, in order, in bounded memory."""
    wanted = select(LogEntryRow.entry).order_by(LogEntryRow.number)
    yield from session.scalars(wanted.execution_options(yield_per=_AT_ONCE))


def unrecorded(session: Session, facts: Iterable[Fact]) -> list[Fact]:
    """Those of ``facts`` that the log does not hold."""
    by_key = {_key(fact): fact for fact in facts}
    keys = list(by_key)
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        for known in session.scalars(select(LogEntryRow.fact).where(LogEntryRow.fact.in_(some))):
            by_key.pop(known, None)
    return list(by_key.values())


def _key(fact: Fact) -> str:
    return wire.sha256_hex(wire.encode(fact))
