"""The fleet's side of a server, for gateways under test: it judges by the rules of core alone.

``Fleet(world).answers(web)`` lets a ``Web`` answer ``/v1/enrolments`` and ``/v1/reports``. Every
accepted report stands in ``chains``; ``lose`` makes it do its work and lose the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET

from interlock_core.api import Enrolled, EnrolmentRequest, EnrolmentState, Problem, Received
from interlock_core.fleet import Tip, follows, report_counts, rotates, signed_by_device
from interlock_core.report import Enrolment, Report
from interlock_core.statement import Opened, open_as, read_envelope
from interlock_core.wire import decode, encode
from tests.client.web import Handler, Web

SECRET = "c2VjcmV0LW9mLWEtY2xhaW0tZm9yLW9uZS1ib3g"


@dataclass
class Fleet:
    """Claims, enrolments and chains of reports.

    Attributes:
        claims: unused secrets.
        enrolments: by id, in the order in which they came.
        countersigned: whether an enrolment counts as soon as it is taken.
        chains: accepted reports by enrolment id.
        quarantined: enrolments whose reports forked.
        countersign_rotations: whether a rotation counts as soon as it is taken.
        ended: the state of enrolments that are over for good.
        lose: how many of the next answers are lost after the work was done.
        asked: every request's body, by path.
    """

    claims: set[str] = field(default_factory=lambda: {SECRET})
    enrolments: dict[str, Opened[Enrolment]] = field(default_factory=dict)
    countersigned: bool = True
    chains: dict[str, list[Opened[Report]]] = field(default_factory=dict)
    quarantined: set[str] = field(default_factory=set)
    countersign_rotations: bool = False
    ended: dict[str, EnrolmentState] = field(default_factory=dict)
    lose: int = 0
    asked: list[tuple[str, bytes]] = field(default_factory=list)

    def answers(self, *webs: Web) -> None:
        for web in webs:
            web.lies["/v1/"] = self.answer

    def answer(self, handler: Handler) -> None:
        self.asked.append((handler.path, handler.body))
        status, said = self._said(handler)
        if self.lose > 0:
            self.lose -= 1
            handler.close_connection = True
            return
        handler.say(status, encode(said))

    @property
    def reports(self) -> list[Opened[Report]]:
        """Every accepted report, of all enrolments."""
        return [report for chain in self.chains.values() for report in chain]

    def told(self) -> list[tuple[str, str | None]]:
        """Outcome and reason of each attempt that was reported, in order."""
        attempts = [report.said.attempt for report in self.reports]
        return [(one.outcome, one.reason) for one in attempts if one is not None]

    def _said(self, handler: Handler) -> tuple[int, Any]:
        if handler.command == "POST" and handler.path == "/v1/enrolments":
            return self._enrol(decode(handler.body, EnrolmentRequest, limit=2**20, what="request"))
        if handler.command == "POST" and handler.path == "/v1/reports":
            return self._report(open_as(read_envelope(handler.body), Report))
        _, _, id_ = handler.path.partition("/v1/enrolments/")
        if id_ in self.enrolments:
            return 200, Enrolled(id=id_, state=self.state(id_))
        return problem(404, "not_found", "There is no such enrolment.")

    def state(self, id_: str) -> EnrolmentState:
        if id_ in self.quarantined:
            return "quarantined"
        if id_ in self.ended:
            return self.ended[id_]
        if not self.countersigned or not self._let_in(self.enrolments[id_]):
            return "waiting"
        counting = [key for key, one in self.enrolments.items() if self._let_in(one)]
        return "countersigned" if id_ == counting[-1] else "superseded"

    def _let_in(self, one: Opened[Enrolment]) -> bool:
        return one.said.replaces is UNSET or self.countersign_rotations

    def _enrol(self, request: EnrolmentRequest) -> tuple[int, Any]:
        opened = open_as(request.enrolment, Enrolment)
        if opened.id in self.enrolments:
            return 200, Enrolled(id=opened.id, state=self.state(opened.id))
        if not signed_by_device(opened):
            return problem(403, "bad_signature", "The device did not sign this.")
        if request.claim is None:
            before = self.enrolments.get(str(opened.said.replaces))
            if before is None or rotates(opened, before) is not None:
                return problem(403, "bad_rotation", "This is no rotation.")
        elif request.claim not in self.claims:
            return problem(403, "bad_claim", "No such claim is open: ask for another.")
        else:
            self.claims.remove(request.claim)
        self.enrolments[opened.id] = opened
        return 201, Enrolled(id=opened.id, state=self.state(opened.id))

    def _report(self, report: Opened[Report]) -> tuple[int, Any]:
        enrolment = self.enrolments.get(report.said.enrolment)
        if enrolment is None or not report_counts(enrolment, report):
            return problem(403, "bad_signature", "No enrolled device signed this.")
        if not self.countersigned:
            return problem(403, "not_countersigned", "Nobody has let this device in yet.")
        if enrolment.id in self.ended:
            return problem(403, self.ended[enrolment.id], "Its key is over.")
        chain = self.chains.setdefault(enrolment.id, [])
        number = report.said.number
        known = chain[number - 1].id if number <= len(chain) else None
        how = follows(Tip(len(chain), chain[-1].id) if chain else None, known, report)
        if how == "fork":
            self.quarantined.add(enrolment.id)
        if how in {"fork", "gap"}:
            return problem(409, f"report_{how}", f"Report {number} makes a {how}.")
        if how == "next":
            chain.append(report)
        received = Received(id=report.id, number=number, next=len(chain) + 1)
        return (201 if how == "next" else 200), received


def problem(status: int, reason: str, detail: str) -> tuple[int, Problem]:
    return status, Problem(
        type=f"urn:interlock:problem:{reason}",
        title=reason,
        status=status,
        detail=detail,
        reason=reason,
    )
