"""Whether enrolments count, as the database remembers it (I/O).

Rules:

1. What counts is decided by ``interlock_core.fleet``, from the enrolments of one device, what was
   signed about them, and the roster. It is decided anew when one of these changes: with an
   enrolment, with a word about it, and, for those with a word by somebody whose keys or grants
   changed or ran out, with each publication and each refresh (``rejudge``).
2. Of a device one enrolment is shown: the one in force, or else the newest.
3. ``superseded`` is what was countersigned and is not in force, and what was never countersigned
   and is older than that which is.
4. A device that signed in two places is quarantined as long as that enrolment is in force: what it
   says is not counted.
5. What was revoked or taken out of service stays so, whatever becomes of those who signed (24).
   Nothing older takes its place: it is the one in force, and nothing counts under it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec
from msgspec import UNSET
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from interlock_core import wire
from interlock_core.api import EnrolmentState
from interlock_core.ending import ENDED
from interlock_core.errors import RefusedError
from interlock_core.fleet import countersigned, in_force
from interlock_core.log import state_fact
from interlock_core.order import Authorisation
from interlock_core.roster import Judge, Person, Roster
from interlock_core.statement import Opened
from interlock_server.db.fleet_tables import EnrolmentRow, StandingRow, WordRow
from interlock_server.logbook import record
from interlock_server.onfile import latest, open_enrolment, open_kept

_log = logging.getLogger(__name__)


def words_about(session: Session, ids: Collection[str]) -> list[Opened[Authorisation]]:
    """What was signed about the enrolments and assignments of these ids."""
    wanted = select(WordRow.envelope).where(WordRow.subject.in_(ids)).order_by(WordRow.number)
    return [open_kept(envelope) for envelope in session.scalars(wanted)]


def enrolment_row(session: Session, id_: str, *, to_change: bool = False) -> EnrolmentRow | None:
    """An enrolment on file; with ``to_change`` no other writer changes it until the end."""
    wanted = select(EnrolmentRow).where(EnrolmentRow.id == id_)
    return session.scalar(wanted.with_for_update() if to_change else wanted)


def state_of(row: EnrolmentRow) -> EnrolmentState:
    """Where an enrolment stands, as it was noted last."""
    state: EnrolmentState = msgspec.convert(row.state, EnrolmentState)
    return state


def check_counts(row: EnrolmentRow) -> None:
    """See that what is said under an enrolment counts.

    Raises:
        RefusedError: ``not_countersigned``, ``superseded``, ``revoked``, ``decommissioned`` or
            ``quarantined``.
    """
    if row.state == "waiting":
        raise RefusedError(
            f"Nobody has countersigned {row.device} (enrolment {row.id[:12]}): try again when "
            "somebody has.",
            reason="not_countersigned",
        )
    if row.state == "superseded":
        raise RefusedError(
            f"Another enrolment of {row.device} is in force: nothing is taken under this one.",
            reason="superseded",
        )
    if row.state in ENDED:
        raise RefusedError(
            f"{row.device} (enrolment {row.id[:12]}) was {row.state}: nothing is taken under it "
            "any more.",
            reason=row.state,
        )
    if row.state == "quarantined":
        raise RefusedError(f"{row.device} is quarantined: enrol it anew.", reason="quarantined")


def restate(session: Session, roster: Roster, now: datetime, device: str) -> None:
    """Judge the enrolments of one device anew (rules 1 to 4); the session must write."""
    wanted = select(EnrolmentRow).where(EnrolmentRow.device == device)
    rows = list(session.scalars(wanted.order_by(EnrolmentRow.number).with_for_update()))
    enrolments = {row.id: open_enrolment(row.envelope) for row in rows}
    words = words_about(session, list(enrolments))
    judge = Judge(roster, latest(now, (word.said.at for word in words)))
    current = in_force(judge, enrolments.values(), words)
    in_force_row = next((row for row in rows if current is not None and row.id == current.id), None)
    for row in rows:
        counts = countersigned(judge, enrolments[row.id], words) is not None
        state = _state(row, in_force_row, counts=counts)
        if state != row.state:
            record(session, now, state_fact(state, row.id))
        _change(row, state)
        row.shown = row is (in_force_row or rows[-1])


def _state(row: EnrolmentRow, current: EnrolmentRow | None, *, counts: bool) -> EnrolmentState:
    if row.state in ENDED:
        return state_of(row)
    if row is current:
        return "countersigned" if row.quarantined_at is None else "quarantined"
    if counts or (current is not None and row.number < current.number):
        return "superseded"
    return "waiting"


def _change(row: EnrolmentRow, state: EnrolmentState) -> None:
    if row.state == state:
        return
    if state == "countersigned" and row.state == "superseded":
        # What took its place counts no more: whoever has the old key speaks for the device again.
        _log.warning("an older enrolment of device %s is in force again (%s)", row.device, row.id)
    elif state == "countersigned":
        _log.info("device %s is countersigned (enrolment %s)", row.device, row.id[:12])
    elif state == "waiting":
        _log.warning(
            "the countersignature of device %s counts no more (enrolment %s)",
            row.device,
            row.id[:12],
        )
    row.state = state


def rejudge(session: Session, roster: Roster, now: datetime) -> None:
    """Judge those enrolments anew whose countersigners can sign for more or less than before.

    The session must hold the turn. With nobody changed it reads two lists and writes nothing.
    """
    standing = {person.name: _standing(person, now) for person in roster.persons}
    known = {row.person: row.sha256 for row in session.scalars(select(StandingRow))}
    changed = sorted(
        name for name in standing.keys() | known.keys() if standing.get(name) != known.get(name)
    )
    if not changed:
        return
    for device in _countersigned_by(session, changed):
        restate(session, roster, now, device)
    session.execute(delete(StandingRow).where(StandingRow.person.in_(changed)))
    session.add_all(
        StandingRow(person=name, sha256=standing[name]) for name in changed if name in standing
    )


def _standing(person: Person, now: datetime) -> str:
    """A digest of what a person can sign for: a grant that is only prolonged changes nothing."""
    grants = [
        (grant.role, grant.cohorts, None if grant.sites is UNSET else grant.sites)
        for grant in person.grants
        if grant.expires > now
    ]
    return wire.sha256_hex(wire.encode([person.keys, grants]))


def _countersigned_by(session: Session, persons: Sequence[str]) -> Sequence[str]:
    wanted = (
        select(EnrolmentRow.device)
        .join(WordRow, WordRow.subject == EnrolmentRow.id)
        .where(WordRow.author.in_(persons))
        .distinct()
        .order_by(EnrolmentRow.device)
    )
    return list(session.scalars(wanted))
