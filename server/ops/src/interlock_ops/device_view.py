"""One device as its signatures read (pure).

Rules (numbers are those of ``docs/wire-format.md``, "Who is believed"):

1. A device is read from the envelopes that the server returns, with core's own code; what the
   server says about them is only compared. It can withhold, and so can what it calls quarantined
   or superseded, which nobody can check from one enrolment: it only takes a device out of a count.
2. An enrolment counts if the key that it names signed it for this fleet, and somebody entitled
   countersigned it (21). A report counts if that same key signed it under that enrolment (20).
3. What does not verify is named as a fault, and the device is shown all the same: nothing is
   dropped silently, and nothing of it is believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from interlock_core.api import Device
from interlock_core.ending import (
    DECOMMISSIONED,
    ENDED,
    ENDINGS,
    REVOKED,
    Ending,
    Revocation,
    ending_counts,
)
from interlock_core.errors import WireError
from interlock_core.fleet import (
    Countersigned,
    countersigned,
    lacking,
    report_counts,
    signed_by_device,
)
from interlock_core.order import Assignment, Authorisation
from interlock_core.report import Enrolment, Report
from interlock_core.roster import Judge
from interlock_core.statement import Envelope, Opened, S, open_as, open_statement
from interlock_core.wire import sha256_hex

DeviceState = Literal[
    "forged",
    "waiting",
    "countersigned",
    "quarantined",
    "superseded",
    "revoked",
    "decommissioned",
]
STATES: Final[tuple[DeviceState, ...]] = (
    "waiting",
    "countersigned",
    "quarantined",
    "superseded",
    "revoked",
    "decommissioned",
    "forged",
)
REPORT_FAULTS: Final = frozenset({"unreadable_report", "forged_report"})
"""With one of these there is no report to believe."""


@dataclass(frozen=True)
class Fault:
    """What does not verify: a stable name and a sentence for people."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Move:
    """An assignment of this enrolment, and what it lacks; empty when it counts.

    Attributes:
        done: whether the device reports from its cohort already.
    """

    assignment: Opened[Assignment]
    lacking: tuple[str, ...]
    done: bool


@dataclass(frozen=True)
class DeviceView:
    """One device.

    Attributes:
        device: its id as it stands in the enrolment, whoever wrote it there.
        enrolment: None if it cannot be read.
        state: ``forged`` where nothing can be believed.
        countersigned: who let it in.
        report: the newest, if its own key signed it.
        moves: its assignments, the highest ``seq`` first.
        words: authorisations of the enrolment and of the assignments, not judged.
        faults: what does not verify.
        differences: where the server's account is not what the signatures say.
        told: the server's account.
        ending: what ended the enrolment for good, if somebody entitled signed it.
    """

    device: str
    enrolment: Opened[Enrolment] | None
    state: DeviceState
    countersigned: Countersigned | None
    report: Opened[Report] | None
    moves: tuple[Move, ...]
    words: tuple[Opened[Authorisation], ...]
    faults: tuple[Fault, ...]
    differences: tuple[str, ...]
    told: Device
    ending: Opened[Ending] | None = None

    @property
    def cohort(self) -> str | None:
        """Whose director it polls: as its newest report says, or else its enrolment."""
        if self.report is not None:
            return self.report.said.cohort
        return self.enrolment.said.cohort if self.enrolment is not None else None

    @property
    def site(self) -> str | None:
        """Where its enrolment says that it stands."""
        return self.enrolment.said.site if self.enrolment is not None else None

    @property
    def product(self) -> str | None:
        """What its enrolment says that it runs."""
        return self.enrolment.said.product if self.enrolment is not None else None

    @property
    def counted(self) -> bool:
        """Whether what it says counts."""
        return self.state == "countersigned"

    @property
    def heard_at(self) -> datetime | None:
        """When it signed its newest report; when that came, if its own clock was ahead."""
        if self.report is None:
            return None
        received = self.told.received_at
        said = self.report.said.at
        return said if received is None else min(said, received)


def read_device(judge: Judge, told: Device) -> DeviceView:
    """Judge everything that the server returned about one enrolment (rules 1 to 3)."""
    try:
        enrolment = open_as(told.enrolment, Enrolment)
    except WireError as e:
        name = f"unreadable-{sha256_hex(told.enrolment.payload.encode())[:12]}"
        return _forged(told, name, None, Fault("malformed", f"its enrolment cannot be read: {e}"))
    fault = _not_genuine(judge, enrolment)
    if fault is not None:
        return _forged(told, enrolment.said.device, enrolment, fault)
    faults: list[Fault] = []
    words = _open_all(told.words, Authorisation, "authorisation", faults)
    let_in = countersigned(judge, enrolment, words)
    report = _report(enrolment, told.report, faults)
    moves = _moves(judge, enrolment, told.assignments, words, report, faults)
    state: DeviceState = "waiting" if let_in is None else "countersigned"
    if let_in is not None and told.state in ("quarantined", "superseded"):
        state = told.state
    view = DeviceView(
        device=enrolment.said.device,
        enrolment=enrolment,
        state=state,
        countersigned=let_in,
        report=report,
        moves=moves,
        words=words,
        faults=tuple(faults),
        differences=(),
        told=told,
    )
    if told.ending is not None or told.state in ENDED:
        return _ended(judge, view, enrolment, told)
    # Quarantined or superseded says nothing about who signed.
    if told.state in ("quarantined", "superseded"):
        return view
    if (told.state == "waiting") == (let_in is None):
        return view
    who = f"{let_in.by} countersigned it" if let_in is not None else "nobody entitled signed it"
    differs = f"the server calls it {told.state}, and by the signatures {who}"
    return replace(view, differences=(differs,))


def _ended(
    judge: Judge, view: DeviceView, enrolment: Opened[Enrolment], told: Device
) -> DeviceView:
    """What ended it, as it was signed; without that it is the server's account, and said to be."""
    ending: Opened[Any] | None = None
    if told.ending is not None:
        with suppress(WireError):
            ending = open_statement(told.ending, ENDINGS)
    if ending is not None and ending_counts(judge, ending, enrolment):
        state = REVOKED if isinstance(ending.said, Revocation) else DECOMMISSIONED
        return replace(view, state=msgspec.convert(state, DeviceState), ending=ending)
    who = "nobody whom the present roster entitles signed that"
    differs = f"the server calls it {told.state}, and {who}"
    # It only takes a device out of a count, as a quarantine does.
    state = told.state if told.state in ENDED else view.state
    return replace(view, state=msgspec.convert(state, DeviceState), differences=(differs,))


def _forged(
    told: Device, name: str, enrolment: Opened[Enrolment] | None, fault: Fault
) -> DeviceView:
    return DeviceView(
        device=name,
        enrolment=enrolment,
        state="forged",
        countersigned=None,
        report=None,
        moves=(),
        words=(),
        faults=(fault,),
        differences=(),
        told=told,
    )


def _not_genuine(judge: Judge, enrolment: Opened[Enrolment]) -> Fault | None:
    said = enrolment.said
    if said.fleet != judge.roster.fleet:
        return Fault(
            "wrong_fleet", f"its enrolment is for the fleet {said.fleet}, not {judge.roster.fleet}"
        )
    try:
        signed = signed_by_device(enrolment)
    except WireError as e:
        return Fault("forged_enrolment", f"its enrolment names a key that is none: {e}")
    if not signed:
        return Fault("forged_enrolment", "its enrolment is not signed by the key that it names")
    return None


def _open_all(
    envelopes: Sequence[Envelope], type_: type[S], what: str, faults: list[Fault]
) -> tuple[Opened[S], ...]:
    opened: dict[str, Opened[S]] = {}
    for envelope in envelopes:
        try:
            one = open_as(envelope, type_)
        except WireError as e:
            faults.append(Fault("malformed", f"an {what} cannot be read: {e}"))
            continue
        opened.setdefault(one.id, one)
    return tuple(opened.values())


def _report(
    enrolment: Opened[Enrolment], envelope: Envelope | None, faults: list[Fault]
) -> Opened[Report] | None:
    if envelope is None:
        return None
    try:
        report = open_as(envelope, Report)
    except WireError as e:
        faults.append(Fault("unreadable_report", f"its report cannot be read: {e}"))
        return None
    if report_counts(enrolment, report):
        return report
    if report.said.enrolment != enrolment.id:
        why = f"it is about the enrolment {report.said.enrolment[:12]}"
    else:
        why = f"the key of the enrolment did not sign it as {enrolment.said.device}"
    faults.append(Fault("forged_report", f"its report is not its own: {why}"))
    return None


def _moves(
    judge: Judge,
    enrolment: Opened[Enrolment],
    envelopes: Sequence[Envelope],
    words: Sequence[Opened[Authorisation]],
    report: Opened[Report] | None,
    faults: list[Fault],
) -> tuple[Move, ...]:
    moves = []
    for one in _open_all(envelopes, Assignment, "assignment", faults):
        said = one.said
        if (said.enrolment, said.device) != (enrolment.id, enrolment.said.device):
            faults.append(
                Fault("foreign_assignment", f"the assignment {one.id[:12]} is of another device")
            )
            continue
        done = report is not None and report.said.cohort == said.to_cohort
        moves.append(Move(one, lacking(judge, one, words), done))
    return tuple(sorted(moves, key=lambda move: (-move.assignment.said.seq, move.assignment.id)))
