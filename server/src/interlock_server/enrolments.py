"""Lets devices ask to be enrolled (I/O).

Rules:

1. A device shows the secret of a claim, and an enrolment that its own key signed. The claim is
   found by the secret's digest; the secret is neither kept nor logged.
2. A claim counts by the roster in force: its author must still be entitled. Of a claim that does
   not count a stranger learns no more than of one that there never was: ``bad_claim``.
3. A claim is spent by the enrolment that it let in, in one transaction, and by nothing that was
   refused. Of two that show it at once exactly one is let in. The same enrolment with the same
   claim again is success.
4. A key is of one device, and of no person: who signs for two is somebody in between. A key that
   was revoked or taken out of service is in no enrolment again (24).
5. An enrolment that was let in waits: nothing that the device says counts before somebody
   countersigns it.
6. A rotation asks without a claim (26): the key of the enrolment in force has signed it too. Of one
   enrolment at most 8 wait. A device whose key signs in two places, or whose key was revoked, has
   no key in force: it needs a claim.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from interlock_core import wire
from interlock_core.api import Enrolled, EnrolmentRequest, EnrolmentState
from interlock_core.clock import Clock
from interlock_core.ending import ENDED
from interlock_core.errors import ConflictError, NotFoundError, RefusedError
from interlock_core.fleet import (
    claim_counts,
    claim_refuses,
    rotates,
    signed,
    signed_by_device,
)
from interlock_core.keybytes import PublicKey, public_key_bytes
from interlock_core.log import statement_fact
from interlock_core.report import Enrolment
from interlock_core.roster import Judge, Roster
from interlock_core.statement import MAX_ENVELOPE, Envelope, Opened, open_as
from interlock_core.store import Store
from interlock_core.wire import sha256_hex
from interlock_server.acceptance import check_date
from interlock_server.db.fleet_tables import ClaimRow, EnrolmentRow
from interlock_server.db.session import Database
from interlock_server.db.tables import CohortRow
from interlock_server.holds import holds_at
from interlock_server.image import read_released
from interlock_server.logbook import record
from interlock_server.onfile import open_enrolment, open_kept, trimmed
from interlock_server.refusals import Refusals
from interlock_server.standing import check_counts, enrolment_row, restate, state_of

MAX_ROTATIONS: Final = 8
"""How many enrolments of one device may wait when another is added by a rotation."""
MAX_REQUEST: Final = MAX_ENVELOPE + 1024

_log = logging.getLogger(__name__)


class Enrolments:
    """Where devices ask to be enrolled.

    Args:
        database: where enrolments are kept.
        store: holds the roster.
        refusals: counts them.
        fleet: ours.
        clock: now.
    """

    def __init__(
        self, database: Database, store: Store, refusals: Refusals, fleet: str, clock: Clock
    ) -> None:
        self._database = database
        self._store = store
        self._refusals = refusals
        self._fleet = fleet
        self._clock = clock

    def post(self, data: bytes) -> tuple[Enrolled, bool]:
        """Take a device's request; returns where it stands, and whether it is new.

        Args:
            data: an ``EnrolmentRequest``.

        Raises:
            WireError: malformed.
            RefusedError, ConflictError: the reason names the rule.
            TransientError: the store or the database failed; the claim is not spent.
        """
        request = wire.decode(data, EnrolmentRequest, limit=MAX_REQUEST, what="enrolment request")
        opened = open_as(request.enrolment, Enrolment)
        if request.claim is None:
            return self._rotate(opened)
        if opened.said.replaces is not UNSET:
            raise RefusedError(
                "A rotation asks without a claim; whoever has a claim names no enrolment that is "
                "replaced.",
                reason="bad_rotation",
            )
        secret_sha256 = sha256_hex(request.claim.encode())
        with self._refusals.counted("enrolment"):
            judge = self._judge()
            # All that costs a signature is done before the turn is taken, and so is whatever a
            # stranger without a claim can bring about.
            with self._database.reading() as session:
                known = _judge_claim(session, judge, secret_sha256, opened)
            if known is None:
                self._check(opened, judge)
                known = self._keep(trimmed(opened, signed_by_device), secret_sha256)
                if known is None:
                    return Enrolled(id=opened.id, state="waiting"), True
        return Enrolled(id=opened.id, state=known), False

    def _rotate(self, opened: Opened[Enrolment]) -> tuple[Enrolled, bool]:
        """Take a rotation (rule 6)."""
        with self._refusals.counted("enrolment"):
            judge = self._judge()
            with self._database.reading() as session:
                known = _judge_rotation(session, opened)
                both = _both(session, opened)
            if known is None:
                self._check(opened, judge)
                known = self._keep(both, None)
                if known is None:
                    return Enrolled(id=opened.id, state="waiting"), True
        return Enrolled(id=opened.id, state=known), False

    def get(self, id_: str) -> Enrolled:
        """Where an enrolment stands.

        Raises:
            NotFoundError: ``unknown_enrolment``.
            TransientError: the database failed.
        """
        with self._database.reading() as session:
            row = enrolment_row(session, id_)
        if row is None:
            raise NotFoundError(
                f"There is no enrolment {id_[:12]} here: enrol with a claim.",
                reason="unknown_enrolment",
            )
        return Enrolled(id=id_, state=state_of(row))

    def _check(self, opened: Opened[Enrolment], judge: Judge) -> None:
        """What needs no look at the database (rules 3 and 4)."""
        said = opened.said
        if not signed_by_device(opened):
            raise RefusedError(
                "The key that the enrolment names did not sign it: make it anew on the device.",
                reason="bad_signature",
            )
        if said.fleet != self._fleet:
            raise RefusedError(
                f"The enrolment is for fleet {said.fleet} and this server serves {self._fleet}.",
                reason="wrong_fleet",
            )
        check_date(said, judge.now)
        if judge.rules_for(said.cohort) is None:
            raise RefusedError(
                f"No pattern of the roster covers cohort {said.cohort}.", reason="cohort_denied"
            )
        if _is_of_a_person(said.key, judge.roster):
            raise _key_taken()

    def _judge(self) -> Judge:
        roster = read_released(self._store).roster
        if roster is None:
            raise RefusedError(
                "No roster is published, so nobody can let a device in yet.", reason="no_roster"
            )
        return Judge(roster, self._clock())

    def _keep(self, opened: Opened[Enrolment], secret_sha256: str | None) -> EnrolmentState | None:
        """Put an enrolment on file and spend its claim; its state if it was known, else None.

        Without a claim it is a rotation, and keeps both signatures.
        """
        said = opened.said
        key = sha256_hex(public_key_bytes(said.key.sslib()))
        with self._database.writing() as session:
            # Again, under the turn: another device may have been quicker (rule 3), or a roster.
            judge = self._judge()
            if secret_sha256 is None:
                known = _judge_rotation(session, opened)
            else:
                known = _judge_claim(session, judge, secret_sha256, opened)
            if known is not None:
                return known
            _check_key(session, key)
            wanted = select(EnrolmentRow.id).where(
                EnrolmentRow.key_sha256 == key, EnrolmentRow.device != said.device
            )
            if session.scalar(wanted) is not None:
                raise _key_taken()
            row = enrolment_row(session, opened.id)
            if row is not None:
                # Let in by another claim: this one is not needed, and not spent.
                return state_of(row)
            envelope = wire.encode(opened.envelope)
            record(session, judge.now, statement_fact(said.PREDICATE, opened.id, envelope))
            session.add(
                EnrolmentRow(
                    id=opened.id,
                    device=said.device,
                    key_sha256=key,
                    product=said.product,
                    hardware=said.hardware,
                    site=said.site,
                    cohort=said.cohort,
                    state="waiting",
                    shown=False,
                    received_at=judge.now,
                    envelope=envelope,
                )
            )
            if secret_sha256 is not None:
                claim = _find_claim(session, secret_sha256)
                assert claim is not None
                claim.used_by = opened.id
            session.flush()
            if holds_at(session, said.site, judge.now):
                # The hold of its site must stand where it polls; the next publication shows it.
                due = update(CohortRow).where(CohortRow.name == said.cohort)
                session.execute(due.values(due=True))
            restate(session, judge.roster, judge.now, said.device)
        _log.info(
            "device %s asks to be enrolled at site %s, cohort %s (enrolment %s)",
            said.device,
            said.site,
            said.cohort,
            opened.id[:12],
        )
        return None


def _judge_claim(
    session: Session, judge: Judge, secret_sha256: str, opened: Opened[Enrolment]
) -> EnrolmentState | None:
    """See that a claim lets this enrolment in (rules 2 and 3); its state if it did before."""
    row = _find_claim(session, secret_sha256)
    if row is None:
        raise _bad_claim()
    if row.used_by == opened.id:
        enrolment = enrolment_row(session, opened.id)
        assert enrolment is not None
        return state_of(enrolment)
    claim: Opened[Any] = open_kept(row.envelope)
    if not claim_counts(judge, claim):
        raise _bad_claim()
    if row.used_by is not None:
        raise ConflictError(
            "Another device has used this claim: ask for a new one.", reason="claim_used"
        )
    why = claim_refuses(claim.said, opened.said)
    if why is not None:
        raise RefusedError(f"This claim does not fit: {why}.", reason="claim_mismatch")
    return None


def _judge_rotation(session: Session, opened: Opened[Enrolment]) -> EnrolmentState | None:
    """See that the key in force lets this enrolment in (rule 6); its state if it did before."""
    said = opened.said
    if said.replaces is UNSET:
        raise RefusedError(
            "Without a claim only a rotation may ask, signed by the key in force: ask for a claim.",
            reason="bad_claim",
        )
    before = enrolment_row(session, said.replaces)
    if before is None:
        raise RefusedError(
            f"No enrolment {said.replaces[:12]} is on file here: ask for a claim.",
            reason="unknown_enrolment",
        )
    why = rotates(opened, open_enrolment(before.envelope))
    if why is not None:
        raise RefusedError(f"This is no rotation: {why}.", reason="bad_rotation")
    # Who signed it is known from here on, so it may be told how it stands.
    known = enrolment_row(session, opened.id)
    if known is not None:
        return state_of(known)
    check_counts(before)
    waiting = select(func.count()).where(
        EnrolmentRow.device == said.device, EnrolmentRow.state == "waiting"
    )
    if (session.scalar(waiting) or 0) >= MAX_ROTATIONS:
        raise ConflictError(
            f"{MAX_ROTATIONS} enrolments of {said.device} wait already: have one countersigned.",
            reason="too_many_rotations",
        )
    return None


def _both(session: Session, opened: Opened[Enrolment]) -> Opened[Enrolment]:
    """A rotation with the signatures of both keys alone: whoever relays it could add others."""
    assert opened.said.replaces is not UNSET  # it was judged
    before = enrolment_row(session, opened.said.replaces)
    assert before is not None  # as above
    keys = (opened.said.key, open_enrolment(before.envelope).said.key)
    kept = [trimmed(opened, _signed_with(key)).envelope for key in keys]
    envelope = Envelope(
        payload=opened.envelope.payload,
        payload_type=opened.envelope.payload_type,
        signatures=tuple(one.signatures[0] for one in kept),
    )
    return Opened(opened.said, opened.id, opened.payload, envelope)


def _signed_with(key: PublicKey) -> Callable[[Opened[Enrolment]], bool]:
    return lambda one: signed(one, key)


def _check_key(session: Session, key: str) -> None:
    """See that a key was not ended for good (rule 4)."""
    ended = select(EnrolmentRow.state).where(
        EnrolmentRow.key_sha256 == key, EnrolmentRow.state.in_(ENDED)
    )
    state = session.scalar(ended.limit(1))
    if state is not None:
        raise RefusedError(
            f"This key was {state}: make a new one on the device.", reason=str(state)
        )


def _find_claim(session: Session, secret_sha256: str) -> ClaimRow | None:
    return session.scalar(select(ClaimRow).where(ClaimRow.secret_sha256 == secret_sha256))


def _is_of_a_person(key: PublicKey, roster: Roster) -> bool:
    mine = public_key_bytes(key.sslib())
    return any(
        public_key_bytes(theirs.sslib()) == mine
        for person in roster.persons
        for theirs in person.keys
    )


def _bad_claim() -> RefusedError:
    return RefusedError(
        "This claim lets no device in (it is unknown, or it has expired, or whoever made it may "
        "not any more): ask for a new one.",
        reason="bad_claim",
    )


def _key_taken() -> ConflictError:
    return ConflictError(
        "This key signs for somebody else already: make a new one on the device.",
        reason="key_taken",
    )
