"""Why a device is where it is: one answer, whatever is known of it (pure).

Rules:

1. What a device does about the order in force is read from its own signed report, by core's code
   (``fleet.action``).
2. Where nothing is believed or counted, that is the answer: it is forged, waits for a
   countersignature, was ended for good, or is quarantined or superseded by the server's account.
3. Times are those that the device signed. A device that is silent is told by the age of what it
   said last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from interlock_core.fleet import action
from interlock_core.order import Order
from interlock_core.report import Report
from interlock_core.statement import Opened
from interlock_ops.device_view import REPORT_FAULTS, DeviceView
from interlock_ops.units import show_age, show_time

DONE: Final = frozenset({"confirmed", "already_installed"})
"""Outcomes after which nothing is left to do."""
INTERLOCK: Final = "interlock_not_clear"


@dataclass(frozen=True)
class Why:
    """What a device does, and why.

    Attributes:
        outcome: of ``report.Outcome``; or ``forged``, ``waiting``, ``quarantined``, ``superseded``;
            or ``idle``, where no order is in force.
        reason: a stable name.
        detail: a sentence for people.
        since: when the device said so first, or None.
        failing: the checks that hold it back.
    """

    outcome: str
    reason: str
    detail: str
    since: datetime | None
    failing: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.outcome in DONE


def why(view: DeviceView, order: Opened[Order] | None) -> Why:
    """Why a device is where it is (rules 1 and 2).

    Args:
        view: the device.
        order: the order in force for it, or None.
    """
    if view.state == "forged":
        return Why("forged", view.faults[0].reason, view.faults[0].detail, None)
    assert view.enrolment is not None  # or else it would be forged
    said = view.enrolment.said
    if view.state == "waiting":
        who = f"an operator over {said.cohort} or an engineer of {said.site}"
        return Why("waiting", "not_countersigned", f"it waits for {who} to countersign", said.at)
    if view.state == "superseded":
        return Why("superseded", "superseded", "a later enrolment took its place", None)
    if view.state in {"revoked", "decommissioned"}:
        if view.ending is None:
            return Why(view.state, view.state, "by the server's account alone", None)
        end = view.ending.said
        what = "its key was revoked" if view.state == "revoked" else "it was taken out of service"
        return Why(view.state, view.state, f"{what} by {end.author}: {end.reason}", end.at)
    if view.state == "quarantined":
        told = view.told.quarantined or "the server does not say why"
        return Why("quarantined", "quarantined", told, None)
    for fault in view.faults:
        if fault.reason in REPORT_FAULTS:
            return Why("scheduled", fault.reason, fault.detail, None)
    report = view.report.said if view.report is not None else None
    if order is None:
        return _idle(view, report)
    found = action(order, report)
    return Why(
        found.outcome,
        found.reason,
        found.detail,
        found.since,
        _failing(report, found.reason) if found.outcome not in DONE else (),
    )


def _idle(view: DeviceView, report: Report | None) -> Why:
    if report is None:
        assert view.countersigned is not None  # or else it would wait
        return Why("idle", "no_report", "it has not reported yet", view.countersigned.at)
    if report.trouble is not None:
        detail = f"every poll is refused since {show_time(report.trouble.since)}"
        return Why("rejected", report.trouble.reason, detail, report.trouble.since)
    return Why("idle", "nothing_wanted", "no order is in force for it", report.at)


def _failing(report: Report | None, reason: str) -> tuple[str, ...]:
    if report is None:
        return ()
    checks = report.interlock.checks if reason == INTERLOCK else report.health
    return tuple(check.name for check in checks if not check.passed)


def in_words(found: Why, now: datetime) -> str:
    """``since 2h: interlock_not_clear (bedside)``."""
    since = f"since {show_age(now, found.since)}: " if found.since is not None else ""
    failing = f" ({', '.join(found.failing)})" if found.failing else ""
    told = found.reason.replace("_", " ")
    more = f", {found.detail}" if found.detail and found.detail != told and not failing else ""
    return f"{since}{found.reason}{failing}{more}"


def why_facts(found: Why, now: datetime) -> Mapping[str, Any]:
    """For machines."""
    return {
        "outcome": found.outcome,
        "reason": found.reason,
        "detail": found.detail,
        "since": show_time(found.since) if found.since is not None else None,
        "age_seconds": age(now, found.since),
        "failing": list(found.failing),
    }


def age(now: datetime, since: datetime | None) -> int | None:
    """Whole seconds since then; never less than none."""
    return None if since is None else max(0, int((now - since).total_seconds()))
