"""Devices of the canary cohort that a stand-in shows, and what they report."""

from __future__ import annotations

from typing import Any, Final

from interlock_core.order import Target
from interlock_core.report import Attempt, Enrolment, Outcome, Report, Running
from interlock_core.statement import Opened
from tests.ops.world import IMAGE, OLD, OLD_PATH, OLD_SHA, PATH, SHA256, Place
from tests.support.papers import countersign, enrolment, report

NEW_TARGET: Final = Target(path=PATH, length=len(IMAGE), sha256=SHA256)
OLD_TARGET: Final = Target(path=OLD_PATH, length=len(OLD), sha256=OLD_SHA)
VERSIONS: Final = {SHA256: "2.0.0", OLD_SHA: "1.0.0"}


class Fleet:
    """Devices that the stand-in shows, and what they report."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.known: dict[str, Opened[Enrolment]] = {}
        self.last: dict[str, Opened[Report]] = {}

    def add(self, device: str, runs: str | None = None, **fields: Any) -> None:
        said = self.place.server.fleet.add(enrolment(device, at=self.place.clock.now))
        self.place.server.post(countersign(said))
        self.known[device] = said
        if runs is not None:
            self.tell(device, runs, **fields)

    def tell(self, device: str, runs: str, **fields: Any) -> None:
        made: dict[str, Any] = {
            "running": Running(slot="a", sha256=runs, version=VERSIONS[runs]),
            "at": self.place.clock.now,
        }
        said = report(self.known[device], self.last.get(device), **made | fields)
        self.last[device] = said
        self.place.server.fleet.reports[self.known[device].id] = said


def attempt(of: str, target: str, outcome: Outcome) -> Attempt:
    return Attempt(order=of, target=target, outcome=outcome, reason=None, deferred_since=None)
