"""``rollout propose``: an order from a file, with its targets filled in from verified metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from interlock_core import durable
from interlock_core.catalogue import Listed
from interlock_core.errors import ConfigurationError, InterlockError, WireError
from interlock_core.forecast import forecast as _forecast
from interlock_core.seen import Seen
from interlock_core.steps import Plan
from interlock_core.wire import MAX_INTEGER
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.common import permits_of
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import statement_id
from interlock_ops.objection import asks_of_order
from interlock_ops.order_file import (
    MAX_ORDER_FILE,
    Facts,
    OrderPlan,
    Wanted,
    make_order,
    read_order_file,
)
from interlock_ops.proposing import object_to_facts, object_to_order, warnings
from interlock_ops.recall_reads import catalogue, gateways
from interlock_ops.show import asks, line, statement
from interlock_ops.show_forecast import FIELDS, forecast_facts, forecast_lines
from interlock_ops.site_reads import site_holds
from interlock_ops.stepping import AUTO, with_steps

EXAMPLES: Final = (
    'interlock-ops rollout propose order.toml --reason "CVE-2030-1234"',
    'interlock-ops rollout propose order.toml --reason "CVE-2030-1234" --dry-run',
    'interlock-ops rollout propose order.toml --via gateway/1.9.0/image.img --reason "two steps"',
)


@click.command("propose", cls=Act, examples=EXAMPLES, answers=FIELDS)
@click.argument("order_file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--seq",
    type=click.IntRange(1, MAX_INTEGER),
    help="The order's number; by default the next after the newest that the server shows signed.",
)
@click.option(
    "--via",
    multiple=True,
    metavar="PATH|auto|none",
    default=(AUTO,),
    help="Images to go by where a barrier holds gateways back; repeatable. By default the tool "
    "finds them ('auto').",
)
@click.option(
    "--supersedes",
    type=statement_id,
    metavar="ORDER_ID",
    help="The order that runs and whose place this one is meant to take.",
)
@click.option(
    "--forecast/--no-forecast",
    "wants_forecast",
    default=None,
    help="Read the devices and say whom it would reach; by default with --dry-run.",
)
def rollout_propose(
    run: Run,
    order_file: Path,
    seq: int | None,
    via: tuple[str, ...],
    supersedes: str | None,
    how: How,
    *,
    wants_forecast: bool | None,
) -> Answer:
    """Sign and send the order in ORDER_FILE.

    Lengths and digests come from the image repository, verified from your own root file, so that
    a lying server cannot change what you sign. Other people authorise the order by its id.

    With --dry-run nothing of the order is signed, and it says whom the order would reach, stage by
    stage. Asking the server for the next number and for the devices takes your key, unless --seq
    and --no-forecast are given.
    """
    session = run.session
    now = session.clock()
    try:
        data = durable.read(order_file, limit=MAX_ORDER_FILE, what="order file")
    except WireError as e:
        raise ConfigurationError(str(e), reason="bad_order") from e
    plan = read_order_file(data, now, name=str(order_file))
    me = session.me
    found = [session.image.find(wanted.path) for wanted in plan.wanted]
    facts = [one.facts for one in found]
    objection = object_to_facts(plan, facts)
    if objection is not None:
        return settle(objection)
    known = catalogue(session, plan.product)
    wants = how.dry_run if wants_forecast is None else wants_forecast
    fleet = _fleet(run, plan.cohorts, plan.product) if wants else None
    steps = with_steps(known, [one.path for one in plan.wanted], via, now, fleet or ())
    plan = replace(plan, wanted=tuple(_wanted(plan, one) for one in steps.targets))
    order = make_order(
        plan,
        [Facts(one.path, one.length, one.sha256) for one in steps.targets],
        fleet=session.roster.fleet,
        author=me,
        at=now,
        reason=how.reason,
        seq=session.next_seq(plan.product) if seq is None else seq,
        supersedes=supersedes,
    )
    objection = object_to_order(session.judge, order, me)
    if objection is not None:
        return settle(objection)
    said = (*warnings(order), *permits_of(session, order), *_barriers(steps, len(found)))
    for warning in said:
        run.voice.warn(warning)
    forecast = _forecast(order, known, session.roster, fleet, now) if fleet is not None else None
    needed = asks_of_order(session.judge, order.cohorts())
    more: dict[str, Any] = {}
    account = statement(order, images={one.path: one.image for one in steps.targets})
    if forecast is not None:
        account += [line(""), *forecast_lines(forecast, order)]
        more["forecast"] = forecast_facts(forecast)
    return carry_out(
        run,
        [order],
        how,
        account=account,
        done="proposed",
        after=lambda ids: asks(
            needed,
            f"interlock-ops rollout authorise {ids[0]} --role ROLE --reason ...",
        ),
        seq=order.seq,
        needed=needed,
        **more,
    )


def _fleet(run: Run, cohorts: Sequence[str], product: str) -> list[Seen] | None:
    """The gateways of the order's cohorts; None, and a warning, where they cannot be read."""
    try:
        held = site_holds(run.session, cohorts)
        with run.voice.progress("devices read") as progress:
            return [
                replace(seen, hold=held.get((seen.site, seen.cohort)))
                for cohort in cohorts
                for seen in gateways(run.session, product, run.voice.warn, progress, cohort=cohort)
            ]
    except InterlockError as e:
        run.voice.warn(f"The devices could not be read, so nothing is forecast: {e}")
        return None


def _wanted(plan: OrderPlan, one: Listed) -> Wanted:
    named = next((wanted for wanted in plan.wanted if wanted.path == one.path), None)
    return named or Wanted(one.path, None)


def _barriers(steps: Plan, named: int) -> list[str]:
    """What is to be said of steps that were added, and of dead ends."""
    added = [one.path for one in steps.targets[named:]]
    said = [f"Steps for gateways that a barrier holds back: {', '.join(added)}."] if added else []
    return said + [
        f"From counter {one.counter} on the hardware {one.hardware} no listed release leads past "
        "a barrier of the order: a dead end."
        for one in steps.dead_ends
    ]
