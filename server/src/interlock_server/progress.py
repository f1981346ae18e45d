"""How rollouts go on, from the engine's counters (I/O, reading).

Rules:

1. A look at a rollout costs as many rows as it has stages and cohorts, whatever the number of its
   devices is. Devices are read a page at a time.
2. A rollout that the engine has not seen yet is a draft. It has one state wherever it is
   shown.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final, get_args

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from interlock_core.abort import Vote
from interlock_core.api import (
    PAGE,
    ActionPage,
    CohortStanding,
    DeviceAction,
    RolloutStages,
    StageCounts,
)
from interlock_core.errors import NotFoundError, WireError
from interlock_core.order import Order
from interlock_core.report import Outcome
from interlock_core.rollout import State
from interlock_server.counting import counts_in
from interlock_server.db.fleet_tables import EnrolmentRow
from interlock_server.db.rollout_tables import ActionRow, RolloutRow
from interlock_server.db.session import Database
from interlock_server.db.tables import StatementRow
from interlock_server.running import forgiven_in, load, stages_of, transitions_of

STATES: Final = get_args(Outcome)
VOTES: Final = get_args(Vote)


class Progress:
    """What operators read about how rollouts go on.

    Args:
        database: where it is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def stages(self, order_id: str) -> RolloutStages:
        """How far a rollout is (rule 1).

        Raises:
            NotFoundError: ``unknown_order``.
            TransientError: the database failed.
        """
        with self._database.reading() as session:
            filed = _filed_at(session, order_id)
            row = _rollout(session, order_id)
            if row is None:
                return RolloutStages(
                    order=order_id,
                    state="draft",
                    changed_at=filed,
                    held_since=None,
                    held_why=None,
                    cohorts=(),
                    stages=(),
                    transitions=(),
                )
            rollout = load(session, row)
            stages = stages_of(session, row.number)
            transitions = transitions_of(session, row.number, PAGE)
        return RolloutStages(
            order=order_id,
            state=rollout.state,
            changed_at=row.changed_at,
            held_since=rollout.held_since,
            held_why=rollout.held_why,
            cohorts=tuple(
                CohortStanding(
                    cohort=part.cohort,
                    opened=part.opened,
                    held=part.held,
                    still=part.still,
                    still_since=part.still_since,
                    over=part.over,
                )
                for _, part in sorted(rollout.parts.items())
            ),
            stages=tuple(
                StageCounts(
                    stage=stage.stage,
                    cohort=stage.cohort,
                    opened_at=stage.opened_at,
                    counts=counts_in(stage),
                    forgiven=forgiven_in(stage.forgiven) if stage.forgiven is not None else None,
                )
                for stage in stages
            ),
            transitions=tuple(transitions),
        )

    def actions(
        self,
        order_id: str,
        page: int,
        *,
        state: str | None,
        vote: str | None = None,
        within: frozenset[str] | None = None,
    ) -> ActionPage:
        """A page of the devices of a rollout, in the order in which they were opened.

        Args:
            order_id: whose.
            page: from 1 on.
            state: of the actions; None for any.
            vote: how they ended; None for any, and those that have not.
            within: the sites that are shown; None for all.

        Raises:
            NotFoundError: ``unknown_order``.
            WireError: ``bad_state`` or ``bad_vote``.
            TransientError: the database failed.
        """
        if state is not None and state not in STATES:
            raise WireError(f"The state must be one of {', '.join(STATES)}.", reason="bad_state")
        if vote is not None and vote not in VOTES:
            raise WireError(f"The vote must be one of {', '.join(VOTES)}.", reason="bad_vote")
        with self._database.reading() as session:
            _filed_at(session, order_id)
            row = _rollout(session, order_id)
            wanted = (
                select(ActionRow, EnrolmentRow.id)
                .join(EnrolmentRow, EnrolmentRow.number == ActionRow.enrolment)
                .where(ActionRow.rollout == (row.number if row is not None else 0))
            )
            if state is not None:
                wanted = wanted.where(ActionRow.state == state)
            if vote is not None:
                wanted = wanted.where(ActionRow.vote == vote)
            if within is not None:
                wanted = wanted.where(ActionRow.site.in_(within))
            wanted = wanted.order_by(ActionRow.number).offset((page - 1) * PAGE).limit(PAGE + 1)
            found = session.execute(wanted).all()
        items = tuple(_action(action, enrolment) for action, enrolment in found[:PAGE])
        return ActionPage(items=items, next=page + 1 if len(found) > PAGE else None)


def states_of(session: Session, ids: Collection[str]) -> dict[str, State]:
    """Where the engine last saw rollouts, by the ids of their orders; none that it has not (2)."""
    wanted = select(RolloutRow.order_id, RolloutRow.state).where(RolloutRow.order_id.in_(ids))
    return {id_: msgspec.convert(state, State) for id_, state in session.execute(wanted)}


def _rollout(session: Session, order_id: str) -> RolloutRow | None:
    return session.scalar(select(RolloutRow).where(RolloutRow.order_id == order_id))


def _filed_at(session: Session, order_id: str) -> datetime:
    wanted = select(StatementRow.received_at).where(
        StatementRow.id == order_id, StatementRow.type == Order.PREDICATE
    )
    at = session.scalar(wanted)
    if at is None:
        raise NotFoundError(f"There is no order {order_id[:12]} here.", reason="unknown_order")
    return at


def _action(row: ActionRow, enrolment: str) -> DeviceAction:
    return DeviceAction(
        device=row.device,
        enrolment=enrolment,
        site=row.site,
        cohort=row.cohort,
        stage=row.stage,
        state=msgspec.convert(row.state, Outcome),
        reason=row.reason,
        since=row.since,
        deadline=datetime.fromtimestamp(row.deadline, UTC),
        vote=msgspec.convert(row.vote, Vote | None),
        vote_reason=row.vote_reason,
        excluded=row.excluded,
        counted=row.counted,
    )
