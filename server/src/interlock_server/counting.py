"""Moves actions and counts them (I/O).

Rules:

1. An action is read under its row's lock, moved by ``interlock_core.action``, and written with what
   that changes in the counts of its stage, in one transaction. Counts are added to where they lie.
2. A report moves the open actions of its device, and those of the orders that it names, in the
   transaction that takes it. So one that is refused, or that was taken before, counts nothing.
3. A device that says something about an order before its stage was opened here, or that was not
   inside then, gets an action that is not counted. The opening of the stage (``stages``) counts it
   if it is inside after all.
4. Nothing that a quarantined device says is counted: all its actions are excluded. So are those of
   a device whose key was revoked, or that was taken out of service.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, get_args

import msgspec
from sqlalchemy import insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from interlock_core.abort import Counts, Vote
from interlock_core.action import (
    KNOWN_ISSUE,
    Action,
    Event,
    Excluded,
    counts_of,
    opened,
    reported,
    step,
)
from interlock_core.chain import stage_of
from interlock_core.order import Order
from interlock_core.report import Attempt, Outcome, Report
from interlock_core.rollout import OVER
from interlock_core.statement import Opened
from interlock_server.db.fleet_tables import EnrolmentRow
from interlock_server.db.rollout_tables import ActionRow, RolloutRow, StageRow
from interlock_server.onfile import find

QUARANTINED: Final = "quarantined"

_PLAIN: Final = ("started", "joined", "excluded", "recovered", "reverted")
_STATES: Final = {f"is_{state}": state for state in get_args(Outcome)}
_VOTES: Final = {f"voted_{vote}": vote for vote in get_args(Vote)}


def counts_in(row: StageRow) -> Counts:
    """The counts of a row."""
    states = {state: number for name, state in _STATES.items() if (number := getattr(row, name))}
    votes = {vote: number for name, vote in _VOTES.items() if (number := getattr(row, name))}
    plain = {name: getattr(row, name) for name in _PLAIN}
    return msgspec.convert({**plain, "states": states, "votes": votes}, Counts)


def columns(counts: Counts) -> dict[str, int]:
    """Counts as the columns of a row, without those that are zero."""
    found = {name: getattr(counts, name) for name in _PLAIN}
    found |= {f"is_{state}": number for state, number in counts.states.items()}
    found |= {f"voted_{vote}": number for vote, number in counts.votes.items()}
    return {name: number for name, number in found.items() if number}


class Tally:
    """What a transaction changes in the counts, written in one order at its end (rule 1)."""

    def __init__(self) -> None:
        self._changes: dict[tuple[int, int, str], dict[str, int]] = {}

    def change(self, row: ActionRow, before: Counts | None, after: Counts) -> None:
        """Note that an action, which counted as ``before``, counts as ``after``."""
        place = self._changes.setdefault((row.rollout, row.stage, row.cohort), {})
        for name, number in columns(after).items():
            place[name] = place.get(name, 0) + number
        for name, number in columns(before).items() if before is not None else ():
            place[name] = place.get(name, 0) - number

    def write(self, session: Session) -> None:
        """Add it to the counts; a stage that was not opened yet has none."""
        for (rollout, stage, cohort), change in sorted(self._changes.items()):
            values = {
                name: getattr(StageRow, name) + number
                for name, number in sorted(change.items())
                if number
            }
            if values:
                here = (
                    StageRow.rollout == rollout,
                    StageRow.stage == stage,
                    StageRow.cohort == cohort,
                )
                counted = update(StageRow).where(*here).values(values)
                session.execute(counted.execution_options(synchronize_session=False))
        self._changes.clear()


def action_in(row: ActionRow, order: Order) -> Action:
    """The action of a row."""
    return Action(
        stage=row.stage,
        since=row.since,
        deadline=datetime.fromtimestamp(row.deadline, UTC),
        patience=timedelta(seconds=order.deadline_seconds),
        state=msgspec.convert(row.state, Outcome),
        reason=row.reason,
        vote=msgspec.convert(row.vote, Vote | None),
        vote_reason=row.vote_reason,
        excluded=row.excluded,
        counted=row.counted,
    )


def fields(action: Action) -> dict[str, Any]:
    """An action as the columns of a row."""
    return {
        "stage": action.stage,
        "since": action.since,
        "deadline": int(action.deadline.timestamp()),
        "state": action.state,
        "reason": action.reason,
        "vote": action.vote,
        "vote_reason": action.vote_reason,
        "excluded": action.excluded,
        "counted": action.counted,
        "over": action.over,
    }


def move(row: ActionRow, order: Order, event: Event, tally: Tally) -> Action:
    """Move an action whose row is locked (rule 1)."""
    before = action_in(row, order)
    after = step(before, event)
    if after != before:
        for name, value in fields(after).items():
            setattr(row, name, value)
        tally.change(row, counts_of(before), counts_of(after))
    return after


def take(session: Session, enrolment: EnrolmentRow, report: Opened[Report], at: datetime) -> None:
    """Count a report that is being taken (rules 2 and 3).

    Args:
        session: the transaction that takes it; it holds the enrolment's row.
        enrolment: whose report it is.
        report: verified, and the next of its chain.
        at: when it is taken.
    """
    said = report.said
    named = {one.order for one in (said.attempt, said.decided) if one is not None and one.order}
    tally = Tally()
    if said.attempt is not None:
        _meet(session, enrolment, said.attempt, at)
    for row, order_id in _concerned(session, enrolment.device, named):
        order = _order(session, order_id)
        word = reported(order, said, at)
        row.enrolment = enrolment.number
        if word is not None:
            move(row, order.said, word, tally)
    tally.write(session)


def leave_out(session: Session, enrolment: EnrolmentRow, why: str) -> None:
    """Leave a device out of all counts (rule 4).

    Args:
        session: one that writes.
        enrolment: in force until now.
        why: ``quarantined``, ``revoked`` or ``decommissioned``.
    """
    tally = Tally()
    wanted = (
        select(ActionRow, RolloutRow.order_id)
        .join(RolloutRow, RolloutRow.number == ActionRow.rollout)
        .where(
            ActionRow.device == enrolment.device,
            # Whoever is left out as a known issue might come back.
            or_(ActionRow.excluded.is_(None), ActionRow.excluded == KNOWN_ISSUE),
        )
        .order_by(ActionRow.number)
        .with_for_update(of=ActionRow)
    )
    for row, order_id in session.execute(wanted).all():
        move(row, _order(session, order_id).said, Excluded(why), tally)
    tally.write(session)


def _concerned(session: Session, device: str, named: Iterable[str]) -> list[tuple[ActionRow, str]]:
    """The actions that a report may move: open ones, and those of the orders that it names."""
    wanted = (
        select(ActionRow, RolloutRow.order_id)
        .join(RolloutRow, RolloutRow.number == ActionRow.rollout)
        .where(
            ActionRow.device == device,
            or_(ActionRow.over.is_(False), RolloutRow.order_id.in_(named)),
        )
        .order_by(ActionRow.number)
        .with_for_update(of=ActionRow)
    )
    return [(row, order_id) for row, order_id in session.execute(wanted).all()]


def _order(session: Session, order_id: str) -> Opened[Order]:
    order = find(session, order_id)
    assert order is not None, "a rollout has its order on file"
    return order


def _meet(session: Session, enrolment: EnrolmentRow, attempt: Attempt, at: datetime) -> None:
    """Make an action that is not counted, of an order that runs and that the device has none of."""
    rollout = session.scalar(select(RolloutRow).where(RolloutRow.order_id == attempt.order))
    if rollout is None or rollout.state in OVER or rollout.product != enrolment.product:
        return
    same = (ActionRow.rollout == rollout.number, ActionRow.device == enrolment.device)
    if session.scalar(select(ActionRow.number).where(*same)) is not None:
        return
    order = _order(session, attempt.order).said
    stage = stage_of(order, enrolment.cohort, attempt.target, enrolment.device)
    if stage is None or attempt.target not in {target.sha256 for target in order.targets}:
        return
    action = opened(stage, at, order.deadline_seconds, counted=False)
    insert_new(session, [row_of(rollout.number, enrolment.cohort, enrolment, action)])
    here = (
        StageRow.rollout == rollout.number,
        StageRow.stage == stage,
        StageRow.cohort == enrolment.cohort,
    )
    session.execute(update(StageRow).where(*here).values(joined=StageRow.joined + 1))


def row_of(rollout: int, cohort: str, device: Any, action: Action) -> dict[str, Any]:
    """A new row.

    Args:
        rollout: its number.
        cohort: where the device is.
        device: an enrolment, or what was read of one: number, device, site.
        action: where it begins.
    """
    return fields(action) | {
        "rollout": rollout,
        "enrolment": device.number,
        "device": device.device,
        "site": device.site,
        "cohort": cohort,
    }


def insert_new(session: Session, rows: list[dict[str, Any]]) -> None:
    """Add actions; those that are there already stay as they are."""
    if rows:
        session.execute(_insert(session.get_bind().dialect.name), rows)


@cache
def _insert(dialect: str) -> Any:
    makers: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    if dialect not in makers:
        return insert(ActionRow)
    return makers[dialect](ActionRow).on_conflict_do_nothing()
