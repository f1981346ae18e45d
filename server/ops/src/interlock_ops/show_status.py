"""An order's status as a person reads it (pure: values in, rich renderables out).

Rules:

1. As ``show``: text that others wrote is shown as text, and ids are never cut.
2. Where the server's account differs from the signatures, that stands last, where it is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rich.console import RenderableType

from interlock_core.release import Image
from interlock_ops.next_steps import Step, step_words
from interlock_ops.show import fact, heading, line, roles, statement
from interlock_ops.tally import Tally, tally_lines
from interlock_ops.units import show_duration, show_time
from interlock_ops.view import CohortStatus, Status


def status(
    found: Status,
    images: Mapping[str, Image] | None = None,
    tallies: Mapping[str, Tally] | None = None,
    steps: Mapping[str, Sequence[Step]] | None = None,
) -> list[RenderableType]:
    """An order's status, computed from signatures.

    Args:
        found: how it stands.
        images: verified facts of its targets, by path.
        tallies: what devices do about it, by cohort.
        steps: what would have to happen next, by cohort.
    """
    dossier = found.dossier
    shown = statement(dossier.order.said, id_=dossier.order.id, images=images)
    for cohort in found.cohorts:
        shown += [line(""), *cohort_lines(cohort, found.now)]
        if tallies and cohort.cohort in tallies:
            shown += tally_lines(tallies[cohort.cohort])
        shown += step_lines(steps.get(cohort.cohort, ()) if steps else ())
    if found.differences:
        shown.append(heading("The server's account differs from what was signed:"))
        shown += [line(f"  {text}", "red") for text in found.differences]
    return shown


def step_lines(steps: Iterable[Step]) -> list[RenderableType]:
    """What would have to happen next, and how."""
    shown: list[RenderableType] = []
    for step in steps:
        shown.append(fact("next", step_words(step)))
        if step.command is not None:
            shown.append(line(f"               {step.command}", "dim"))
    return shown


def cohort_lines(cohort: CohortStatus, now: datetime) -> list[RenderableType]:
    """How an order stands at one cohort."""
    shown: list[RenderableType] = [
        heading(f"{cohort.cohort}: {cohort.state.replace('_', ' ')}"),
    ]
    if cohort.state == "denied":
        return [*shown, fact("", "no pattern of the roster covers this cohort")]
    if cohort.accepted_at is not None:
        shown.append(fact("accepted", show_time(cohort.accepted_at)))
    elif not cohort.author_counts:
        shown.append(fact("missing", "a signature of an operator over this cohort as its author"))
    if cohort.missing:
        shown.append(fact("missing", roles(cohort.missing)))
    if cohort.superseded_by:
        shown.append(fact("superseded", f"by {cohort.superseded_by}"))
    shown += [
        fact(
            "stop stands",
            f"{one.stop.id} by {one.stop.said.author}, {show_time(one.stop.said.at)}: "
            f"{one.stop.said.reason}"
            + (f" (site {one.stop.said.site})" if one.stop.said.site else "")
            + ("" if one.counts else " (its author may not stop here by the present roster)"),
        )
        for one in cohort.standing
    ]
    for stage in cohort.stages:
        shown += _stage_lines(cohort, stage.number, now)
    if cohort.objection:
        shown.append(fact("objection", cohort.objection))
    if cohort.live_until is not None:
        left = int((cohort.live_until - now).total_seconds())
        until = show_time(cohort.live_until)
        shown.append(
            fact("live until", f"{until} (in {show_duration(left)})")
            if left > 0
            else fact("lapsed at", f"{until}: a resume revives it")
        )
    return shown


def _stage_lines(cohort: CohortStatus, number: int, now: datetime) -> list[RenderableType]:
    stage = cohort.stages[number]
    name = f"stage {number}"
    if stage.since is None:
        waiting: list[RenderableType] = [
            fact(
                name,
                f"opening by {one.go.said.author} waits for {roles(one.missing)}: {one.go.id}"
                if one.missing
                else f"opening by {one.go.said.author} for {show_time(one.go.said.opened_at)}",
            )
            for one in stage.waiting
        ]
        return waiting or [fact(name, "not open")]
    text = f"open since {show_time(stage.since)}"
    if stage.soak_ends is not None:
        left = int((stage.soak_ends - now).total_seconds())
        text += f", soak left {show_duration(left)}" if left > 0 else ", soak over"
    return [fact(name, text)]
