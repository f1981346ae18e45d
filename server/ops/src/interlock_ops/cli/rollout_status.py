"""``rollout status``: how an order stands by its signatures, or the list of orders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from interlock_core import wire
from interlock_core.decide import MAX_ROSTER_AGE
from interlock_core.errors import InterlockError, NotFoundError, RefusedError, WireError
from interlock_core.order import Order
from interlock_core.release import Image
from interlock_ops.cli.common import permits_of, verified_images
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.options import statement_id
from interlock_ops.cli.survey import Doubts
from interlock_ops.device_view import DeviceView
from interlock_ops.dossier import Dossier
from interlock_ops.excluding import exclusion_facts, exclusion_lines
from interlock_ops.fleet_reads import devices, read_stages
from interlock_ops.monitor_silence import monitor_facts, silence
from interlock_ops.next_steps import Step, next_steps, step_facts
from interlock_ops.recall_reads import try_placing
from interlock_ops.show import rollouts
from interlock_ops.show_status import status
from interlock_ops.tally import FIELDS, Tally, tally_facts
from interlock_ops.units import show_time
from interlock_ops.view import CohortStatus, Status, read_status
from interlock_ops.watching import counted
from interlock_ops.watching import facts as progress_facts
from interlock_ops.why import why

EXAMPLES: Final = (
    "interlock-ops rollout status",
    "interlock-ops rollout status ORDER_ID --json",
    "interlock-ops rollout status ORDER_ID --no-devices",
)
ANSWERS: Final = {
    "rollouts": "without ORDER_ID: the server's list",
    "id, order, at": "the order, and when it was judged",
    "cohorts": "by name: state, accepted_at, author_counts, missing, objection, live_until, "
    "superseded_by, stops, stages, devices, next",
    "cohorts.*.devices": f"{FIELDS}; null where they were not read",
    "cohorts.*.next": "act, role, people, text, not_before, command",
    "counters": "of the server, as 'rollout watch' answers; null where they were not read",
    "monitors": "name, seen_at, signed_at, silent: when the server heard each, or null",
    "exclusions": "known issues: id, author, device or failure, and by cohort counts_since, "
    "author_counts, missing",
    "differences": "where the server's account is not what was signed",
}


@click.command("status", cls=Operation, examples=EXAMPLES, answers=ANSWERS)
@click.argument("order_id", type=statement_id, required=False)
@click.option("--product", help="Without ORDER_ID: only this product's orders.")
@click.option("--no-devices", is_flag=True, help="Do not read what the devices report.")
def rollout_status(
    run: Run, order_id: str | None, product: str | None, *, no_devices: bool
) -> Answer:
    """Show how an order stands, and why: who is missing, what is open, which devices are not done.

    It is computed here, from the signed statements and reports and the verified roster, by the code
    that gateways decide with; where the server's account differs, that is said. Without ORDER_ID
    the server's list is shown, newest first.
    """
    session = run.session
    if order_id is None:
        items = list(session.rollouts(product))
        return Answer(
            "listed", rollouts(items), {"rollouts": [json.loads(wire.encode(i)) for i in items]}
        )
    dossier = session.dossier(order_id)
    judge = session.judge
    if judge.now >= judge.roster.issued + MAX_ROSTER_AGE:
        run.voice.warn(
            f"The roster was issued at {show_time(judge.roster.issued)}: gateways believe one for "
            f"{MAX_ROSTER_AGE.days} days. Have it renewed."
        )
    found = _with_later(run, dossier)
    images = _images(run, dossier)
    for said in permits_of(session, dossier.order.said, dossier.order.id) if images else ():
        run.voice.warn(said)
    silent = _silence(run, dossier.order.said)
    doubts = Doubts()
    tallies = {} if no_devices else _tallies(run, found, doubts)
    steps = {
        cohort.cohort: next_steps(judge, dossier, cohort, tallies.get(cohort.cohort))
        for cohort in found.cohorts
    }
    told = read_stages(session, order_id, run.voice.warn)
    order = dossier.order.said
    return Answer(
        "server_differs" if found.differences else doubts.reason("status"),
        [
            *status(found, images, tallies, steps),
            *(counted(order, told) if told is not None else ()),
            *exclusion_lines(judge, dossier),
        ],
        _facts(found, tallies, steps)
        | {"counters": progress_facts(order_id, order, told) if told is not None else None}
        | {"monitors": silent, "exclusions": exclusion_facts(judge, dossier)},
    )


def _silence(run: Run, order: Order) -> list[dict[str, Any]] | None:
    """When each monitor was heard; a person is warned where none is at work."""
    now = run.session.clock()
    try:
        told = run.session.monitors
    except InterlockError as e:
        run.voice.warn(f"When the monitor was heard could not be read: {e}")
        return None
    auto = any(stage.gate == "auto" for stage in order.stages)
    wrong = None if told is None else silence(told, now, auto=auto)
    if wrong is not None:
        run.voice.warn(wrong)
    return monitor_facts(told, now)


def _tallies(run: Run, found: Status, doubts: Doubts) -> dict[str, Tally]:
    """What the devices of the order's cohorts do about it, where it is not superseded."""
    order = found.dossier.order
    placing = try_placing(run.session, order.said, run.voice.warn)
    tallies = {
        cohort.cohort: Tally(
            found.now,
            order,
            sum(stage.since is not None for stage in cohort.stages),
            min((one.stop.said.at for one in cohort.standing if one.counts), default=None),
            placing,
        )
        for cohort in found.cohorts
        if cohort.superseded_by is None
    }
    seen: set[str] = set()
    try:
        with run.voice.progress("devices read") as progress:
            for name in tallies:
                for view in devices(run.session, cohort=name, progress=progress):
                    # The server may list it elsewhere than where its own report says that it is.
                    tally = tallies.get(view.cohort or name)
                    mine = view.product in (None, order.said.product)
                    if tally is None or not mine or _twice(seen, view):
                        continue
                    doubts.note(view)
                    tally.add(view, why(view, order))
    except InterlockError as e:
        run.voice.warn(f"The devices could not be read, and are left out: {e}")
        return {}
    doubts.tell(run)
    return tallies


def _twice(seen: set[str], view: DeviceView) -> bool:
    key = view.enrolment.id if view.enrolment is not None else view.device
    again = key in seen
    seen.add(key)
    return again


def _with_later(run: Run, dossier: Dossier) -> Status:
    """The status, with later orders looked at until every cohort is known to be superseded."""
    session = run.session
    order = dossier.order.said
    later: list[Dossier] = []
    found = read_status(session.judge, dossier)
    for summary in session.rollouts(order.product):
        if summary.seq <= order.seq or summary.id == dossier.order.id:
            continue
        try:
            later.append(session.dossier(summary.id))
        except (RefusedError, WireError, NotFoundError) as e:
            run.voice.warn(f"The later order {summary.seq} cannot be judged: {e}")
            continue
        found = read_status(session.judge, dossier, later)
        if all(cohort.superseded_by for cohort in found.cohorts):
            break
    return found


def _images(run: Run, dossier: Dossier) -> dict[str, Image]:
    try:
        return dict(verified_images(run.session, dossier.order.said))
    except InterlockError as e:
        run.voice.warn(f"The order's targets: {e}")
        return {}


def _facts(
    found: Status, tallies: Mapping[str, Tally], steps: Mapping[str, Sequence[Step]]
) -> dict[str, Any]:
    order = found.dossier.order
    return {
        "id": order.id,
        "order": json.loads(wire.encode(order.said)),
        "at": show_time(found.now),
        "cohorts": {
            cohort.cohort: cohort_facts(cohort)
            | {
                "devices": (
                    tally_facts(tallies[cohort.cohort]) if cohort.cohort in tallies else None
                ),
                "next": [step_facts(step) for step in steps[cohort.cohort]],
            }
            for cohort in found.cohorts
        },
        "differences": list(found.differences),
    }


def cohort_facts(cohort: CohortStatus) -> dict[str, Any]:
    """How an order stands at one cohort, for machines."""
    return {
        "state": cohort.state,
        "accepted_at": _time(cohort.accepted_at),
        "author_counts": cohort.author_counts,
        "missing": dict(cohort.missing),
        "objection": cohort.objection,
        "live_until": _time(cohort.live_until),
        "superseded_by": cohort.superseded_by,
        "stops": [
            {"id": one.stop.id, "author": one.stop.said.author, "counts": one.counts}
            for one in cohort.standing
        ],
        "stages": [
            {
                "stage": stage.number,
                "open_since": _time(stage.since),
                "soak_ends": _time(stage.soak_ends),
                "valid_until": _time(stage.valid_until),
                "waiting": [
                    {"go": one.go.id, "missing": dict(one.missing)} for one in stage.waiting
                ],
            }
            for stage in cohort.stages
        ],
    }


def _time(time: Any) -> str | None:
    return None if time is None else show_time(time)
