"""``site show``: a hospital's gateways, why each is where it is, and what was stopped there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
from rich.console import RenderableType

from interlock_core.chain import applies, read_chain
from interlock_core.errors import NotFoundError
from interlock_core.order import Order
from interlock_core.roster import Judge
from interlock_core.statement import Opened
from interlock_ops.cli.device_list import row, table
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.options import name
from interlock_ops.cli.survey import Doubts, Seen, survey
from interlock_ops.device_facts import FIELDS, device_facts
from interlock_ops.dossier import Dossier
from interlock_ops.entitled import grant_facts, grant_words, of_site
from interlock_ops.fleet_reads import Orders
from interlock_ops.show import fact, heading, line
from interlock_ops.show_site import NOT_KNOWN, SITE_FIELDS, described_lines
from interlock_ops.site_reads import site_place
from interlock_ops.site_view import SiteView, read_site, site_facts
from interlock_ops.units import show_time
from interlock_ops.view import Standing, standing_stops

EXAMPLES: Final = ("interlock-ops site show st-anna", "interlock-ops site show st-anna --json")
ANSWERS: Final = {
    "site": "its name",
    **SITE_FIELDS,
    "people": "the roster's grants that name it: person, role, cohorts, sites, until, expired",
    "stops": "that stand here: id, order, author, at, reason, cohort, site, counts",
    "waiting": "device ids that wait for a countersignature",
    "devices": "one object each, with:",
    **FIELDS,
}


@dataclass(frozen=True)
class _Stop:
    order: Opened[Order]
    standing: Standing


@click.command("show", cls=Operation, examples=EXAMPLES, answers=ANSWERS)
@click.argument("site", type=name)
def site_show(run: Run, site: str) -> Answer:
    """Show a site: its engineers, its devices and why each is where it is, and what stands still.

    Everything is judged here; which devices stand at the site is what they signed.
    """
    session = run.session
    judge = session.judge
    orders = Orders(session, run.voice.warn)
    doubts = Doubts()
    found = [
        seen for seen in survey(run, doubts, orders, site=site) if seen.view.site in (None, site)
    ]
    doubts.tell(run)
    cohorts = {seen.view.cohort for seen in found if seen.view.cohort is not None}
    known = _known(run, site, cohorts)
    people = of_site(judge, site)
    stops = _stops(judge, orders, found, site)
    waiting = [seen.view.device for seen in found if seen.view.state == "waiting"]
    shown: list[RenderableType] = [heading(site), *described_lines(known, judge.now)]
    shown += [fact(one.role, grant_words(one)) for one in people]
    if not people:
        shown.append(fact("people", "no grant of the roster names this site: its operators do"))
    shown += [_stop_line(one) for one in stops]
    if waiting:
        shown.append(fact("not let in", f"{len(waiting)} wait: {', '.join(waiting)}"))
        shown.append(
            line(f"  interlock-ops device countersign --waiting --site {site} --role ROLE ...")
        )
    shown += [line(""), *table([row(one, judge.now) for one in found])]
    return Answer(
        doubts.reason("shown"),
        shown,
        {
            "site": site,
            **(site_facts(known) if known is not None else NOT_KNOWN),
            "people": [grant_facts(one) for one in people],
            "stops": [_stop_facts(one) for one in stops],
            "waiting": waiting,
            "devices": [device_facts(one.view, one.why, one.order, judge.now) for one in found],
        },
    )


def _known(run: Run, site: str, cohorts: Collection[str]) -> SiteView | None:
    """What was signed about the site, judged for the cohorts of its devices."""
    session = run.session
    try:
        known = read_site(session.judge, site_place(session, site), cohorts)
    except NotFoundError:
        return None
    if known.left_out:
        run.voice.warn(
            f"{known.left_out} statements that the server shows of {site} count nowhere."
        )
    return known


def _stops(judge: Judge, orders: Orders, found: Sequence[Seen], site: str) -> list[_Stop]:
    """The stops that hold a device of this site, each once."""
    places = {
        (seen.view.product, seen.view.cohort)
        for seen in found
        if seen.view.product is not None and seen.view.cohort is not None
    }
    stops: dict[str, _Stop] = {}
    for product, cohort in sorted(places):
        dossier: Dossier | None = orders.in_force(product, cohort)
        if dossier is None:
            continue
        chain = read_chain(judge, dossier.papers, cohort)
        for one in standing_stops(judge, dossier, cohort, chain):
            if applies(one.stop.said.cohort, one.stop.said.site, cohort, site):
                known = stops.get(one.stop.id)
                if known is None or not known.standing.counts:
                    stops[one.stop.id] = _Stop(dossier.order, one)
    return sorted(stops.values(), key=lambda one: (one.standing.stop.said.at, one.standing.stop.id))


def _stop_line(one: _Stop) -> RenderableType:
    said, order = one.standing.stop.said, one.order.said
    scope = " and ".join(
        text
        for text in (
            f"cohort {said.cohort}" if said.cohort else "",
            f"site {said.site}" if said.site else "",
        )
        if text
    )
    idle = "" if one.standing.counts else " (its author may not stop here by the present roster)"
    return fact(
        "stop stands",
        f"{one.standing.stop.id} by {said.author}, {show_time(said.at)}, {scope or 'everywhere'}, "
        f"of {order.product} {order.seq}: {said.reason}{idle}",
    )


def _stop_facts(one: _Stop) -> dict[str, Any]:
    said = one.standing.stop.said
    return {
        "id": one.standing.stop.id,
        "order": said.order,
        "author": said.author,
        "at": show_time(said.at),
        "reason": said.reason,
        "cohort": said.cohort,
        "site": said.site,
        "counts": one.standing.counts,
    }
