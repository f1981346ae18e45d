"""Where rollouts are held, as the engine noted it (I/O, reading)."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from interlock_core.rollout import OVER
from interlock_server.db.rollout_tables import PartRow, RolloutRow


def held(session: Session) -> frozenset[tuple[str, str]]:
    """(order id, cohort) wherever a rollout is held."""
    wanted = (
        select(RolloutRow.order_id, PartRow.cohort)
        .join(PartRow, PartRow.rollout == RolloutRow.number)
        .where(PartRow.held.is_(True), RolloutRow.state.not_in(OVER))
    )
    return frozenset((order, cohort) for order, cohort in session.execute(wanted))
