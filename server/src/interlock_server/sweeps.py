"""What time and people do to many actions at once, batch by batch (I/O).

Rules:

1. Each batch is a transaction of its own, with its counts: whoever is killed in between leaves
   whole batches, and the next sweep finds the rest by the same question.
2. A deadline counts where the rollout goes on: at a cohort where it stands still nobody times out.
3. An action is canceled where its rollout is over.
4. That somebody timed out is recorded in the log: it is the one thing that is counted and that
   nobody signed.
5. A failure is left out where an exclusion covers it and counts at its cohort (``exclusion``), and
   as long as one does, while its rollout is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, false, func, not_, or_, select
from sqlalchemy.orm import Session

from interlock_core.abort import FAILURES
from interlock_core.action import KNOWN_ISSUE, Canceled, Event, Excluded, Included, Tick
from interlock_core.exclusion import Exclusion
from interlock_core.log import action_fact
from interlock_core.order import Order
from interlock_server.counting import Tally, move
from interlock_server.db.fleet_tables import EnrolmentRow
from interlock_server.db.rollout_tables import ActionRow, PartRow, RolloutRow
from interlock_server.db.session import Database
from interlock_server.logbook import record

BATCH: Final = 1000
"""How many actions one transaction changes."""

Moving = Callable[[PartRow], Event]


def time_out(database: Database, rollout: int, order: Order, now: datetime) -> int:
    """End what was silent for too long (rule 2); returns how many."""
    late = _open(rollout).where(
        ActionRow.deadline <= int(now.timestamp()),
        PartRow.still.is_(None),
        PartRow.over.is_(None),
    )
    return _sweep(database, order, late, lambda _: Tick(now))


def cancel(database: Database, rollout: int, order: Order, now: datetime) -> int:
    """Cancel what is open where the rollout is over (rule 3); returns how many."""
    over = _open(rollout).where(PartRow.over.is_not(None))
    return _sweep(database, order, over, lambda part: Canceled(now, part.over or "over"))


def exclude(
    database: Database, rollout: int, order: Order, counting: Sequence[tuple[str, Exclusion]]
) -> int:
    """Leave known issues out, and take back in what no longer is one (rule 5); returns how many.

    Args:
        counting: exclusions, each with a cohort where it counts.
    """
    covered = _covered(counting)
    failed = _actions(rollout).where(ActionRow.vote.in_(FAILURES))
    lapsed = failed.where(ActionRow.excluded == KNOWN_ISSUE, not_(or_(false(), *covered)))
    total = _sweep(database, order, lapsed, lambda _: Included())
    for about in covered:
        known = failed.where(ActionRow.excluded.is_(None), about)
        total += _sweep(database, order, known, lambda _: Excluded(KNOWN_ISSUE))
    return total


def _covered(counting: Sequence[tuple[str, Exclusion]]) -> list[ColumnElement[bool]]:
    """``Exclusion.covers`` as questions to the database, one for all cohorts where the same counts.

    One for each cohort and exclusion would be more than SQLite takes in one statement.
    """
    known: dict[str, set[Exclusion]] = {}
    for cohort, exclusion in counting:
        known.setdefault(cohort, set()).add(exclusion)
    alike: dict[frozenset[Exclusion], list[str]] = {}
    for cohort, exclusions in sorted(known.items()):
        alike.setdefault(frozenset(exclusions), []).append(cohort)
    # A null would make both the question and its contrary unknown.
    why = func.coalesce(ActionRow.vote_reason, "")
    return [
        and_(
            ActionRow.cohort.in_(cohorts),
            or_(
                ActionRow.device.in_({one.device for one in exclusions if one.device}),
                why.in_({one.failure for one in exclusions if one.failure}),
            ),
        )
        for exclusions, cohorts in alike.items()
    ]


def _actions(rollout: int) -> Any:
    return (
        select(ActionRow, PartRow)
        .join(
            PartRow,
            (PartRow.rollout == ActionRow.rollout) & (PartRow.cohort == ActionRow.cohort),
        )
        .where(ActionRow.rollout == rollout)
        .order_by(ActionRow.number)
        .limit(BATCH)
    )


def _open(rollout: int) -> Any:
    return _actions(rollout).where(ActionRow.over.is_(False))


def _sweep(database: Database, order: Order, wanted: Any, event: Moving) -> int:
    """Move what is found until nothing is (rule 1)."""
    total = 0
    while True:
        with database.reading() as session:
            if session.execute(wanted.limit(1)).first() is None:
                return total
        with database.storing() as session:
            total += _batch(session, order, wanted, event)


def _batch(session: Session, order: Order, wanted: Any, event: Moving) -> int:
    tally = Tally()
    rows = session.execute(wanted.with_for_update(of=ActionRow)).all()
    for row, part in rows:
        happens = event(part)
        after = move(row, order, happens, tally)
        if isinstance(happens, Tick):
            enrolment = session.get_one(EnrolmentRow, row.enrolment).id
            order_id = session.get_one(RolloutRow, row.rollout).order_id
            record(session, happens.at, action_fact(after.state, order_id, enrolment))
    session.flush()
    tally.write(session)
    return len(rows)
