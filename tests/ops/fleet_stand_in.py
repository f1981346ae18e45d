"""The fleet's part of the server's stand-in: claims, enrolments, reports, cohorts and sites.

It verifies nothing; tests put in what devices would have sent, true or forged, and say how the
server lies about it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from interlock_core.api import (
    ClaimPage,
    Device,
    DevicePage,
    EnrolmentState,
    Info,
    OpenClaim,
    Place,
    PlacePage,
)
from interlock_core.ending import ENDINGS, ends_as
from interlock_core.fleet import countersigned
from interlock_core.hold import Hold
from interlock_core.order import Assignment, Authorisation
from interlock_core.report import Claim, Enrolment, Report
from interlock_core.roster import Judge
from interlock_core.site import Site
from interlock_core.statement import Envelope, Opened

T = TypeVar("T")


@dataclass
class FleetStandIn:
    """What the server knows of devices.

    Attributes:
        enrolments: in the order of asking.
        reports: the newest of each enrolment, by its id.
        used: device by claim id.
        quarantined: why, by device id.
        refused: security counters by device id.
        served: cohorts that have a director.
        alter: changes a device before it is sent: a lie.
        alter_claim, alter_place: likewise.
    """

    enrolments: list[Opened[Enrolment]] = field(default_factory=list)
    reports: dict[str, Opened[Report]] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    quarantined: dict[str, str] = field(default_factory=dict)
    refused: dict[str, dict[str, int]] = field(default_factory=dict)
    served: tuple[str, ...] = ("canary", "st-anna", "st-bert")
    alter: Callable[[Device], Device] | None = None
    alter_claim: Callable[[OpenClaim], OpenClaim] | None = None
    alter_place: Callable[[Place], Place] | None = None
    page: int = 2

    def add(self, enrolment: Opened[Enrolment], *reports: Opened[Report]) -> Opened[Enrolment]:
        """A device asked, and reported."""
        self.enrolments.append(enrolment)
        for report in reports:
            self.reports[enrolment.id] = report
        return enrolment

    # What is answered

    def devices(
        self, judge: Judge, papers: Sequence[Opened[Any]], query: dict[str, list[str]]
    ) -> DevicePage:
        """``GET /v1/devices``: without a state, one enrolment of each device."""
        [state] = query.get("state", [""])
        shown = self.enrolments if state else self._one_each(judge, papers)
        found = [self._device(judge, papers, one) for one in shown]
        items = [
            device
            for one, device in zip(shown, found, strict=True)
            if state in ("", device.state)
            and query.get("site", [one.said.site]) == [one.said.site]
            and query.get("cohort", [self._cohort(one)]) == [self._cohort(one)]
        ]
        rest, next_ = self._paged(items, query)
        if self.alter is not None:
            rest = [self.alter(device) for device in rest]
        return DevicePage(items=tuple(rest), next=next_)

    def device(self, judge: Judge, papers: Sequence[Opened[Any]], id_: str) -> Device | None:
        """``GET /v1/devices/<id>``."""
        for one in self._one_each(judge, papers):
            if one.said.device == id_:
                device = self._device(judge, papers, one)
                return self.alter(device) if self.alter is not None else device
        return None

    def claims(
        self, now: datetime, papers: Sequence[Opened[Any]], query: dict[str, list[str]]
    ) -> ClaimPage:
        """``GET /v1/claims``."""
        items = [
            OpenClaim(
                claim=paper.envelope,
                used_by=self.used.get(paper.id),
                expired=paper.said.expires <= now,
            )
            for paper in reversed(papers)
            if isinstance(paper.said, Claim)
        ]
        if self.alter_claim is not None:
            items = [self.alter_claim(item) for item in items]
        rest, next_ = self._paged(items, query)
        return ClaimPage(items=tuple(rest), next=next_)

    def places(
        self, judge: Judge, papers: Sequence[Opened[Any]], kind: str, query: dict[str, list[str]]
    ) -> PlacePage:
        """``GET /v1/cohorts`` and ``GET /v1/sites``."""
        counts: dict[str, Counter[str]] = {}
        if kind == "cohorts":
            counts = {name: Counter() for name in self.served}
        if kind == "sites":
            counts = {p.said.site: Counter() for p in papers if isinstance(p.said, Site)}
        for one in self._one_each(judge, papers):
            name = self._cohort(one) if kind == "cohorts" else one.said.site
            state = self._device(judge, papers, one).state
            counts.setdefault(name, Counter())[state] += 1
        items = [
            Place(
                name=name,
                served=kind == "sites" or name in self.served,
                waiting=counts[name]["waiting"],
                countersigned=counts[name]["countersigned"] + counts[name]["quarantined"],
                quarantined=counts[name]["quarantined"],
                descriptions=self._about(papers, Site, name) if kind == "sites" else (),
                holds=self._about(papers, Hold, name) if kind == "sites" else (),
            )
            for name in sorted(counts)
        ]
        if self.alter_place is not None:
            items = [self.alter_place(item) for item in items]
        rest, next_ = self._paged(items, query)
        return PlacePage(items=tuple(rest), next=next_)

    def site(self, judge: Judge, papers: Sequence[Opened[Any]], name: str) -> Place | None:
        """``GET /v1/sites/<name>``."""
        page = 1
        while True:
            found = self.places(judge, papers, "sites", {"page": [str(page)]})
            for place in found.items:
                if place.name == name:
                    return place
            if found.next is None:
                return None
            page = found.next

    def _about(
        self, papers: Sequence[Opened[Any]], type_: type[Any], name: str
    ) -> tuple[Envelope, ...]:
        mine = [p for p in papers if isinstance(p.said, type_) and p.said.site == name]
        return tuple(paper.envelope for paper in reversed(mine))

    def info(self, fleet: str) -> Info:
        """``GET /v1/info``."""
        return Info(fleet=fleet, cohorts=self.served, products=("gateway",), version="1")

    # How

    def _paged(self, items: Sequence[T], query: dict[str, list[str]]) -> tuple[list[T], int | None]:
        page = int(query.get("page", ["1"])[0])
        rest = items[(page - 1) * self.page :]
        return list(rest[: self.page]), page + 1 if len(rest) > self.page else None

    def _cohort(self, one: Opened[Enrolment]) -> str:
        report = self.reports.get(one.id)
        return report.said.cohort if report is not None else one.said.cohort

    def _one_each(self, judge: Judge, papers: Sequence[Opened[Any]]) -> list[Opened[Enrolment]]:
        shown: dict[str, Opened[Enrolment]] = {}
        for one in self.enrolments:
            before = shown.get(one.said.device)
            if before is None or self._let_in(judge, papers, one):
                shown[one.said.device] = one
        return [shown[device] for device in sorted(shown)]

    def _words(
        self, papers: Iterable[Opened[Any]], about: Iterable[str]
    ) -> list[Opened[Authorisation]]:
        ids = set(about)
        return [p for p in papers if isinstance(p.said, Authorisation) and p.said.id in ids]

    def _let_in(self, judge: Judge, papers: Sequence[Opened[Any]], one: Opened[Enrolment]) -> bool:
        return countersigned(judge, one, self._words(papers, [one.id])) is not None

    def _device(
        self, judge: Judge, papers: Sequence[Opened[Any]], one: Opened[Enrolment]
    ) -> Device:
        moves = [
            paper
            for paper in papers
            if isinstance(paper.said, Assignment) and paper.said.enrolment == one.id
        ]
        words = self._words(papers, [one.id, *(move.id for move in moves)])
        report = self.reports.get(one.id)
        device = one.said.device
        state: EnrolmentState = "waiting"
        if self._let_in(judge, papers, one):
            state = "quarantined" if device in self.quarantined else "countersigned"
        ended = [
            paper
            for paper in papers
            if isinstance(paper.said, ENDINGS) and paper.said.enrolment == one.id
        ]
        for paper in ended:
            state = msgspec.convert(ends_as(paper.said), EnrolmentState)
        return Device(
            enrolment=one.envelope,
            state=state,
            words=tuple(word.envelope for word in words),
            assignments=tuple(move.envelope for move in reversed(moves)),
            report=report.envelope if report is not None else None,
            received_at=report.said.at if report is not None else None,
            quarantined=self.quarantined.get(device),
            refused=self.refused.get(device, {}),
            ending=ended[-1].envelope if ended else None,
        )
