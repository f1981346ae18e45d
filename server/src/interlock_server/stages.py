"""Opens the actions of a stage: who is inside is counted, once (I/O).

Rules:

1. Inside is every device of the cohort that counts now (``standing``: countersigned, and not
   quarantined), is of the order's product, and stands in this stage by ``interlock_core.placed``.
2. Actions and counts appear in one transaction, so ``started`` is frozen with them. A device that
   has an action already keeps it; if it is inside it is counted from here on, with all that it
   said since (``counting``, rule 3).
3. A device's barrier is judged by what it said that it runs. Nothing that the server holds says
   what it ran before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from interlock_core.abort import Counts
from interlock_core.action import counts_of, opened
from interlock_core.catalogue import Catalogue
from interlock_core.listing import catalogue_of
from interlock_core.order import Order
from interlock_core.placed import Placing
from interlock_core.rollout import OpenActions
from interlock_core.statement import Opened
from interlock_server.counting import action_in, columns, insert_new, row_of
from interlock_server.db.fleet_tables import EnrolmentRow
from interlock_server.db.rollout_tables import ActionRow, StageRow
from interlock_server.image import Released

_AT_ONCE: Final = 1000
"""How many rows are read, or added, at once."""


def placing(order: Order, released: Released) -> Placing:
    """Where an order's gateways stand, by what the image repository says.

    Raises:
        TransientError: the store cannot be read.
        WireError, RefusedError: what is stored is damaged.
    """
    product = order.product
    metadata = released.metadata.get(product)
    known = Catalogue(product, ()) if metadata is None else catalogue_of(product, metadata)
    return Placing(order, known)


def open_stage(
    session: Session,
    rollout: int,
    order: Opened[Order],
    placed: Placing,
    effect: OpenActions,
    now: datetime,
) -> int:
    """Open the actions of one stage at one cohort; the session must hold the turn (rules 1 and 2).

    Args:
        session: the transaction that notes that the stage is open.
        rollout: its number.
        order: what was ordered.
        placed: where its gateways stand.
        effect: the stage and the cohort.
        now: from when the deadlines run.

    Returns:
        How many were inside.
    """
    cohort, stage = effect.cohort, effect.stage
    session.add(StageRow(rollout=rollout, stage=stage, cohort=cohort, opened_at=effect.since))
    session.flush()
    action = opened(stage, now, order.said.deadline_seconds)
    mine = (ActionRow.rollout == rollout, ActionRow.cohort == cohort, ActionRow.stage == stage)
    inside: set[str] = set()
    rows: list[dict[str, Any]] = []
    for device in _inside(session, placed, cohort, stage):
        inside.add(device.device)
        rows.append(row_of(rollout, cohort, device, action))
        if len(rows) == _AT_ONCE:
            insert_new(session, rows)
            rows = []
    insert_new(session, rows)
    # Of those that were there already, which are inside after all.
    early = _adopt(session, order, mine, inside)
    started = select(func.count()).where(*mine, ActionRow.counted.is_(True))
    others = select(func.count()).where(*mine, ActionRow.counted.is_(False))
    fresh = (session.scalar(started) or 0) - early.started
    scheduled = Counts(started=fresh, states={action.state: fresh})
    total = early + scheduled + Counts(joined=session.scalar(others) or 0)
    here = (StageRow.rollout == rollout, StageRow.stage == stage, StageRow.cohort == cohort)
    # A cohort may have nobody in it.
    if changed := columns(total):
        session.execute(update(StageRow).where(*here).values(changed))
    return total.started


def _adopt(
    session: Session, order: Opened[Order], mine: Collection[Any], inside: Collection[str]
) -> Counts:
    """Count the actions that were there before their stage opened, and are inside it."""
    early = Counts()
    wanted = select(ActionRow).where(*mine, ActionRow.counted.is_(False))
    for row in session.scalars(wanted.order_by(ActionRow.number).with_for_update()):
        if row.device in inside:
            row.counted = True
            early += counts_of(action_in(row, order.said))
    session.flush()
    return early


def _inside(session: Session, placed: Placing, cohort: str, stage: int) -> Iterator[Any]:
    """The devices that are inside a stage and in none before it (rule 1)."""
    wanted = (
        select(
            EnrolmentRow.number,
            EnrolmentRow.device,
            EnrolmentRow.site,
            EnrolmentRow.hardware,
            EnrolmentRow.running,
        )
        .where(
            EnrolmentRow.cohort == cohort,
            EnrolmentRow.state == "countersigned",
            EnrolmentRow.product == placed.order.product,
        )
        .order_by(EnrolmentRow.device)
        .limit(_AT_ONCE)
    )
    page = session.execute(wanted).all()
    while page:
        for device in page:
            if placed.stage(cohort, device.device, device.hardware, device.running) == stage:
                yield device
        page = session.execute(wanted.where(EnrolmentRow.device > page[-1].device)).all()
