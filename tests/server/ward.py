"""Devices that report about orders, and what the engine says of them: shared by its tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from interlock_core.api import ActionPage, DeviceAction, RolloutStages, StageCounts
from interlock_core.order import Go, Order
from interlock_core.report import Attempt, Enrolment, Outcome, Report, Running
from interlock_core.statement import Opened, open_as
from tests.server.world import PRODUCT, V1, Bench
from tests.support.papers import authorise, enrolment, hours, opening, order, report, stage
from tests.support.people import CANARY

OLD = Running(slot="a", sha256=64 * "0", version="0.9.0")
NEW = Running(slot="b", sha256=V1.target().sha256, version="1.0.0")


@dataclass
class Ward:
    """Devices that were let in, and what they said last."""

    bench: Bench
    names: dict[str, Opened[Enrolment]] = field(default_factory=dict)
    last: dict[str, Opened[Report]] = field(default_factory=dict)

    def let_in(self, *names: str, **fields: Any) -> None:
        for name in names:
            self.names[name] = self.bench.let_in(enrolment(name, **fields))

    def tell(
        self,
        name: str,
        about: Opened[Order],
        outcome: Outcome,
        reason: str | None = None,
        **fields: Any,
    ) -> Opened[Report]:
        """One report about an order, in the device's chain."""
        attempt = Attempt(
            order=about.id,
            target=about.said.targets[0].sha256,
            outcome=outcome,
            reason=reason,
            deferred_since=None,
        )
        running = NEW if outcome in {"confirmed", "already_installed"} else OLD
        made: dict[str, Any] = {"at": self.bench.clock(), "attempt": attempt, "running": running}
        said = report(self.names[name], self.last.get(name), **made | fields)
        self.bench.tell_all(said)
        self.last[name] = said
        return said


def ordered(*shares: int, **fields: Any) -> Opened[Order]:
    """An order for the canary cohort, in stages of these shares."""
    stages = tuple(stage(CANARY, share=share, soak=hours(1)) for share in shares or (10_000,))
    made: dict[str, Any] = {"targets": (V1.target(),), "stages": stages, "deadline_seconds": 3600}
    return order(**made | fields)


def start(bench: Bench, of: Opened[Order], number: int = 0) -> Opened[Go]:
    """Authorise an order, if it is new, and open a stage of it now."""
    go = opening(of, number, at=bench.clock())
    words = [of, authorise(of)] if number == 0 else []
    bench.say_all(*words, go, authorise(go))
    return go


def stages(bench: Bench, of: Opened[Order]) -> RolloutStages:
    return bench.read(f"/v1/rollouts/{of.id}/stages", RolloutStages)


def only(bench: Bench, of: Opened[Order]) -> StageCounts:
    (one,) = stages(bench, of).stages
    return one


def actions(bench: Bench, of: Opened[Order], query: str = "") -> dict[str, DeviceAction]:
    page = bench.read(f"/v1/rollouts/{of.id}/actions{query}", ActionPage)
    return {one.device: one for one in page.items}


def later(bench: Bench, by: timedelta, of: timedelta = timedelta(minutes=9)) -> None:
    """Time goes by, and rounds with it."""
    until = bench.clock.now + by
    while bench.clock.now < until:
        bench.clock.now = min(until, bench.clock.now + of)
        bench.back.engine.round()


def goes_shown(bench: Bench, cohort: str = CANARY) -> list[str]:
    entry = bench.directive(cohort).products[PRODUCT]
    return [open_as(go, Go).said.act for go in entry.chain]
