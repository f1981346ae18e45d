"""Counting what devices do about one order (pure).

Rules:

1. Only devices whose papers verify are counted. One that is quarantined, that waits for its
   countersignature or that is forged stands beside the counts, by name.
2. Who is done is counted; who is not is named, with the reason and since when.
3. A device that has been silent for longer than the order's deadline is named: silence counts as a
   failure. What is dated further ahead than that says nothing of when it was made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from rich.console import RenderableType

from interlock_core.order import Order
from interlock_core.placed import Placing
from interlock_core.statement import Opened
from interlock_ops.device_view import DeviceView
from interlock_ops.show import fact, line
from interlock_ops.units import show_age, show_duration, show_time
from interlock_ops.why import Why, age, why_facts

SHOWN: Final = 5
"""So many devices are named in one line; ``--json`` names all."""
FIELDS: Final = (
    "total, done, inside (the open stages; null where the releases were not read), by_action, "
    "by_reason (of those not done), not_done (device, site, outcome, reason, detail, since, "
    "age_seconds, failing), silent (device, heard_at, age_seconds), stop_seen (devices, "
    "slowest_seconds; null where no stop stands), quarantined (device, detail), waiting (device "
    "ids), faulty (device, reason, detail)"
)


@dataclass(frozen=True)
class Left:
    """A device that is not done."""

    device: str
    site: str | None
    why: Why


@dataclass
class Tally:
    """The devices of one cohort or site under one order.

    Args:
        now: when they are counted.
        order: the order that they are counted for; None where none is in force.
        stages_open: how many of its stages are open here.
        stopped_at: since when a stop stands here, or None.
        placing: where the order's gateways stand; None where that could not be read.
    """

    now: datetime
    order: Opened[Order] | None
    stages_open: int = 0
    stopped_at: datetime | None = None
    placing: Placing | None = None
    total: int = 0
    inside: int = 0
    by_action: Counter[str] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)
    not_done: list[Left] = field(default_factory=list)
    silent: list[tuple[str, datetime]] = field(default_factory=list)
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    faulty: list[tuple[str, str, str]] = field(default_factory=list)
    stop_seen: list[timedelta] = field(default_factory=list)

    @property
    def done(self) -> int:
        """How many have nothing left to do."""
        return self.total - len(self.not_done)

    def add(self, view: DeviceView, found: Why) -> None:
        """Count one device, or set it beside the counts (rule 1)."""
        self.faulty += [(view.device, fault.reason, fault.detail) for fault in view.faults]
        if view.state == "waiting":
            self.waiting.append(view.device)
        elif view.state == "quarantined":
            self.quarantined.append((view.device, found.detail))
        elif view.state == "superseded":
            # A list holds one enrolment of each device, and this is not the one in force.
            detail = "the server says that another enrolment took its place, and does not show it"
            self.faulty.append((view.device, "superseded", detail))
        if not view.counted:
            return
        self._note_stop(view)
        self.total += 1
        self.inside += self._inside(view)
        self.by_action[found.outcome] += 1
        if not found.done:
            self.by_reason[found.reason] += 1
            self.not_done.append(Left(view.device, view.site, found))
        if self.order is not None:
            deadline = timedelta(seconds=self.order.said.deadline_seconds)
            heard = view.heard_at
            ahead = view.report is not None and view.report.said.at - self.now > deadline
            if (heard is None or ahead) and view.countersigned is not None:
                heard = view.countersigned.at
            if heard is not None and self.now - heard > deadline:
                self.silent.append((view.device, heard))

    def _note_stop(self, view: DeviceView) -> None:
        """How long it took until the device found the stop, by its own words."""
        decided = view.report.said.decided if view.report is not None else None
        if self.stopped_at is None or self.order is None or decided is None:
            return
        if (decided.order, decided.reason) == (self.order.id, "stopped"):
            self.stop_seen.append(max(timedelta(0), decided.at - self.stopped_at))

    def _inside(self, view: DeviceView) -> bool:
        if self.placing is None or view.cohort is None or view.enrolment is None:
            return False
        running = view.report.said.running if view.report is not None else None
        digest = running.sha256 if running is not None else None
        hardware = view.enrolment.said.hardware
        stage = self.placing.stage(view.cohort, view.device, hardware, digest)
        return stage is not None and stage < self.stages_open


def tally_facts(tally: Tally) -> dict[str, Any]:
    """For machines; ``FIELDS`` says what stands where."""
    return {
        "total": tally.total,
        "done": tally.done,
        "inside": tally.inside if tally.order is None or tally.placing is not None else None,
        "by_action": dict(sorted(tally.by_action.items())),
        "by_reason": dict(sorted(tally.by_reason.items())),
        "not_done": [
            {"device": left.device, "site": left.site, **why_facts(left.why, tally.now)}
            for left in tally.not_done
        ],
        "silent": [
            {
                "device": device,
                "heard_at": show_time(heard),
                "age_seconds": age(tally.now, heard),
            }
            for device, heard in tally.silent
        ],
        "quarantined": [
            {"device": device, "detail": detail} for device, detail in tally.quarantined
        ],
        "stop_seen": (
            {
                "devices": len(tally.stop_seen),
                "slowest_seconds": _slowest(tally),
            }
            if tally.stopped_at is not None
            else None
        ),
        "waiting": list(tally.waiting),
        "faulty": [
            {"device": device, "reason": reason, "detail": detail}
            for device, reason, detail in tally.faulty
        ],
    }


def _slowest(tally: Tally) -> int | None:
    return int(max(tally.stop_seen).total_seconds()) if tally.stop_seen else None


def tally_lines(tally: Tally) -> list[RenderableType]:
    """For people: the counts, and who is not done and why, the longest waiting first."""
    counts = ", ".join(f"{count} {_words(name)}" for name, count in _ranked(tally.by_action))
    inside = f" ({tally.inside} inside the open stages)" if tally.placing is not None else ""
    shown: list[RenderableType] = [
        fact("devices", f"{tally.total}{inside}{': ' + counts if counts else ''}")
    ]
    groups: dict[tuple[str, str], list[Left]] = {}
    for left in tally.not_done:
        groups.setdefault((left.why.outcome, left.why.reason), []).append(left)
    for (outcome, reason), lefts in sorted(groups.items(), key=lambda one: -len(one[1])):
        shown.append(fact(_words(outcome), f"{len(lefts)} {_group(reason, lefts, tally.now)}"))
    if tally.stopped_at is not None:
        slowest = _slowest(tally)
        last = f", the slowest after {show_duration(slowest)}" if slowest is not None else ""
        text = f"{len(tally.stop_seen)} of {tally.total} say that they found it{last}"
        shown.append(fact("stop", text))
    if tally.silent:
        named = [f"{device} for {show_age(tally.now, at)}" for device, at in tally.silent]
        shown.append(fact("silent", f"{len(named)} beyond the deadline: {_named(named)}"))
    if tally.quarantined:
        named = [f"{device} ({detail})" for device, detail in tally.quarantined]
        shown.append(fact("quarantined", f"{len(named)}, not counted: {_named(named)}"))
    if tally.waiting:
        text = f"{len(tally.waiting)} wait for a countersignature: {_named(tally.waiting)}"
        shown.append(fact("not let in", text))
    if tally.faulty:
        named = [f"{device} ({detail})" for device, _, detail in tally.faulty]
        shown.append(line(f"  {'not believed':<12} {len(named)}: {_named(named)}", "red"))
    return shown


def _group(reason: str, lefts: Sequence[Left], now: datetime) -> str:
    oldest = sorted(lefts, key=lambda left: (left.why.since or now, left.device))
    named = []
    for left in oldest:
        since = f" since {show_age(now, left.why.since)}" if left.why.since is not None else ""
        failing = f" ({', '.join(left.why.failing)})" if left.why.failing else ""
        named.append(f"{left.device}{since}{failing}")
    detail = lefts[0].why.detail
    told = f" ({detail})" if len(lefts) == 1 and detail not in ("", _words(reason)) else ""
    return f"{reason}: {_named(named)}{told}"


def _named(named: Iterable[str]) -> str:
    every = list(named)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more


def _ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def _words(name: str) -> str:
    return name.replace("_", " ")
