"""How long ago each monitor was heard: without one, rollouts stand still (I/O).

Rules:

1. A monitor is heard when it reads the log with its own token. That it was is noted at most every
   few seconds, so that reading stays reading.
2. Nothing is decided by it, and nothing is signed: people are told how long it is silent, by
   ``/metrics`` and ``rollout status``. A server that lies about it gains a standstill.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from interlock_core.api import MonitorList, MonitorView
from interlock_core.clock import Clock
from interlock_core.errors import TransientError
from interlock_core.roster import MONITOR, Roster
from interlock_core.store import Store
from interlock_server.db.monitor_tables import MonitorRow
from interlock_server.db.session import Database
from interlock_server.db.tables import StatementRow
from interlock_server.image import read_released

BETWEEN: Final = timedelta(seconds=10)


class Monitors:
    """Notes and tells when each monitor was heard.

    Args:
        database: where that is kept.
        store: holds the roster.
        clock: now.
    """

    def __init__(self, database: Database, store: Store, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._clock = clock

    def heard(self, person: str) -> None:
        """Note that ``person`` read the log, if it is a monitor (rule 1).

        A database that is busy keeps nobody from reading: the next time will be noted.

        Raises:
            TransientError: the store failed, or the database cannot be read.
        """
        if person not in self._names():
            return
        now = self._clock()
        with self._database.reading() as session:
            row = session.get(MonitorRow, person)
        if row is not None and row.seen_at > now - BETWEEN:
            return
        # Two of its readings at once may both be the first.
        with suppress(TransientError, IntegrityError), self._database.storing(0.5) as session:
            session.merge(MonitorRow(person=person, seen_at=now))

    def views(self) -> MonitorList:
        """Every monitor in the roster.

        Raises:
            TransientError: the store or the database failed.
        """
        names = self._names()
        with self._database.reading() as session:
            seen = {row.person: row.seen_at for row in session.scalars(select(MonitorRow))}
            newest = select(StatementRow.author, func.max(StatementRow.received_at))
            by_author = newest.where(StatementRow.author.in_(names)).group_by(StatementRow.author)
            signed = dict(session.execute(by_author).all())
        return MonitorList(
            items=tuple(
                MonitorView(name=name, seen_at=seen.get(name), signed_at=signed.get(name))
                for name in names
            )
        )

    def _names(self) -> list[str]:
        roster = read_released(self._store).roster
        return [] if roster is None else monitors_of(roster)


def monitors_of(roster: Roster) -> list[str]:
    """The persons who hold the role, whatever has expired: who is to be heard."""
    return sorted(
        person.name
        for person in roster.persons
        if any(grant.role == MONITOR for grant in person.grants)
    )
