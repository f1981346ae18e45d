"""Takes the reports of devices in (I/O).

Rules (20 is that of ``docs/wire-format.md``):

1. A report is verified by the key of its enrolment before any writer waits for it. What a device
   did not sign changes a security counter, and nothing else.
2. It is then held against the last that was taken (20), with that enrolment's row held, so that two
   at once are taken one after the other. The next one is stored and moves the tip. One that was
   taken before is success and changes nothing, whatever has become of the enrolment since.
3. What lies beyond a gap is refused (``report_gap``): the device sends what is missing first.
4. A fork (``report_fork``) shows that the key signs in two places. The report that showed it is
   kept as evidence, the first of each enrolment; the device is quarantined until a new enrolment of
   it is countersigned, and what it says until then is refused (``quarantined``).
5. What is said under an enrolment that does not count, not yet or not any more, is refused
   (``not_countersigned``, ``superseded``, ``revoked``, ``decommissioned``): the device keeps it.
6. What a report that is taken says about rollouts is counted in the same transaction
   (``counting``).
7. Whether an enrolment counts is what ``standing`` noted: no roster is read for a report.
"""

from __future__ import annotations

import logging
from typing import NoReturn

from sqlalchemy import select
from sqlalchemy.orm import Session

from interlock_core import wire
from interlock_core.api import Received
from interlock_core.clock import Clock
from interlock_core.errors import ConflictError, RefusedError
from interlock_core.fleet import Tip, follows, report_counts
from interlock_core.log import state_fact, statement_fact
from interlock_core.report import Enrolment, Report
from interlock_core.statement import Opened, open_as, read_envelope
from interlock_server import counting
from interlock_server.db.fleet_tables import EnrolmentRow, ForkRow, ReportRow
from interlock_server.db.session import Database
from interlock_server.logbook import record
from interlock_server.onfile import open_enrolment, trimmed
from interlock_server.refusals import Refusals
from interlock_server.standing import check_counts, enrolment_row

_log = logging.getLogger(__name__)


class Reports:
    """Where devices report.

    Args:
        database: where reports are kept.
        refusals: counts them.
        fleet: ours.
        clock: now.
    """

    def __init__(self, database: Database, refusals: Refusals, fleet: str, clock: Clock) -> None:
        self._database = database
        self._refusals = refusals
        self._fleet = fleet
        self._clock = clock

    def post(self, data: bytes) -> tuple[Received, bool]:
        """Take a report; returns what was taken, and whether it is new.

        Args:
            data: the envelope's bytes.

        Raises:
            WireError: malformed.
            RefusedError, ConflictError: the reason names the rule.
            TransientError: the database failed; nothing was stored.
        """
        opened = open_as(read_envelope(data), Report)
        with self._refusals.counted("report"):
            enrolment = self._enrolment(opened)
        with self._refusals.counted("report", enrolment.id):
            self._check(enrolment, opened)
            alone = trimmed(opened, lambda one: report_counts(enrolment, one))
            with self._database.storing() as session:
                row = enrolment_row(session, enrolment.id, to_change=True)
                assert row is not None
                new, fork = self._take(session, row, alone)
                next_ = row.tip_number + 1
            if fork:
                _refuse_fork(opened)
        return Received(id=opened.id, number=opened.said.number, next=next_), new

    def _enrolment(self, opened: Opened[Report]) -> Opened[Enrolment]:
        with self._database.reading() as session:
            row = enrolment_row(session, opened.said.enrolment)
        if row is None:
            raise RefusedError(
                f"No enrolment {opened.said.enrolment[:12]} is on file here: enrol first.",
                reason="unknown_enrolment",
            )
        return open_enrolment(row.envelope)

    def _check(self, enrolment: Opened[Enrolment], opened: Opened[Report]) -> None:
        """What needs no writer to wait (rule 1)."""
        if opened.said.fleet != self._fleet:
            raise RefusedError(
                f"The report is of fleet {opened.said.fleet} and this server serves {self._fleet}.",
                reason="wrong_fleet",
            )
        if not report_counts(enrolment, opened):
            raise RefusedError(
                f"The key of enrolment {enrolment.id[:12]} did not sign this report as "
                f"{enrolment.said.device}.",
                reason="bad_signature",
            )

    def _take(
        self, session: Session, row: EnrolmentRow, opened: Opened[Report]
    ) -> tuple[bool, bool]:
        """Hold a report against those before it; whether it is new, and whether it is a fork."""
        said = opened.said
        tip = Tip(row.tip_number, row.tip_id) if row.tip_id is not None else None
        taken = select(ReportRow.id).where(
            ReportRow.enrolment == row.number, ReportRow.number == said.number
        )
        verdict = follows(tip, session.scalar(taken), opened)
        if verdict == "known":
            return False, False
        if verdict == "fork" and row.state in {"countersigned", "quarantined"}:
            self._keep_fork(session, row, opened)
            return False, True
        check_counts(row)
        if verdict == "gap":
            raise ConflictError(
                f"Report {said.number} came and {row.tip_number + 1} is expected: send what lies "
                "between first.",
                reason="report_gap",
            )
        now = self._clock()
        envelope = wire.encode(opened.envelope)
        record(session, now, statement_fact(said.PREDICATE, opened.id, envelope))
        session.add(
            ReportRow(
                enrolment=row.number,
                number=said.number,
                id=opened.id,
                received_at=now,
                envelope=envelope,
            )
        )
        row.tip_number, row.tip_id = said.number, opened.id
        row.tip_said_at, row.tip_at = said.at, now
        row.cohort = said.cohort
        row.running = said.running.sha256 if said.running is not None else None
        counting.take(session, row, opened, now)
        return True, False

    def _keep_fork(self, session: Session, row: EnrolmentRow, opened: Opened[Report]) -> None:
        if row.quarantined_at is not None:
            return
        now = self._clock()
        envelope = wire.encode(opened.envelope)
        record(session, now, state_fact("quarantined", row.id, envelope))
        session.add(
            ForkRow(
                enrolment=row.number,
                number=opened.said.number,
                id=opened.id,
                received_at=now,
                envelope=envelope,
            )
        )
        row.quarantined_at = now
        row.quarantined_why = (
            f"its key signed another report {opened.said.number} than the one that was taken, or "
            "one that follows another"
        )
        row.state = "quarantined"
        counting.leave_out(session, row, counting.QUARANTINED)
        _log.warning("device %s is quarantined: %s", row.device, row.quarantined_why)


def _refuse_fork(opened: Opened[Report]) -> NoReturn:
    raise ConflictError(
        f"Another report {opened.said.number}, or another one before it, was taken from this "
        "device: its key signs in two places. It is quarantined; enrol it anew.",
        reason="report_fork",
    )
