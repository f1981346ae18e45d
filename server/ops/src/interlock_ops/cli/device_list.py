"""``device list``: the devices of the fleet, and why each is where it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, get_args

import click
from rich.console import RenderableType

from interlock_core.api import EnrolmentState
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.options import name
from interlock_ops.cli.survey import Doubts, Seen, survey
from interlock_ops.device_facts import FIELDS, device_facts
from interlock_ops.device_view import STATES
from interlock_ops.show import columns, line
from interlock_ops.units import show_age
from interlock_ops.why import in_words

EXAMPLES: Final = (
    "interlock-ops device list",
    "interlock-ops device list --state waiting --site st-anna",
    "interlock-ops device list --reason interlock_not_clear --json",
)
Row = tuple[str, str, str, str, str, str, str, str]
ANSWERS: Final = {"devices": "one object each, with:", **FIELDS}


@click.command("list", cls=Operation, examples=EXAMPLES, answers=ANSWERS)
@click.option("--cohort", type=name, help="Only those that the server lists in this cohort.")
@click.option("--site", type=name, help="Only those of this site.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--reason", help="Only those that are where they are for this reason.")
def device_list(
    run: Run, cohort: str | None, site: str | None, state: str | None, reason: str | None
) -> Answer:
    """List devices: what each runs, what it does about the order in force, and why.

    Everything is judged here, from what the devices and people signed. A device whose papers do not
    verify is shown as forged, and never dropped from the list.
    """
    doubts = Doubts()
    asked = state if state in get_args(EnrolmentState) else None
    now = run.session.clock()
    rows: list[Row] = []
    facts: list[dict[str, Any]] = []
    for seen in survey(run, doubts, cohort=cohort, site=site, state=asked):
        # One in another state than the server says is what somebody who looks wants to see.
        fits = state is None or seen.view.state == state or (asked is not None and _odd(seen))
        if not fits or reason not in (None, seen.why.reason):
            continue
        # Of a large fleet nothing is kept but what will be said.
        if run.voice.as_json:
            facts.append(device_facts(seen.view, seen.why, seen.order, now))
        else:
            rows.append(row(seen, now))
    doubts.tell(run)
    return Answer(doubts.reason("listed"), table(rows), {"devices": facts})


def _odd(seen: Seen) -> bool:
    return bool(seen.view.differences or seen.view.faults)


def row(seen: Seen, now: datetime) -> Row:
    """A device in one line: where, what it runs and does, and why."""
    view, report = seen.view, seen.view.report
    running = report.said.running if report is not None else None
    return (
        view.device,
        view.site or "-",
        view.cohort or "-",
        view.state,
        running.version if running is not None else "-",
        show_age(now, view.heard_at),
        "-" if seen.why.outcome == view.state else seen.why.outcome.replace("_", " "),
        "-" if seen.why.done else in_words(seen.why, now),
    )


def table(rows: Sequence[Row]) -> list[RenderableType]:
    """Devices, one a line."""
    if not rows:
        return [line("The server lists no such devices.")]
    return columns([("device", "site", "cohort", "state", "runs", "heard", "does", "why"), *rows])
