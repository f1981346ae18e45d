"""Where a rollout stands, in the database: read, written, and what follows from a step (I/O).

Rules:

1. What is written and what follows from it are one transaction, which holds the turn.
2. What takes many rows at once is left to ``sweeps``, which finds it in what is noted here: an
   action is canceled where its part is over.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from interlock_core import wire
from interlock_core.abort import Counts, Place
from interlock_core.api import Transition
from interlock_core.log import transition_fact
from interlock_core.order import Order
from interlock_core.rollout import (
    OVER,
    Alert,
    CancelActions,
    Counted,
    Effect,
    ExtendDeadlines,
    Forgive,
    OpenActions,
    Part,
    Publish,
    Record,
    Rollout,
    State,
    step,
)
from interlock_core.statement import Opened
from interlock_core.supersede import Running
from interlock_server import logbook
from interlock_server.counting import counts_in
from interlock_server.db.rollout_tables import (
    ActionRow,
    PartRow,
    RolloutRow,
    StageRow,
    TransitionRow,
)
from interlock_server.db.tables import CohortRow
from interlock_server.image import Released
from interlock_server.onfile import find
from interlock_server.stages import open_stage, placing

_log = logging.getLogger(__name__)

MAX_COUNTS = 16 * 1024
"""How long the counts of one stage and cohort may be, as JSON."""


def load(session: Session, row: RolloutRow) -> Rollout:
    """Where a rollout stands."""
    parts = session.scalars(select(PartRow).where(PartRow.rollout == row.number))
    return Rollout(
        state=msgspec.convert(row.state, State),
        parts={
            part.cohort: Part(
                cohort=part.cohort,
                opened=part.opened,
                held=part.held,
                still=part.still,
                still_since=part.still_since,
                over=part.over,
                resumed_at=part.resumed_at,
            )
            for part in parts
        },
        held_since=row.held_since,
        held_why=row.held_why,
    )


def save(session: Session, row: RolloutRow, rollout: Rollout, now: datetime) -> None:
    """Write where a rollout stands."""
    if row.state != rollout.state:
        row.state, row.changed_at = rollout.state, now
    row.held_since, row.held_why = rollout.held_since, rollout.held_why
    for part in rollout.parts.values():
        session.merge(
            PartRow(
                rollout=row.number,
                cohort=part.cohort,
                opened=part.opened,
                held=part.held,
                still=part.still,
                still_since=part.still_since,
                over=part.over,
                resumed_at=part.resumed_at,
            )
        )


def places(session: Session, rollout: int) -> tuple[Mapping[Place, Counts], Mapping[Place, Counts]]:
    """The counts of every stage and cohort that was opened, and those that are forgiven."""
    counts: dict[Place, Counts] = {}
    forgiven: dict[Place, Counts] = {}
    for row in stages_of(session, rollout):
        counts[row.stage, row.cohort] = counts_in(row)
        if row.forgiven is not None:
            forgiven[row.stage, row.cohort] = forgiven_in(row.forgiven)
    return counts, forgiven


def stages_of(session: Session, rollout: int) -> list[StageRow]:
    """The stages of a rollout that were opened, with their counts as they are now."""
    wanted = select(StageRow).where(StageRow.rollout == rollout)
    wanted = wanted.order_by(StageRow.stage, StageRow.cohort)
    return list(session.scalars(wanted.execution_options(populate_existing=True)))


def forgiven_in(text: str) -> Counts:
    """Counts as they were kept at a resume.

    Raises:
        WireError: the database was damaged.
    """
    return wire.decode(text.encode(), Counts, limit=MAX_COUNTS, what="kept counts")


def apply(
    session: Session,
    row: RolloutRow,
    order: Opened[Order],
    released: Released,
    effects: Iterable[Effect],
    now: datetime,
) -> None:
    """Do what follows from a step (rules 1 and 2).

    Args:
        session: the transaction that writes where the rollout stands.
        row: the rollout's.
        order: what was ordered.
        released: what the image repository says.
        effects: in their order.
        now: from when deadlines run.
    """
    placed = placing(order.said, released)
    evidence: str | None = None
    for effect in effects:
        match effect:
            case OpenActions():
                inside = open_stage(session, row.number, order, placed, effect, now)
                _log.info(
                    "order %s: stage %d opens at %s with %d devices",
                    row.order_id[:12],
                    effect.stage,
                    effect.cohort,
                    inside,
                )
            case ExtendDeadlines():
                _extend(session, row.number, effect)
            case Forgive():
                for stage in stages_of(session, row.number):
                    if stage.cohort == effect.cohort:
                        stage.forgiven = wire.encode(counts_in(stage)).decode()
            case Publish():
                due = update(CohortRow).where(CohortRow.name.in_(effect.cohorts))
                session.execute(due.values(due=True))
            case Alert():
                evidence = effect.detail
                _log.warning("alert %s: order %s: %s", effect.name, row.order_id, effect.detail)
            case Record():
                _record(session, row, effect, evidence, now)
            case CancelActions():
                # ``sweeps`` does it, from what is noted.
                pass
    session.flush()


def _record(
    session: Session, row: RolloutRow, effect: Record, evidence: str | None, now: datetime
) -> None:
    """Keep a change of state, and record it in the log with this transaction."""
    _log.info("order %s is %s: %s", row.order_id[:12], effect.after, effect.why)
    here = TransitionRow.rollout == row.number
    known = session.scalar(select(func.count()).where(here)) or 0
    kept = wire.encode(
        Transition(
            order=row.order_id,
            nth=known + 1,
            at=now,
            before=effect.before,
            after=effect.after,
            why=effect.why,
            evidence=evidence,
        )
    )
    session.add(TransitionRow(rollout=row.number, kept=kept))
    session.flush()
    logbook.record(session, now, transition_fact(effect.after, row.order_id, kept))


def transitions_of(session: Session, rollout: int, newest: int) -> list[Transition]:
    """The newest changes of a rollout's state, oldest first.

    Raises:
        WireError: the database was damaged.
    """
    wanted = select(TransitionRow.kept).where(TransitionRow.rollout == rollout)
    wanted = wanted.order_by(TransitionRow.number.desc()).limit(newest)
    return [
        wire.decode(kept, Transition, limit=MAX_COUNTS, what="kept transition")
        for kept in reversed(list(session.scalars(wanted)))
    ]


def _extend(session: Session, rollout: int, effect: ExtendDeadlines) -> None:
    seconds = int(effect.by.total_seconds())
    moved = update(ActionRow).where(
        ActionRow.rollout == rollout,
        ActionRow.cohort == effect.cohort,
        ActionRow.over.is_(False),
    )
    session.execute(
        moved.values(deadline=ActionRow.deadline + seconds).execution_options(
            synchronize_session=False
        )
    )


def running(session: Session, now: datetime) -> list[Running]:
    """The orders that were opened somewhere, and are neither finished nor over there.

    What was counted since the engine looked last is looked at here: an order whose last device has
    just confirmed runs no more.
    """
    found = []
    wanted = select(RolloutRow).where(RolloutRow.state.in_(("running", "paused")))
    for row in session.scalars(wanted.order_by(RolloutRow.number)):
        order = find(session, row.order_id)
        if order is None:
            continue
        counted = Counted(now, *places(session, row.number))
        rollout, _ = step(order.said, load(session, row), counted)
        cohorts = [p.cohort for p in rollout.parts.values() if p.opened and p.over is None]
        if rollout.state not in OVER:
            found.append(Running(order.id, order.said, frozenset(cohorts)))
    return found
