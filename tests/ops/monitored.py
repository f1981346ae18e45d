"""A real server over real HTTP, devices that report, and monitors beside it.

The fleet: six gateways of the canary cohort and three of ``st-bert``; ``mona`` and ``zoe`` are
monitors. The order of ``rollout`` is people's to start; its second stage is the monitor's.
"""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from interlock_core import wire
from interlock_core.api import Rollout
from interlock_core.chain import Papers, read_chain
from interlock_core.errors import TransientError
from interlock_core.order import Abort, Authorisation, Go, Order, Stop
from interlock_core.report import Attempt, Enrolment, Report
from interlock_core.roster import Judge
from interlock_core.statement import Opened, open_as
from interlock_ops.monitor.config import MonitorSettings, load
from interlock_ops.monitor.rounds import Result
from interlock_ops.monitor.service import Monitor
from tests.ops.test_real_server import Real
from tests.ops.world import OPS_ROSTER, write_key
from tests.server.world import V1
from tests.support import papers
from tests.support.papers import enrolment, opening, report, stage, started
from tests.support.people import CANARY, ELLEN, PEOPLE, ST_BERT, grant, person, roster

ZOE: Final = person("zoe", grant("monitor"))
MONITORED: Final = (*PEOPLE, ELLEN, ZOE)
DEADLINE: Final = timedelta(hours=6)
SOAK: Final = timedelta(days=1)
STAGES: Final = (
    stage(CANARY, soak=SOAK),
    stage(CANARY, ST_BERT, soak=SOAK, gate="auto"),
)
ABORT: Final = (Abort(failure_type="all", threshold_basis_points=1_000, min_executed=3),)


@dataclass
class Watched:
    """The server, its devices, and what they said last."""

    real: Real
    devices: dict[str, Opened[Enrolment]] = field(default_factory=dict)
    tips: dict[str, Opened[Report]] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        return self.real.now

    def begin(self) -> None:
        """Publish the roster with two monitors, and let every device in."""
        self._hand_out_keys()
        issued = self.now - timedelta(hours=1)
        people = roster(*MONITORED, rules=OPS_ROSTER.rules, issued=issued, seq=2)
        self.real.bench.publish_roster(wire.encode(people), version=2)
        for number in range(1, 10):
            cohort = CANARY if number < 7 else ST_BERT
            self.let_in(f"GW-{number:04}", cohort)

    def copy(self, home: Path) -> Watched:
        """The same elsewhere, once the server of this one is closed."""
        copied = Watched(self.real.copy(home), dict(self.devices))
        copied._hand_out_keys()
        return copied

    def _hand_out_keys(self) -> None:
        place = self.real.place
        for name in ("mona", "zoe"):
            write_key(place.home, name)
        shutil.copy(self.real.fleet.online / "log.pub.json", place.home)

    def let_in(self, device: str, cohort: str) -> None:
        """Enrolled and countersigned."""
        asked = enrolment(device, at=self.now, cohort=cohort)
        self.devices[device] = self.real.bench.let_in(asked, at=self.now)

    def of(self, cohort: str) -> list[str]:
        """The devices of a cohort."""
        return [name for name, one in self.devices.items() if one.said.cohort == cohort]

    def rollout(self, **fields: Any) -> Opened[Order]:
        """An order whose stage 0 people have opened."""
        order = self.order(**fields)
        self.real.bench.say_all(order, *started(order))
        return order

    def order(self, **fields: Any) -> Opened[Order]:
        """The order, not posted."""
        made: dict[str, Any] = {
            "targets": (V1.target(),),
            "stages": STAGES,
            "abort": ABORT,
            "at": self.now,
            "not_before": self.now,
            "expires": self.now + timedelta(days=90),
            "deadline_seconds": int(DEADLINE.total_seconds()),
        }
        return papers.order(**made | fields)

    def tell(self, device: str, **fields: Any) -> Opened[Report]:
        """One device reports."""
        said = report(self.devices[device], self.tips.get(device), at=self.now, **fields)
        self.real.bench.tell_all(said)
        self.tips[device] = said
        return said

    def confirm(self, order: Opened[Order], *devices: str) -> None:
        """They run what the order wants."""
        for device in devices:
            self.tell(device, about=order)

    def fail(self, order: Opened[Order], *devices: str) -> None:
        """They rolled back."""
        attempt = Attempt(
            order=order.id,
            target=order.said.targets[0].sha256,
            outcome="rolled_back",
            reason="health_check_failed",
            deferred_since=None,
        )
        for device in devices:
            self.tell(device, attempt=attempt)

    def later(self, **by: float) -> None:
        """Time goes by, for everybody."""
        self.real.now += timedelta(**by)
        self.real.place.clock.now = self.now
        self.real.bench.clock.now = self.now

    def published(self) -> None:
        """The log's checkpoint covers what was reported."""
        self.real.bench.back.checkpoints.publish()

    # What the server holds

    def dossier(self, order: Opened[Order]) -> Rollout:
        return self.real.bench.read(f"/v1/rollouts/{order.id}", Rollout)

    def goes(self, order: Opened[Order]) -> list[Go]:
        return [open_as(one, Go).said for one in self.dossier(order).goes]

    def stops(self, order: Opened[Order]) -> list[Stop]:
        return [open_as(one, Stop).said for one in self.dossier(order).stops]

    def open_stages(self, order: Opened[Order], cohort: str = CANARY) -> int:
        """How many stages a gateway would find open."""
        told = self.dossier(order)
        people = roster(*MONITORED, rules=OPS_ROSTER.rules, seq=2)
        kept = Papers(
            order,
            [open_as(one, Authorisation) for one in told.authorisations],
            [open_as(one, Go) for one in told.goes],
        )
        return len(read_chain(Judge(people, self.now), kept, cohort).stages)

    def reopen(self, order: Opened[Order], number: int = 1) -> Opened[Go]:
        """An operator's opening of a stage."""
        return opening(order, number, at=self.now)


class Watcher:
    """One monitor, with the settings that a person would write."""

    def __init__(self, watched: Watched, who: str = "mona", **own: Any) -> None:
        self.watched = watched
        self.who = who
        home = watched.real.place.home
        self.spool = home / "stops"
        self.spool.mkdir(exist_ok=True)
        self.config = home / f"{who}-monitor.toml"
        values = {"stops_directory": "stops"} | own
        settings = watched.real.place.config(
            who, log_key="log.pub.json", state_directory=f"state-{who}"
        )
        lines = [f"{name} = {_toml(value)}\n" for name, value in values.items()]
        self.config.write_text(settings.read_text() + "\n[monitor]\n" + "".join(lines))
        self.told = io.StringIO()
        self._monitor: Monitor | None = None

    @property
    def settings(self) -> MonitorSettings:
        return load(self.config)

    @property
    def monitor(self) -> Monitor:
        if self._monitor is None:
            self._monitor = Monitor(self.settings, self.watched.real.place.clock, self.told)
        return self._monitor

    def stop(self) -> None:
        """End the process."""
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    def restart(self) -> None:
        self.stop()

    def round(self) -> Result:
        """One round, which must not stand still."""
        result = self.attempt()
        assert result.error is None, result.error
        return result

    def attempt(self) -> Result:
        """One round, whatever becomes of it."""
        self.watched.published()
        return self.monitor.round()

    def sent(self) -> list[str]:
        """What one round sent, by the first word of its key."""
        return [one.key.split(" ")[0] for one in self.round().sent if one.state == "sent"]

    def waits(self) -> set[str]:
        """What waits, by name."""
        return {one.reason for verdict in self.round().verdicts for one in verdict.waits}

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert that was told so far."""
        return [json.loads(line) for line in self.told.getvalue().splitlines()]

    def names(self) -> list[str]:
        """The alerts that were told and not said to be over, by name."""
        return [one["alert"] for one in self.alerts() if not one.get("over")]


def _toml(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, dict) else _table(value)


def _table(value: dict[str, Any]) -> str:
    inside = ", ".join(f"{name} = {json.dumps(one)}" for name, one in value.items())
    return "{ " + inside + " }"


def made(home: Path) -> Watched:
    """A fleet to be watched."""
    watched = Watched(Real(home))
    watched.begin()
    return watched


def away(*_: object, **__: object) -> None:
    """In place of a call to the server."""
    raise TransientError("The server is away.")
