"""Lets devices ask to be enrolled (I/O).

Rules:

1. A device shows the secret of a claim, and an enrolment that its own key signed. The claim is
   found by the secret's digest; the secret is neither kept nor logged.
2. A claim counts by the roster in force: its author must still be entitled. Of a claim that does
   not count a stranger learns no more than of one that there never was: ``bad_claim``.
3. A claim is spent by the enrolment that it let in, in one transaction, and by nothing that was
   refused. Of two that show it at once exactly one is let in. The same enrolment with the same
   claim again is success.
4. A key is of one device, and of no person: who signs for two is somebody in between.
5. An enrolment that was let in waits: nothing that the device says counts before somebody
   countersigns it.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from interlock_core import wire
from interlock_core.api import Enrolled, EnrolmentRequest, EnrolmentState
from interlock_core.clock import Clock
from interlock_core.errors import ConflictError, NotFoundError, RefusedError
from interlock_core.fleet import claim_counts, claim_refuses, signed_by_device
from interlock_core.keybytes import PublicKey, public_key_bytes
from interlock_core.report import Enrolment
from interlock_core.roster import Judge, Roster
from interlock_core.statement import MAX_ENVELOPE, Opened, open_as
from interlock_core.store import Store
from interlock_core.wire import sha256_hex
from interlock_server.acceptance import check_date
from interlock_server.db.fleet_tables import ClaimRow, EnrolmentRow
from interlock_server.db.session import Database
from interlock_server.image import read_released
from interlock_server.onfile import open_kept, trimmed
from interlock_server.refusals import Refusals
from interlock_server.standing import enrolment_row, restate, state_of

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

    def _keep(self, opened: Opened[Enrolment], secret_sha256: str) -> EnrolmentState | None:
        """Put an enrolment on file and spend its claim; its state if it was known, else None."""
        said = opened.said
        key = sha256_hex(public_key_bytes(said.key.sslib()))
        with self._database.writing() as session:
            # Again, under the turn: another device may have been quicker (rule 3), or a roster.
            judge = self._judge()
            known = _judge_claim(session, judge, secret_sha256, opened)
            if known is not None:
                return known
            wanted = select(EnrolmentRow.id).where(
                EnrolmentRow.key_sha256 == key, EnrolmentRow.device != said.device
            )
            if session.scalar(wanted) is not None:
                raise _key_taken()
            row = enrolment_row(session, opened.id)
            if row is not None:
                # Let in by another claim: this one is not needed, and not spent.
                return state_of(row)
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
                    envelope=wire.encode(opened.envelope),
                )
            )
            claim = _find_claim(session, secret_sha256)
            assert claim is not None
            claim.used_by = opened.id
            session.flush()
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
