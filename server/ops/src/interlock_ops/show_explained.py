"""Why a gateway is not updating, as people and machines read it (pure).

Rules:

1. The answer stands first, in one line; then what it follows from, rule by rule; then what nobody
   outside knows.
2. What the server says about it is said to be its word.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import RenderableType

from interlock_core.facts import Grant
from interlock_ops.device_view import DeviceView
from interlock_ops.dossier import Dossier
from interlock_ops.explaining import Explained, points_words
from interlock_ops.next_steps import Step, step_facts
from interlock_ops.show import fact, heading, line
from interlock_ops.show_status import step_lines
from interlock_ops.units import show_age, show_time
from interlock_ops.why import in_words, why_facts

FROM: Final = {
    "decision": "the gateway's own decision, made here on what is known",
    "report": "the gateway's own words",
    "papers": "its papers",
    "silence": "its silence",
}
FIELDS: Final = {
    "because": "reason, detail, source (decision, report, papers, silence): the answer",
    "decision": "outcome (granted or refused), reason, detail, checks (rule, passed, detail); null "
    "where no order is in force",
    "says": "what the gateway said last, as in 'device show'",
    "device, cohort, site, order": "where it stands; the order is null where none is in force",
    "point, stage": "its place in the order, 0 to 9999, and the first stage that has it inside",
    "heard_at": "when it signed its newest report; null before one",
    "unknown": "what nobody outside the gateway knows",
    "next": "who could do what about it",
    "server": "by the server's account alone: why it does not go on at the cohort",
}


def explained_facts(
    found: Explained,
    view: DeviceView,
    dossier: Dossier | None,
    steps: Sequence[Step],
    told: str | None,
    now: datetime,
) -> dict[str, Any]:
    """For machines; ``FIELDS`` says what stands where."""
    order = dossier.order if dossier is not None else None
    return {
        "device": view.device,
        "cohort": view.cohort,
        "site": view.site,
        "because": {
            "reason": found.because.reason,
            "detail": found.because.detail,
            "source": found.because.source,
        },
        "decision": _decision(found),
        "says": dict(why_facts(found.says, now)),
        "order": (
            {"id": order.id, "seq": order.said.seq, "kind": order.said.kind}
            if order is not None
            else None
        ),
        "point": found.point,
        "stage": found.stage,
        "heard_at": show_time(view.heard_at) if view.heard_at is not None else None,
        "unknown": list(found.unknown),
        "next": [step_facts(step) for step in steps],
        "server": told,
    }


def _decision(found: Explained) -> dict[str, Any] | None:
    if found.decision is None:
        return None
    verdict = found.decision.verdict
    failed = next((check for check in found.checks if not check.passed), None)
    granted = isinstance(verdict, Grant) and failed is None
    return {
        "outcome": "granted" if granted else "refused",
        "reason": "granted" if isinstance(verdict, Grant) else str(verdict.reason),
        "detail": failed.detail
        if failed is not None
        else "nothing that is known stands in the way",
        "checks": [
            {"rule": check.rule, "passed": check.passed, "detail": check.detail}
            for check in found.checks
        ],
    }


def explained_lines(
    found: Explained,
    view: DeviceView,
    dossier: Dossier | None,
    steps: Sequence[Step],
    told: str | None,
    now: datetime,
) -> list[RenderableType]:
    """For people (rule 1)."""
    because = found.because
    detail = f": {because.detail}" if because.detail else ""
    shown: list[RenderableType] = [
        heading(f"{view.device}: {because.reason}{detail}"),
        fact("by", FROM[because.source]),
        fact("cohort", f"{view.cohort or 'unknown'}, at {view.site or 'an unknown site'}"),
    ]
    if dossier is not None:
        said = dossier.order.said
        name = f"{said.product} {said.seq}, {said.kind}, {said.targets[0].path}"
        shown.append(fact("order", f"{dossier.order.id} ({name})"))
        shown.append(fact("point", points_words(found, dossier)))
    if view.heard_at is None:
        shown.append(fact("last report", "none"))
    else:
        words = in_words(found.says, now)
        does = found.says.outcome.replace("_", " ")
        shown.append(fact("last report", f"{show_age(now, view.heard_at)} ago: {does}, {words}"))
    if found.checks:
        shown.append(heading("What it would decide now:"))
    for check in found.checks:
        detail = f": {check.detail}" if check.detail else ""
        style = "" if check.passed else "red"
        shown.append(line(f"  {'pass' if check.passed else 'FAIL'}  {check.rule}{detail}", style))
    if found.unknown:
        shown.append(heading("What nobody outside knows, and is taken to be in order:"))
        shown += [line(f"  {one}") for one in found.unknown]
    if told is not None:
        shown.append(fact("server", f"{told} (by the server's account)"))
    return [*shown, *step_lines(steps)]
