"""One device as a person reads it (pure: values in, rich renderables out).

Rules:

1. As ``show``: text that others wrote is shown as text, and ids are never cut.
2. What is only the server's word is said to be.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.console import RenderableType

from interlock_core.order import Order
from interlock_core.report import CheckResult, Report
from interlock_core.statement import Opened
from interlock_ops.device_view import DeviceView, Move
from interlock_ops.show import fact, heading, line
from interlock_ops.units import show_age, show_time
from interlock_ops.why import Why, in_words


def one_device(
    view: DeviceView, found: Why, order: Opened[Order] | None, now: datetime
) -> list[RenderableType]:
    """A device whole: who it is, who let it in, what it runs and does, and why."""
    if view.enrolment is None:
        return [heading(f"{view.device}: {view.state}"), *_doubts(view)]
    said = view.enrolment.said
    let_in = view.countersigned
    shown: list[RenderableType] = [
        heading(f"{view.device}: {view.state}"),
        fact("enrolment", view.enrolment.id),
        fact("asked at", show_time(said.at)),
        fact("key", said.key.keyid),
        fact("hardware", said.hardware),
        fact("product", said.product),
        fact("site", said.site),
        fact("cohort", _cohort(view)),
        fact(
            "let in by",
            f"{let_in.by} as {let_in.role}, {show_time(let_in.at)}"
            if let_in is not None
            else f"nobody yet: an operator over {said.cohort} or an engineer of {said.site} may",
        ),
    ]
    shown += _said(view.report.said, now) if view.report is not None else []
    if order is not None:
        name = f"{order.said.product} {order.said.seq}, {order.said.kind}"
        shown.append(fact("order", f"{order.id} ({name}, {order.said.targets[0].path})"))
    if found.outcome != view.state or found.reason == "not_countersigned":
        does = found.outcome.replace("_", " ")
        shown.append(fact("does", f"{does} {in_words(found, now)}"))
    for move in view.moves:
        shown += _move(view, move)
    return [*shown, *_doubts(view), *_told(view, now)]


def _cohort(view: DeviceView) -> str:
    assert view.enrolment is not None  # the caller's
    first = view.enrolment.said.cohort
    return f"{view.cohort}, enrolled in {first}" if view.cohort != first else first


def _said(report: Report, now: datetime) -> list[RenderableType]:
    running, decided, trouble = report.running, report.decided, report.trouble
    shown: list[RenderableType] = [
        fact(
            "heard",
            f"{show_age(now, report.at)} ago, {show_time(report.at)} (report {report.number})",
        ),
        fact(
            "runs",
            f"{running.version} in slot {running.slot}, sha256 {running.sha256}"
            if running is not None
            else "it does not know: nothing was confirmed here yet",
        ),
    ]
    if report.attempt is not None and report.attempt.permit:
        by = f"{report.attempt.permit}, under order {report.attempt.order}"
        shown.append(fact("permit", f"{by} ({report.attempt.outcome.replace('_', ' ')})"))
    if decided is not None:
        shown.append(
            fact("decided", f"{decided.reason} at {show_time(decided.at)}: {decided.detail}")
        )
    if trouble is not None:
        since = f"{show_time(trouble.since)} ({show_age(now, trouble.since)})"
        shown.append(fact("trouble", f"{trouble.reason} at every poll since {since}"))
    interlock = "NONE is configured" if report.interlock.mode == "none" else ""
    if not interlock:
        interlock = "clear" if report.interlock.clear else "not clear"
    shown.append(fact("interlock", interlock + _checks(report.interlock.checks)))
    if report.health:
        healthy = all(check.passed for check in report.health)
        shown.append(fact("health", ("passed" if healthy else "failed") + _checks(report.health)))
    return shown


def _checks(checks: Iterable[CheckResult]) -> str:
    named = [f"{check.name} {'passed' if check.passed else 'FAILED'}" for check in checks]
    return f": {', '.join(named)}" if named else ""


def _move(view: DeviceView, move: Move) -> list[RenderableType]:
    said = move.assignment.said
    text = f"{said.seq}: from {said.from_cohort} to {said.to_cohort} by {said.author}"
    if move.done:
        state = "done"
    elif said.from_cohort != view.cohort:
        state = f"does not apply: it is in {view.cohort}"
    elif move.lacking:
        state = f"lacks {', '.join(move.lacking)}"
    else:
        state = f"counts; until {show_time(said.expires)}, if its own configuration allows it"
    return [fact("assignment", text), fact("", state), fact("", move.assignment.id)]


def _doubts(view: DeviceView) -> list[RenderableType]:
    shown = [line(f"  {'not believed':<12} {fault.detail}", "red") for fault in view.faults]
    shown += [line(f"  {'differs':<12} {text}", "red") for text in view.differences]
    return [*shown]


def _told(view: DeviceView, now: datetime) -> list[RenderableType]:
    told = view.told
    shown: list[RenderableType] = []
    if told.quarantined is not None:
        shown.append(fact("quarantined", f"{told.quarantined} (by the server's account)"))
    if told.received_at is not None:
        age = show_age(now, told.received_at)
        shown.append(
            fact("received", f"{age} ago, {show_time(told.received_at)} (by the server's clock)")
        )
    if told.refused:
        counts = ", ".join(f"{reason} {count}" for reason, count in sorted(told.refused.items()))
        shown.append(fact("refused", f"in its name, by the server's account: {counts}"))
    return shown
