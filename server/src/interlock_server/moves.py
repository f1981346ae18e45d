"""The assignments that a directive may hold, as the database keeps them (I/O).

Rules:

1. An assignment is over once a report that its device made after it names the cohort that it moves
   to, or once one with a higher ``seq`` of the same enrolment is over, or when it expires.
2. That is noted for a cohort when its directive is made, under the turn: between two publications
   nothing changes what a directive should hold.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from sqlalchemy import exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from interlock_server.db.fleet_tables import AssignmentRow, EnrolmentRow, WordRow
from interlock_server.holds import OVER
from interlock_server.onfile import OnFile, open_enrolment, open_kept


def settle(session: Session, cohorts: Collection[str], now: datetime) -> None:
    """Note which assignments out of these cohorts are over (rules 1 and 2)."""
    open_ones = (
        update(AssignmentRow)
        .where(AssignmentRow.over.is_(False), AssignmentRow.from_cohort.in_(cohorts))
        .execution_options(synchronize_session=False)
        .values(over=True)
    )
    obeyed = exists().where(
        EnrolmentRow.number == AssignmentRow.enrolment,
        EnrolmentRow.cohort == AssignmentRow.to_cohort,
        EnrolmentRow.tip_said_at >= AssignmentRow.at,
    )
    session.execute(open_ones.where(or_(obeyed, AssignmentRow.expires <= now)))
    later = aliased(AssignmentRow)
    passed = exists().where(
        later.enrolment == AssignmentRow.enrolment,
        later.seq > AssignmentRow.seq,
        later.over.is_(True),
        later.expires > now,
    )
    session.execute(open_ones.where(passed))


def with_moves(session: Session, on_file: OnFile) -> OnFile:
    """What is on file, with every assignment that is not over."""
    wanted = (
        select(AssignmentRow.envelope, AssignmentRow.id, EnrolmentRow.envelope, EnrolmentRow.id)
        .join(EnrolmentRow, EnrolmentRow.number == AssignmentRow.enrolment)
        .where(AssignmentRow.over.is_(False), EnrolmentRow.state.not_in(OVER))
        .order_by(AssignmentRow.number)
    )
    found = session.execute(wanted).all()
    if not found:
        return on_file
    words = (
        select(WordRow.envelope)
        .join(AssignmentRow, AssignmentRow.id == WordRow.subject)
        .where(AssignmentRow.over.is_(False))
        .order_by(WordRow.number)
    )
    return replace(
        on_file,
        authorisations=(
            *on_file.authorisations,
            *(open_kept(envelope) for envelope in session.scalars(words)),
        ),
        assignments=tuple(open_kept(assignment) for assignment, _, _, _ in found),
        enrolments=tuple({id_: open_enrolment(e) for _, _, e, id_ in found}.values()),
    )
