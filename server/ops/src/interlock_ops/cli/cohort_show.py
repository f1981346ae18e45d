"""``cohort show``: whose word counts at a cohort, what is in force, and where its devices are."""

from __future__ import annotations

from typing import Any, Final

import click
from rich.console import RenderableType

from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.options import name
from interlock_ops.cli.rollout_status import cohort_facts
from interlock_ops.cli.survey import Doubts, survey
from interlock_ops.dossier import Dossier
from interlock_ops.entitled import (
    Entitled,
    grant_facts,
    grant_words,
    over_cohort,
    rule_facts,
    rule_words,
)
from interlock_ops.fleet_reads import Orders
from interlock_ops.next_steps import next_steps, step_facts
from interlock_ops.recall_reads import try_placing
from interlock_ops.show import fact, heading, line
from interlock_ops.show_status import cohort_lines, step_lines
from interlock_ops.tally import FIELDS, Tally, tally_facts, tally_lines
from interlock_ops.view import CohortStatus, read_status

EXAMPLES: Final = ("interlock-ops cohort show wards", "interlock-ops cohort show wards --json")
ANSWERS: Final = {
    "cohort": "its name",
    "rule": "pattern, start, advance, resume, assign (how many of which role beside an operator), "
    "stop (one of which role); null where the roster denies it",
    "grants": "person, role, cohorts, sites, until, expired",
    "products": "by name: order (id, seq, kind; or null), status and next as 'rollout status' "
    "gives them, devices",
    "products.*.devices": FIELDS,
}


@click.command("show", cls=Operation, examples=EXAMPLES, answers=ANSWERS)
@click.argument("cohort", type=name)
def cohort_show(run: Run, cohort: str) -> Answer:
    """Show a cohort: its rule in words, who may do what until when, and where its devices are.

    Rule and people are those of the verified roster; orders and devices are judged here.
    """
    session = run.session
    judge = session.judge
    rules = judge.rules_for(cohort)
    people = over_cohort(judge, cohort)
    orders = Orders(session, run.voice.warn)
    force = {one.order.said.product: one for one in orders.of_cohort(cohort)}
    statuses = {product: _status(run, dossier, cohort) for product, dossier in force.items()}
    doubts = Doubts()
    tallies = {product: _tally(run, force[product], statuses[product]) for product in force}
    for seen in survey(run, doubts, orders, cohort=cohort):
        view = seen.view
        if view.cohort in (None, cohort):
            product = view.product or "unknown"
            tallies.setdefault(product, Tally(judge.now, None)).add(view, seen.why)
    doubts.tell(run)
    shown: list[RenderableType] = [heading(cohort)]
    if rules is None:
        shown.append(fact("denied", "no pattern of the roster covers this cohort"))
    else:
        shown.append(fact("rule", f"{rules.pattern} of roster {judge.roster.seq}"))
        shown += [fact(what, text) for what, text in rule_words(rules).items()]
    shown += _people(people)
    products: dict[str, Any] = {}
    for product, tally in sorted(tallies.items()):
        dossier, status = force.get(product), statuses.get(product)
        shown += [line(""), heading(f"{product}: {_named(dossier)}")]
        products[product] = {"order": None, "status": None, "next": []}
        if dossier is not None and status is not None:
            steps = next_steps(judge, dossier, status, tally)
            shown += cohort_lines(status, judge.now)
            shown += [*tally_lines(tally), *step_lines(steps)]
            said = dossier.order.said
            products[product] = {
                "order": {"id": dossier.order.id, "seq": said.seq, "kind": said.kind},
                "status": cohort_facts(status),
                "next": [step_facts(step) for step in steps],
            }
        else:
            shown += tally_lines(tally)
        products[product]["devices"] = tally_facts(tally)
    return Answer(
        doubts.reason("shown"),
        shown,
        {
            "cohort": cohort,
            "rule": rule_facts(rules) if rules is not None else None,
            "grants": [grant_facts(one) for one in people],
            "products": products,
        },
    )


def _status(run: Run, dossier: Dossier, cohort: str) -> CohortStatus:
    found = read_status(run.session.judge, dossier)
    return next(one for one in found.cohorts if one.cohort == cohort)


def _tally(run: Run, dossier: Dossier, status: CohortStatus) -> Tally:
    stages = sum(stage.since is not None for stage in status.stages)
    placing = try_placing(run.session, dossier.order.said, run.voice.warn)
    return Tally(run.session.judge.now, dossier.order, stages, placing=placing)


def _people(people: tuple[Entitled, ...]) -> list[RenderableType]:
    by_role: dict[str, list[Entitled]] = {}
    for one in people:
        by_role.setdefault(one.role, []).append(one)
    return [
        fact(role if number == 0 else "", grant_words(one))
        for role, grants in by_role.items()
        for number, one in enumerate(grants)
    ]


def _named(dossier: Dossier | None) -> str:
    if dossier is None:
        return "no order is in force"
    said = dossier.order.said
    return f"order {said.seq}, {said.kind}, {said.targets[0].path}, {dossier.order.id}"
