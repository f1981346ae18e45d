"""Runs the rollouts: reads what was signed and counted, and does what follows (I/O).

Rules:

1. One round looks at every rollout that is not over. What follows from it is decided by
   ``interlock_core.rollout``; here it is done. Any number of processes may run rounds: a lease in
   the database gives them to one, and the turn makes it harmless where it should not.
2. What follows is done in the transaction that notes it, so a process may be killed anywhere:
   nothing is skipped, and nothing is done twice. What takes many rows is done in batches
   (``sweeps``); the next round finds what is left.
3. Directives are published after that, from what is noted: a cohort is due until its is out.
4. Time in which no round was finished for ``GAP`` is time in which no device could report: every
   deadline that ran then is moved by it, once. A round is finished if it could look at any rollout,
   or found none: one that cannot be looked at, or published, gives no other device more time.
5. What cannot be done for one rollout keeps none of the others waiting, whatever is wrong with it:
   the first error is raised at the end.
6. The lease of a process whose clock is ahead by more than ``LEASE`` keeps nobody waiting.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from interlock_core.clock import Clock
from interlock_core.current import in_force
from interlock_core.errors import InterlockError
from interlock_core.exclusion import Exclusion, excluded_since
from interlock_core.order import Order
from interlock_core.rollout import OVER, Away, Counted, Event, Read, step
from interlock_core.rollout_reading import at_cohort
from interlock_core.roster import Judge
from interlock_core.statement import Opened
from interlock_core.store import Store
from interlock_server import sweeps
from interlock_server.db.rollout_tables import EngineRow, RolloutRow
from interlock_server.db.session import Database
from interlock_server.db.tables import CohortRow, StatementRow
from interlock_server.heads import Publisher, cohorts_of
from interlock_server.image import Released, read_released
from interlock_server.onfile import OnFile, find, read_on_file
from interlock_server.running import apply, load, places, save

LEASE: Final = timedelta(minutes=1)
"""For how long a process has the rounds to itself after it began one."""
GAP: Final = timedelta(minutes=10)
"""From how long on nobody looked (rule 4)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Round:
    """What one round did.

    Attributes:
        elected: whether it was this process's turn to look; if not, nothing was done.
        changed: the ids of the orders of which something changed.
        published: the cohorts whose directives were due and are out.
    """

    elected: bool
    changed: tuple[str, ...] = ()
    published: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Ground:
    """What everything that was signed says at one moment about one order."""

    order: Opened[Order]
    judge: Judge
    on_file: OnFile
    released: Released
    cohorts: Sequence[str]

    def read(self) -> Read:
        """What it says at each cohort that the order names and the server serves."""
        papers, stops = self.on_file.papers(self.order), self.on_file.stops_of(self.order)
        orders = self.on_file.orders_of(self.order.said.product)
        found = [
            at_cohort(
                self.judge,
                papers,
                stops,
                in_force(self.judge, orders, self.on_file.papers, cohort),
                cohort,
            )
            for cohort in self.cohorts
        ]
        return Read(self.judge.now, tuple(found))

    def excluded(self) -> list[tuple[str, Exclusion]]:
        """The exclusions that count, each with a cohort where it does."""
        return [
            (cohort, one.said)
            for one in self.on_file.exclusions_of(self.order)
            for cohort in self.cohorts
            if excluded_since(self.judge, one, self.on_file.words(one.id), cohort) is not None
        ]


class Engine:
    """Whoever runs rounds.

    Args:
        database: where it is all kept.
        store: where the roster and releases are read.
        publisher: publishes directives.
        clock: now.
    """

    def __init__(
        self, database: Database, store: Store, publisher: Publisher, clock: Clock
    ) -> None:
        self._database = database
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self.holder = secrets.token_hex(16)

    def round(self) -> Round:
        """Look at every rollout once, and do what follows (rules 1 to 5).

        Raises:
            Exception: the first thing that went wrong, after all was tried.
        """
        if not self._elected():
            return Round(elected=False)
        changed: list[str] = []
        errors: list[Exception] = []
        wanted = self._to_look_at()
        for order_id in wanted:
            if not self._elected():
                # It took so long that somebody else went on.
                return Round(True, tuple(changed))
            found = self._looked(order_id)
            if isinstance(found, Exception):
                errors.append(found)
            elif found:
                changed.append(order_id)
        if not wanted or len(errors) < len(wanted):
            with self._database.storing() as session:
                session.get_one(EngineRow, 1, with_for_update=True).seen_at = self._clock()
        published: tuple[str, ...] = ()
        try:
            published = self._publish()
        except InterlockError as e:
            errors.append(e)
        if errors:
            raise errors[0]
        return Round(True, tuple(changed), published)

    def attend(self, order_id: str) -> None:
        """Look at once at what a statement about an order may have moved: it, and those it ends.

        A round would find all of it a little later; so what goes wrong is logged, and left to that.
        """
        try:
            with self._database.reading() as session:
                filed = session.scalar(select(StatementRow).where(StatementRow.id == order_id))
            if filed is None:
                return
            for other in self._to_look_at(filed.product):
                self._looked(other)
            self._publish()
        except InterlockError as e:
            _log.error("rollout %s could not be looked at: %s", order_id[:12], e)

    def _looked(self, order_id: str) -> bool | Exception:
        """Look at one rollout; whether anything changed, or what went wrong (rule 5)."""
        try:
            return self._look(order_id)
        except InterlockError as e:
            _log.error("rollout %s could not be looked at: %s", order_id[:12], e)
            return e
        except Exception as e:  # noqa: BLE001  # whatever it is, the others must not wait for it
            _log.exception("rollout %s could not be looked at", order_id[:12])
            return e

    def leave(self) -> None:
        """Give the lease back, for a process that ends.

        Raises:
            TransientError: the database failed; then it ends by itself.
        """
        with self._database.storing() as session:
            row = session.get_one(EngineRow, 1, with_for_update=True)
            if row.holder == self.holder:
                row.until = None

    def _elected(self) -> bool:
        """Take the lease, or see that somebody else has it (rule 1)."""
        now = self._clock()
        with self._database.storing() as session:
            row = session.get_one(EngineRow, 1, with_for_update=True)
            if row.holder != self.holder and row.until and now < row.until <= now + 2 * LEASE:
                return False
            row.holder, row.until = self.holder, now + LEASE
            return True

    def _publish(self) -> tuple[str, ...]:
        """Publish every directive that is due (rule 3)."""
        with self._database.reading() as session:
            due = session.scalars(select(CohortRow.name).where(CohortRow.due.is_(True)))
            cohorts = tuple(due)
        if cohorts:
            self._publisher.publish_cohorts(cohorts)
        return cohorts

    def _to_look_at(self, product: str | None = None) -> list[str]:
        """The ids of orders whose rollouts are not over, the oldest first; new ones are noted."""
        with self._database.reading() as session:
            new = _unnoted(session)
        if new:
            with self._database.writing() as session:
                for row in _unnoted(session):
                    session.add(
                        RolloutRow(
                            order_id=row.id,
                            product=row.product,
                            seq=row.seq,
                            state="draft",
                            changed_at=row.received_at,
                        )
                    )
        wanted = select(RolloutRow.order_id).where(RolloutRow.state.not_in(OVER))
        if product is not None:
            wanted = wanted.where(RolloutRow.product == product)
        with self._database.reading() as session:
            return list(session.scalars(wanted.order_by(RolloutRow.number)))

    def _look(self, order_id: str) -> bool:
        """Look at one rollout; whether anything of it changed."""
        with self._database.reading() as session:
            ground = self._ground(session, order_id)
            if ground is None:
                return False
            moves = self._read(session, ground, write=False)
            number = _row(session, order_id).number
        if moves:
            with self._database.writing() as session:
                ground = self._ground(session, order_id) or ground
                self._read(session, ground, write=True)
        now, order = self._clock(), ground.order.said
        swept = sweeps.cancel(self._database, number, order, now)
        swept += sweeps.time_out(self._database, number, order, now)
        swept += sweeps.exclude(self._database, number, order, ground.excluded())
        with self._database.reading() as session:
            counts = self._count(session, ground, write=False)
        if counts:
            with self._database.writing() as session:
                self._count(session, ground, write=True)
        return moves or counts or swept > 0

    def _read(self, session: Session, ground: _Ground, *, write: bool) -> bool:
        """Whether what was signed moves a rollout; with ``write`` it does, under the turn."""
        row, now = _row(session, ground.order.id, to_change=write), self._clock()
        away = self._away(session, row, now)
        moved = self._move(session, row, ground, [*away, ground.read()], now, write=write)
        if write and away:
            row.away_until = now
        return moved or bool(away)

    def _count(self, session: Session, ground: _Ground, *, write: bool) -> bool:
        """Whether what was counted moves a rollout; with ``write`` it does, under the turn."""
        row, now = _row(session, ground.order.id, to_change=write), self._clock()
        counted = Counted(now, *places(session, row.number))
        return self._move(session, row, ground, [counted], now, write=write)

    def _move(
        self,
        session: Session,
        row: RolloutRow,
        ground: _Ground,
        events: Sequence[Event],
        now: datetime,
        *,
        write: bool,
    ) -> bool:
        rollout = before = load(session, row)
        moved = False
        for event in events:
            rollout, effects = step(ground.order.said, rollout, event)
            moved |= bool(effects)
            if write:
                apply(session, row, ground.order, ground.released, effects, now)
        if write:
            save(session, row, rollout, now)
        return moved or rollout != before

    def _away(self, session: Session, row: RolloutRow, now: datetime) -> list[Event]:
        """The time in which nobody looked, as far as it was not made good yet (rule 4)."""
        seen_at = session.get_one(EngineRow, 1, populate_existing=True).seen_at
        if seen_at is None:
            return []
        by = now - max(seen_at, row.away_until or seen_at)
        return [Away(by)] if by >= GAP else []

    def _ground(self, session: Session, order_id: str) -> _Ground | None:
        """What was signed about an order, and about those that may be in force in its place."""
        released = read_released(self._store)
        order = find(session, order_id)
        if released.roster is None or order is None:
            return None
        said: Order = order.said
        wanted = select(StatementRow.id).where(
            StatementRow.type == Order.PREDICATE, StatementRow.product == said.product
        )
        if said.kind != "baseline":
            # Nothing with a lower number takes its place; a baseline gives way to any update.
            wanted = wanted.where(StatementRow.seq >= said.seq)
        on_file = read_on_file(session, list(session.scalars(wanted)))
        judge = Judge(released.roster, on_file.judging_time(self._clock()))
        named = set(said.cohorts())
        cohorts = [cohort for cohort in cohorts_of(session) if cohort in named]
        return _Ground(order, judge, on_file, released, cohorts)


def _unnoted(session: Session) -> list[StatementRow]:
    """The orders of which nothing is noted yet."""
    noted = select(RolloutRow.number).where(RolloutRow.order_id == StatementRow.id)
    wanted = select(StatementRow).where(StatementRow.type == Order.PREDICATE, ~noted.exists())
    return list(session.scalars(wanted.order_by(StatementRow.number)))


def _row(session: Session, order_id: str, *, to_change: bool = False) -> RolloutRow:
    wanted = select(RolloutRow).where(RolloutRow.order_id == order_id)
    row = session.scalar(wanted.with_for_update() if to_change else wanted)
    assert row is not None, "a rollout is noted before it is looked at"
    return row


def start(engine: Engine, interval: timedelta, changed: Callable[[], None]) -> None:
    """Run rounds from a thread of this process, as long as it lives (rule 1).

    Args:
        engine: this process's.
        interval: between two rounds.
        changed: called after each round that changed something.
    """
    never = threading.Event()
    threading.Thread(
        target=keep_running, args=(engine, interval, changed, never), name="engine", daemon=True
    ).start()


def keep_running(
    engine: Engine, interval: timedelta, changed: Callable[[], None], stop: threading.Event
) -> None:
    """Run a round now and after every interval, until ``stop`` is set.

    What goes wrong is logged, and tried again by the next round.
    """
    while True:
        try:
            if engine.round().changed:
                changed()
        except InterlockError as e:
            _log.error("a round of the engine failed: %s", e)
        except Exception:  # noqa: BLE001  # the rounds go on: nothing may stand still unseen
            _log.exception("a round of the engine failed")
        if stop.wait(interval.total_seconds()):
            return
