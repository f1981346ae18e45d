"""A device for machines: one JSON object, the same in every command (pure)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from interlock_core.order import Order
from interlock_core.report import Report
from interlock_core.statement import Opened
from interlock_ops.device_view import DeviceView, Move
from interlock_ops.units import show_time
from interlock_ops.why import Why, age, why_facts

FIELDS: Final = {
    "device": "its id, as its enrolment says",
    "state": "waiting, countersigned, quarantined, superseded, revoked, decommissioned, or forged: "
    "nothing is believed",
    "enrolment": "id, at, key (fingerprint), hardware, product, site, cohort; null if unreadable",
    "countersigned": "by, role, at; null while nobody entitled has",
    "cohort, site, product": "where it is now; the cohort is that of its newest report",
    "running": "slot, sha256, version; null where unknown",
    "report": (
        "id, number, at, age_seconds, attempt (order, target, outcome, reason, permit), decided, "
        "trouble, interlock, health; null before one"
    ),
    "order": "id, seq, kind of the order in force for it; null where there is none",
    "why": "outcome, reason, detail, since, age_seconds, failing (checks)",
    "assignments": "id, author, from, to, seq, expires, lacking, done",
    "ending": "what ended it for good: id, author, at, reason; null while nothing did",
    "faults": "reason, detail of what does not verify",
    "differences": "where the server's account is not what the signatures say",
    "told": "by the server's account alone: state, received_at, quarantined, refused",
}


def device_facts(
    view: DeviceView, found: Why, order: Opened[Order] | None, now: datetime
) -> dict[str, Any]:
    """Everything about one device; ``FIELDS`` says what stands where."""
    enrolment, report = view.enrolment, view.report
    running = report.said.running if report is not None else None
    return {
        "device": view.device,
        "state": view.state,
        "enrolment": (
            {
                "id": enrolment.id,
                "at": show_time(enrolment.said.at),
                "key": enrolment.said.key.keyid,
                "hardware": enrolment.said.hardware,
                "product": enrolment.said.product,
                "site": enrolment.said.site,
                "cohort": enrolment.said.cohort,
            }
            if enrolment is not None
            else None
        ),
        "countersigned": (
            {
                "by": view.countersigned.by,
                "role": view.countersigned.role,
                "at": show_time(view.countersigned.at),
            }
            if view.countersigned is not None
            else None
        ),
        "cohort": view.cohort,
        "site": view.site,
        "product": view.product,
        "running": (
            {"slot": running.slot, "sha256": running.sha256, "version": running.version}
            if running is not None
            else None
        ),
        "report": _report(report, now) if report is not None else None,
        "order": (
            {"id": order.id, "seq": order.said.seq, "kind": order.said.kind}
            if order is not None
            else None
        ),
        "why": dict(why_facts(found, now)),
        "assignments": [_move(move) for move in view.moves],
        "ending": (
            {
                "id": view.ending.id,
                "author": view.ending.said.author,
                "at": show_time(view.ending.said.at),
                "reason": view.ending.said.reason,
            }
            if view.ending is not None
            else None
        ),
        "faults": [{"reason": fault.reason, "detail": fault.detail} for fault in view.faults],
        "differences": list(view.differences),
        "told": {
            "state": view.told.state,
            "received_at": (
                show_time(view.told.received_at) if view.told.received_at is not None else None
            ),
            "quarantined": view.told.quarantined,
            "refused": dict(sorted(view.told.refused.items())),
        },
    }


def _report(report: Opened[Report], now: datetime) -> dict[str, Any]:
    said = report.said
    attempt, decided, trouble = said.attempt, said.decided, said.trouble
    return {
        "id": report.id,
        "number": said.number,
        "at": show_time(said.at),
        "age_seconds": age(now, said.at),
        "attempt": (
            {
                "order": attempt.order,
                "target": attempt.target,
                "outcome": attempt.outcome,
                "reason": attempt.reason,
                "permit": attempt.permit or None,
            }
            if attempt is not None
            else None
        ),
        "decided": (
            {
                "at": show_time(decided.at),
                "order": decided.order,
                "reason": decided.reason,
                "detail": decided.detail,
            }
            if decided is not None
            else None
        ),
        "trouble": (
            {"reason": trouble.reason, "since": show_time(trouble.since)}
            if trouble is not None
            else None
        ),
        "interlock": {
            "mode": said.interlock.mode,
            "clear": said.interlock.clear,
            "checks": {check.name: check.passed for check in said.interlock.checks},
        },
        "health": {check.name: check.passed for check in said.health},
    }


def _move(move: Move) -> dict[str, Any]:
    said = move.assignment.said
    return {
        "id": move.assignment.id,
        "author": said.author,
        "from": said.from_cohort,
        "to": said.to_cohort,
        "seq": said.seq,
        "expires": show_time(said.expires),
        "lacking": list(move.lacking),
        "done": move.done,
    }
