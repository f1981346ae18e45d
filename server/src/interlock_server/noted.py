"""Which rollouts run and where they are held, as the engine noted it (I/O, reading)."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from interlock_core.rollout import OVER
from interlock_core.supersede import Running
from interlock_server.db.rollout_tables import PartRow, RolloutRow
from interlock_server.onfile import find


def held(session: Session) -> frozenset[tuple[str, str]]:
    """(order id, cohort) wherever a rollout is held."""
    wanted = (
        select(RolloutRow.order_id, PartRow.cohort)
        .join(PartRow, PartRow.rollout == RolloutRow.number)
        .where(PartRow.held.is_(True), RolloutRow.state.not_in(OVER))
    )
    return frozenset((order, cohort) for order, cohort in session.execute(wanted))


def running(session: Session) -> list[Running]:
    """The orders that were opened somewhere and are neither finished nor over there."""
    wanted = (
        select(RolloutRow.order_id, PartRow.cohort)
        .join(PartRow, PartRow.rollout == RolloutRow.number)
        .where(
            RolloutRow.state.in_(("running", "paused")),
            PartRow.opened > 0,
            PartRow.over.is_(None),
        )
    )
    cohorts: dict[str, set[str]] = {}
    for order_id, cohort in session.execute(wanted):
        cohorts.setdefault(order_id, set()).add(cohort)
    found = []
    for order_id, where in sorted(cohorts.items()):
        order = find(session, order_id)
        if order is not None:
            found.append(Running(order_id, order.said, frozenset(where)))
    return found
