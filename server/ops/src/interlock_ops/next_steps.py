"""What would have to happen next at a cohort, and who can do it (pure).

Rules:

1. It follows from the signatures and the verified roster: who is missing by the cohort's rule, what
   waits, what stopped or lapsed, and when the next stage may open.
2. Names are those who could act now; whoever has signed already, and the author, are left out.
3. Where only gateways are left, their own reasons stand with the counts: nobody can force them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from interlock_core.roster import MONITOR, OPERATOR, Judge
from interlock_ops.dossier import Dossier
from interlock_ops.entitled import holders
from interlock_ops.tally import Tally
from interlock_ops.units import show_time
from interlock_ops.view import CohortStatus, StageStatus, missing_for

Act = Literal[
    "authorise", "start", "advance", "renew", "resume", "propose", "wait", "countersign", "roster"
]


@dataclass(frozen=True)
class Step:
    """One thing that would have to happen.

    Attributes:
        role: that does it; None where nobody needs to.
        people: who could, by name.
        text: for people.
        not_before: from when on, or by when for a renewal.
        command: how, or None.
    """

    act: Act
    role: str | None
    people: tuple[str, ...]
    text: str
    not_before: datetime | None = None
    command: str | None = None


def next_steps(
    judge: Judge, dossier: Dossier, status: CohortStatus, tally: Tally | None
) -> tuple[Step, ...]:
    """What would have to happen next for an order at one cohort."""
    found = [*_about_order(judge, dossier, status)]
    if tally is not None and tally.waiting:
        found.append(
            Step(
                "countersign",
                OPERATOR,
                holders(judge, OPERATOR, status.cohort),
                f"countersign {len(tally.waiting)} that wait, or an engineer of their site",
                command="interlock-ops device countersign --waiting "
                f"--cohort {status.cohort} --role ROLE --reason ...",
            )
        )
    return tuple(found)


def step_facts(step: Step) -> dict[str, Any]:
    """For machines."""
    return {
        "act": step.act,
        "role": step.role,
        "people": list(step.people),
        "text": step.text,
        "not_before": show_time(step.not_before) if step.not_before is not None else None,
        "command": step.command,
    }


def step_words(step: Step) -> str:
    """For people."""
    who = f" ({', '.join(step.people)})" if step.people else ""
    if step.role is None:
        return step.text
    none = "" if step.people else ", and the roster has nobody who could"
    return f"{step.role}{who}: {step.text}{none}"


def _about_order(judge: Judge, dossier: Dossier, status: CohortStatus) -> Iterator[Step]:
    order, id_, cohort = dossier.order.said, dossier.order.id, status.cohort
    operators = holders(judge, OPERATOR, cohort)
    match status.state:
        case "denied":
            text = f"those who sign the roster: a rule that covers {cohort}"
            yield Step("roster", None, (), text)
        case "superseded" | "expired":
            text = "propose a new order, if one is still wanted"
            yield Step("propose", OPERATOR, operators, text)
        case "waiting_for_approval":
            if not status.author_counts:
                text = f"propose it: {order.author} is no operator here by the present roster"
                yield Step("propose", OPERATOR, operators, text)
                return
            yield from _authorise(
                judge, dossier, cohort, id_, order.author, status.missing, f"{id_} "
            )
        case "paused" | "lapsed":
            yield from _revive(judge, dossier, status)
        case "scheduled" | "ready" | "running":
            yield from _open(judge, dossier, status)


def _authorise(
    judge: Judge,
    dossier: Dossier,
    cohort: str,
    subject: str,
    author: str,
    missing: Mapping[str, int],
    words: str,
) -> Iterator[Step]:
    spoken = {word.said.author for word in dossier.authorisations if word.said.id == subject}
    for role, count in sorted(missing.items()):
        yield Step(
            "authorise",
            role,
            holders(judge, role, cohort, but={author, *spoken}),
            f"authorise {'the order' if subject == dossier.order.id else 'the go'} "
            f"({count} of this role)",
            command=f"interlock-ops rollout authorise {words}--role {role} --reason ...",
        )


def _revive(judge: Judge, dossier: Dossier, status: CohortStatus) -> Iterator[Step]:
    """A resume waits for others, or has to be signed."""
    stops = {one.stop.id for one in status.standing if one.counts}
    for go in dossier.goes:
        if go.said.act != "resume" or not stops <= set(go.said.clears):
            continue
        if (
            judge.author_is(go, (OPERATOR,), status.cohort) is None
            or go.said.valid_until <= judge.now
        ):
            continue
        missing = missing_for(judge, dossier, go, status.cohort)
        if missing:
            yield from _authorise(
                judge, dossier, status.cohort, go.id, go.said.author, missing, f"--go {go.id} "
            )
            return
    what = f"end {len(stops)} stop{'s' if len(stops) > 1 else ''}" if stops else "revive it"
    yield Step(
        "resume",
        OPERATOR,
        holders(judge, OPERATOR, status.cohort),
        f"{what}, when the cause is found; then others authorise it",
        command=f"interlock-ops rollout resume {dossier.order.id} --reason ...",
    )


def _open(judge: Judge, dossier: Dossier, status: CohortStatus) -> Iterator[Step]:
    order, id_, cohort = dossier.order.said, dossier.order.id, status.cohort
    closed = [stage for stage in status.stages if stage.since is None]
    mine = any(cohort in order.stages[stage.number].cohorts for stage in closed)
    stage = closed[0] if mine else None
    if stage is not None:
        yield from _open_stage(judge, dossier, status, stage)
    if status.live_until is not None and status.state == "running":
        yield Step(
            "renew",
            OPERATOR,
            holders(judge, OPERATOR, cohort),
            f"renew it by {show_time(status.live_until)}, or else it lapses",
            status.live_until,
            f"interlock-ops rollout renew {id_} --reason ...",
        )
    if stage is None:
        text = "every stage of this cohort is open: what is left is for its gateways"
        yield Step("wait", None, (), text)


def _open_stage(
    judge: Judge, dossier: Dossier, status: CohortStatus, stage: StageStatus
) -> Iterator[Step]:
    order, id_, cohort = dossier.order.said, dossier.order.id, status.cohort
    soak = _soak_ends(status.stages)
    early = soak is not None and soak > judge.now
    if order.stages[stage.number].gate == "auto":
        who = holders(judge, MONITOR, cohort)
        text = f"open stage {stage.number}, when the soak is over and failures are few"
        yield Step("advance", MONITOR, who, text, soak)
        return
    for waiting in stage.waiting:
        go = waiting.go
        if waiting.missing:
            yield from _authorise(
                judge, dossier, cohort, go.id, go.said.author, waiting.missing, f"--go {go.id} "
            )
            return
        if go.said.opened_at > judge.now:
            text = f"stage {stage.number} opens at {show_time(go.said.opened_at)}"
            yield Step("wait", None, (), text, go.said.opened_at)
            return
    act: Act = "start" if stage.number == 0 else "advance"
    when = f", not before {show_time(soak)}" if early else ""
    asked = judge.rules_for(cohort)
    rule = {} if asked is None else (asked.start if stage.number == 0 else asked.advance)
    others = "; then others authorise it" if rule else ""
    yield Step(
        act,
        OPERATOR,
        holders(judge, OPERATOR, cohort),
        f"open stage {stage.number}{when}{others}",
        soak if early else None,
        f"interlock-ops rollout {act} {id_} --reason ...",
    )


def _soak_ends(stages: Iterable[StageStatus]) -> datetime | None:
    return next((stage.soak_ends for stage in stages if stage.soak_ends is not None), None)
