"""Puts what was accepted on file (I/O).

Rules:

1. A statement stands in one table, by what it is about: rollouts in ``statement``, the fleet in
   tables of its own. Its envelope is kept as it was signed.
2. The same words under a key that the roster has since taken away give way to the same words under
   a key that counts: the new signature lives.
3. What is put on file, or signed anew, is recorded in the log with it.
4. What must hold of the file as a whole (one number, one order; one secret, one claim) is looked at
   again here, under the turn.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from interlock_core import wire
from interlock_core.errors import ConflictError
from interlock_core.exclusion import Exclusion
from interlock_core.hold import Hold
from interlock_core.log import statement_fact
from interlock_core.order import Assignment, Authorisation, Order
from interlock_core.recall_papers import RECALL_STATEMENTS
from interlock_core.report import Claim
from interlock_core.roster import Judge
from interlock_core.statement import Opened
from interlock_server.acts import act_row
from interlock_server.admission import (
    check_assignment_seq,
    check_secret_is_new,
    find_of_the_fleet,
    find_subject,
    is_of_the_fleet,
    table_of,
)
from interlock_server.db.fleet_tables import ActRow, AssignmentRow, ClaimRow, WordRow
from interlock_server.db.tables import StatementRow
from interlock_server.holds import cohorts_of_site, holds_at
from interlock_server.logbook import record
from interlock_server.onfile import find
from interlock_server.standing import enrolment_row, restate


def known(session: Session, opened: Opened[Any]) -> Opened[Any] | None:
    """The same statement as it is on file, or None."""
    if is_of_the_fleet(opened):
        return find_of_the_fleet(session, opened)
    return find(session, opened.id)


def concerned(
    session: Session, opened: Opened[Any], order_id: str | None, now: datetime
) -> set[str]:
    """The cohorts whose directives may change with a statement."""
    if _stands_beside(opened):
        return set()
    if order_id is not None:
        order = opened if isinstance(opened.said, Order) else find(session, order_id)
        assert order is not None
        return set(order.said.cohorts())
    said = opened.said
    if isinstance(said, Authorisation) and said.authorises == "assignment":
        subject = find_subject(session, said)
        assert subject is not None
        said = subject.said
    match said:
        case Assignment():
            row = enrolment_row(session, said.enrolment)
            assert row is not None
            # Where it is on its way to, the hold of its site must stand before it comes.
            return {said.from_cohort, *_held(session, row.site, now, [said.to_cohort])}
        case Authorisation():
            row = enrolment_row(session, said.id)
            assert row is not None
            return set(_held(session, row.site, now, [row.cohort]))
        case Hold():
            return cohorts_of_site(session, said.site)
    return set()


def _held(session: Session, site: str, now: datetime, cohorts: Collection[str]) -> Collection[str]:
    """These cohorts, if something holds the site."""
    return cohorts if holds_at(session, site, now) else ()


def _stands_beside(opened: Opened[Any]) -> bool:
    """Whether a statement is about an order, and no directive shows it."""
    said = opened.said
    if isinstance(said, Authorisation):
        return said.authorises == "exclusion"
    return isinstance(said, (*RECALL_STATEMENTS, Exclusion))


def keep(session: Session, opened: Opened[Any], judge: Judge, order_id: str | None) -> bool:
    """Put a statement on file; returns whether it is new. The session must hold the turn.

    Args:
        opened: accepted, with its author's signature alone.
        order_id: the order that it concerns; None if it is about the fleet.

    Raises:
        ConflictError: ``seq_taken`` or ``secret_taken`` (rule 4).
    """
    kept = known(session, opened)
    if kept is None:
        session.add(_row(session, opened, judge, order_id))
    elif judge.signer_key(kept) is None:
        table = _table(opened, order_id)
        envelope = wire.encode(opened.envelope)
        session.execute(update(table).where(table.id == opened.id).values(envelope=envelope))
    else:
        return False
    session.flush()
    said = opened.said
    envelope = wire.encode(opened.envelope)
    record(session, judge.now, statement_fact(said.PREDICATE, opened.id, envelope))
    if isinstance(said, Authorisation) and said.authorises == "enrolment":
        row = enrolment_row(session, said.id)
        assert row is not None
        restate(session, judge.roster, judge.now, row.device)
    return kept is None


def _table(
    opened: Opened[Any], order_id: str | None
) -> type[StatementRow | ClaimRow | AssignmentRow | WordRow | ActRow]:
    if order_id is not None:
        return StatementRow
    return table_of(opened)


def _row(
    session: Session, opened: Opened[Any], judge: Judge, order_id: str | None
) -> StatementRow | ClaimRow | AssignmentRow | WordRow | ActRow:
    said, envelope = opened.said, wire.encode(opened.envelope)
    if order_id is not None:
        order = said if isinstance(said, Order) else None
        if order is not None:
            _check_order_seq(session, order)
        return StatementRow(
            id=opened.id,
            type=said.PREDICATE,
            author=said.author,
            order_id=order_id,
            product=order.product if order else None,
            seq=order.seq if order else None,
            received_at=judge.now,
            envelope=envelope,
        )
    if isinstance(said, Claim):
        check_secret_is_new(session, said)
        return ClaimRow(
            id=opened.id,
            secret_sha256=said.secret_sha256,
            author=said.author,
            received_at=judge.now,
            envelope=envelope,
        )
    if isinstance(said, Assignment):
        enrolment = enrolment_row(session, said.enrolment)
        assert enrolment is not None
        check_assignment_seq(session, enrolment, said)
        return AssignmentRow(
            id=opened.id,
            enrolment=enrolment.number,
            seq=said.seq,
            from_cohort=said.from_cohort,
            to_cohort=said.to_cohort,
            at=said.at,
            expires=said.expires,
            received_at=judge.now,
            envelope=envelope,
        )
    if not isinstance(said, Authorisation):
        return act_row(session, opened, judge)
    return WordRow(
        id=opened.id,
        authorises=said.authorises,
        subject=said.id,
        author=said.author,
        received_at=judge.now,
        envelope=envelope,
    )


def _check_order_seq(session: Session, order: Order) -> None:
    """One number, one order (rule 7 of the statements)."""
    same = (StatementRow.product == order.product, StatementRow.seq == order.seq)
    if session.scalar(select(StatementRow.id).where(*same)) is not None:
        raise ConflictError(
            f"Another order of {order.product} has seq {order.seq}: propose this one again with a "
            "higher one.",
            reason="seq_taken",
        )
