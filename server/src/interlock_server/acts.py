"""Whether one person's word about a site or an enrolment may be stored, and how it is kept (I/O).

The rules are those of ``admission``. Further:

7. A hold is taken for a site that has devices, from an engineer of it or an operator, over a cohort
   that its devices are in; a release, from whoever holds the role in which the hold counts. A
   person has at most 64 holds of a site on file that have not expired.
8. A description of a site is taken from an operator or an engineer whose grant counts there; its
   ``seq`` is above the last, by a step that leaves room.
9. A revocation or a decommissioning is taken from whoever could countersign the enrolment. It ends
   it in the same transaction, for good. A decommissioning names the report that was taken last: if
   another came meanwhile it is refused, so that what it certifies is true.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from interlock_core import wire
from interlock_core.ending import (
    DECOMMISSIONED,
    ENDED,
    Decommission,
    Ending,
    Revocation,
    ending_counts,
    ends_as,
)
from interlock_core.errors import ConflictError, RefusedError
from interlock_core.hold import HOLDERS, Hold, hold_role, releases
from interlock_core.log import state_fact
from interlock_core.report import Report
from interlock_core.roster import Judge
from interlock_core.site import Site, describes
from interlock_core.statement import Opened, open_as, read_envelope
from interlock_core.wire import format_time
from interlock_server.acceptance import Ground, enrolment_of, not_held
from interlock_server.counting import leave_out
from interlock_server.db.fleet_tables import ActRow, EnrolmentRow, ReportRow
from interlock_server.holds import acts_about, cohorts_of_site
from interlock_server.logbook import record
from interlock_server.onfile import open_enrolment, open_kept
from interlock_server.standing import enrolment_row, state_of

MAX_HOLDS_OF_ONE: Final = 64
"""How many unexpired holds of one site one person has on file."""
MAX_STEP: Final = 1000
"""How far above the one before it the number of a description may be."""


def find_act(session: Session, id_: str) -> Opened[Any] | None:
    """The same statement as it was kept, or None."""
    envelope = session.scalar(select(ActRow.envelope).where(ActRow.id == id_))
    return None if envelope is None else open_kept(envelope)


def check_act(opened: Opened[Any], ground: Ground) -> None:
    """Judge one person's word, whose signature was verified (rules 7 to 9).

    Raises:
        RefusedError, ConflictError: the reason says which rule.
    """
    session, judge = ground.session, ground.judge
    match opened.said:
        case Hold():
            _check_hold(session, judge, opened)
        case Site():
            _check_site(session, judge, opened)
        case Revocation() | Decommission():
            _check_ending(session, judge, opened)


def _check_hold(session: Session, judge: Judge, opened: Opened[Hold]) -> None:
    said = opened.said
    cohorts = cohorts_of_site(session, said.site)
    if not cohorts:
        raise RefusedError(
            f"No device of a site {said.site} is enrolled here: check the name.",
            reason="unknown_site",
        )
    if said.ends is not None:
        hold = _held(session, said.ends)
        if hold is None or hold.said.site != said.site:
            raise RefusedError(
                f"No hold {said.ends[:12]} of the site {said.site} is on file here.",
                reason="unknown_hold",
            )
        if not any(releases(_later(judge, opened), opened, hold, one) for one in cohorts):
            raise RefusedError(
                f"{said.author} does not hold the role in which {hold.said.author} holds "
                f"{said.site}: what a hospital's engineer holds, an engineer of that hospital "
                "releases.",
                reason="role_not_held",
            )
        return
    if not any(hold_role(_later(judge, opened), opened, one) for one in cohorts):
        raise RefusedError(
            f"{said.author} is no {' and no '.join(HOLDERS)} over a cohort that devices of "
            f"{said.site} are in.",
            reason="role_not_held",
        )
    if find_act(session, opened.id) is not None:
        return
    assert said.until is not None  # it is no release
    if said.until <= judge.now:
        raise RefusedError(
            f"The hold was over at {format_time(said.until)}: sign one that is not.",
            reason="expired",
        )
    _check_room(session, judge, said)


def _later(judge: Judge, opened: Opened[Any]) -> Judge:
    """The roster at the time that a statement bears, if that is a little ahead of ours."""
    return judge if opened.said.at <= judge.now else Judge(judge.roster, opened.said.at)


def _held(session: Session, id_: str) -> Opened[Hold] | None:
    found = find_act(session, id_)
    return found if found is not None and isinstance(found.said, Hold) else None


def _check_room(session: Session, judge: Judge, said: Hold) -> None:
    wanted = select(func.count()).where(
        ActRow.type == Hold.PREDICATE,
        ActRow.about == said.site,
        ActRow.author == said.author,
        ActRow.until > judge.now,
    )
    if (session.scalar(wanted) or 0) >= MAX_HOLDS_OF_ONE:
        raise ConflictError(
            f"{said.author} has {MAX_HOLDS_OF_ONE} holds of {said.site} on file that have not "
            "expired: one is enough; wait until some are over.",
            reason="too_many_holds",
        )


def _check_site(session: Session, judge: Judge, opened: Opened[Site]) -> None:
    said = opened.said
    if not describes(_later(judge, opened), opened):
        raise RefusedError(
            f"{said.author} is no operator and no engineer whose grant counts at {said.site}.",
            reason="role_not_held",
        )
    if find_act(session, opened.id) is None:
        _check_site_seq(session, said)


def _check_site_seq(session: Session, said: Site) -> None:
    wanted = select(func.max(ActRow.seq))
    same = (ActRow.type == Site.PREDICATE, ActRow.about == said.site)
    highest = session.scalar(wanted.where(*same)) or 0
    if said.seq <= highest:
        raise ConflictError(
            f"A description {highest} of {said.site} is on file: read it, and sign one with a "
            "higher seq.",
            reason="seq_taken",
        )
    if said.seq > highest + MAX_STEP:
        raise ConflictError(
            f"The newest description of {said.site} on file is {highest}: the next seq is at most "
            f"{highest + MAX_STEP}.",
            reason="seq_too_high",
        )


def _check_ending(session: Session, judge: Judge, opened: Opened[Ending]) -> None:
    said = opened.said
    row = enrolment_of(session, said.enrolment, said.device)
    enrolment = open_enrolment(row.envelope)
    if not ending_counts(_later(judge, opened), opened, enrolment):
        raise not_held(said.author, enrolment.said.cohort, enrolment.said.site)
    if find_act(session, opened.id) is None:
        _check_not_over(session, row, said)


def _check_not_over(session: Session, row: EnrolmentRow, said: Ending) -> None:
    if row.state in {ends_as(said), DECOMMISSIONED}:
        raise ConflictError(
            f"{row.device} (enrolment {row.id[:12]}) is {row.state} already.", reason=row.state
        )
    if isinstance(said, Decommission):
        _check_last(session, row, said)


def _check_last(session: Session, row: EnrolmentRow, said: Decommission) -> None:
    wanted = select(ReportRow.envelope).where(
        ReportRow.enrolment == row.number, ReportRow.number == row.tip_number
    )
    envelope = session.scalar(wanted)
    last = open_as(read_envelope(envelope), Report) if envelope is not None else None
    runs = last.said.running if last is not None else None
    expected = (
        (last.said.number, last.id) if last is not None else None,
        runs.sha256 if runs is not None else None,
    )
    named = (
        (said.report.number, said.report.id) if said.report is not None else None,
        said.running,
    )
    if named != expected:
        raise ConflictError(
            f"The last report of {row.device} that was taken is another than the certificate "
            "names: look at the device again, and sign a new one.",
            reason="other_report",
        )


def act_row(session: Session, opened: Opened[Any], judge: Judge) -> ActRow:
    """How a person's word is kept; what must hold of the file is looked at again, under the turn.

    Raises:
        ConflictError: as ``check_act``.
    """
    said = opened.said
    until = seq = None
    match said:
        case Hold(ends=None):
            _check_room(session, judge, said)
            about, until = said.site, said.until
        case Hold(ends=str(ended)):
            hold = _held(session, ended)
            assert hold is not None  # it was found a moment ago, and nothing removes one
            about, until = said.site, hold.said.until
        case Site():
            _check_site_seq(session, said)
            about, seq = said.site, said.seq
        case _:
            about = said.enrolment
            _end(session, said, judge)
    return ActRow(
        id=opened.id,
        type=said.PREDICATE,
        author=said.author,
        about=about,
        seq=seq,
        until=until,
        received_at=judge.now,
        envelope=wire.encode(opened.envelope),
    )


def _end(session: Session, said: Ending, judge: Judge) -> None:
    row = enrolment_row(session, said.enrolment, to_change=True)
    assert row is not None
    _check_not_over(session, row, said)
    was_in_force = row.state in {"countersigned", "quarantined"}
    row.state = ends_as(said)
    record(session, judge.now, state_fact(row.state, row.id))
    if was_in_force:
        # What it does or does not from now on is no failure of any rollout.
        leave_out(session, row, row.state)


def ending_of(session: Session, enrolment: str) -> Opened[Any] | None:
    """The newest statement that ended an enrolment, or None."""
    for predicate in (Decommission.PREDICATE, Revocation.PREDICATE):
        found = acts_about(session, predicate, enrolment)
        if found:
            return found[-1]
    return None


def check_not_ended(row: EnrolmentRow) -> None:
    """See that an enrolment is not over for good.

    Raises:
        RefusedError: ``revoked`` or ``decommissioned``.
    """
    if row.state in ENDED:
        raise RefusedError(
            f"{row.device} (enrolment {row.id[:12]}) was {state_of(row)}: enrol it anew, with "
            "another key.",
            reason=row.state,
        )
