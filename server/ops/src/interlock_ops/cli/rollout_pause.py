"""``rollout pause``: a signed stop, by one signature, everywhere or at one cohort or site."""

from __future__ import annotations

from typing import Final

import click
from rich.console import RenderableType

from interlock_core.errors import ConfigurationError, InterlockError, NotFoundError, SecretError
from interlock_core.order import Order, Stop
from interlock_core.roster import MONITOR, OPERATOR
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.edge import Answer, Run
from interlock_ops.cli.options import name, statement_id
from interlock_ops.dossier import Dossier
from interlock_ops.show import line, statement

EXAMPLES: Final = (
    'interlock-ops rollout pause ORDER_ID --reason "two gateways rolled back"',
    'interlock-ops rollout pause ORDER_ID --cohort icu --site st-mary --reason "power works"',
)


@click.command("pause", cls=Act, examples=EXAMPLES)
@click.argument("order_id", type=statement_id)
@click.option("--cohort", type=name, help="Only at this cohort.")
@click.option("--site", type=name, help="Only at this site.")
def rollout_pause(
    run: Run, order_id: str, cohort: str | None, site: str | None, how: How
) -> Answer:
    """Stop an order with one signature.

    It stands until a resume, which takes other people, ends it. Whatever cannot be checked at the
    moment (the roster, the order) is said and does not keep you from stopping. With --output and
    'person' and 'fleet' set, no network is needed.
    """
    session = run.session
    settings = session.settings
    offline = how.output is not None and settings.person is not None
    me = _me(run, offline=offline)
    dossier = None if offline else _dossier(run, order_id)
    order = dossier.order.said if dossier is not None else None
    if order is not None and cohort is not None and cohort not in order.cohorts():
        raise ConfigurationError(
            f"The order does not name the cohort {cohort}: it names {', '.join(order.cohorts())}.",
            reason="no_such_cohort",
        )
    stop = Stop(
        fleet=settings.need(settings.fleet, "fleet"),
        author=me,
        at=session.clock(),
        reason=how.reason,
        order=order_id,
        cohort=cohort,
        site=site,
    )
    if order is not None:
        _warn_if_idle(run, me, order, cohort)
    account: list[RenderableType] = statement(stop, order=order)
    return carry_out(
        run,
        [stop],
        how,
        account=account,
        done="paused",
        after=lambda _: [line(f"  interlock-ops rollout resume {order_id} ends it, with others.")],
        order=order_id,
    )


def _me(run: Run, *, offline: bool) -> str:
    session = run.session
    person = session.settings.person
    if person is not None and offline:
        return person
    try:
        return session.me
    except InterlockError as e:
        if person is None or e.reason == "unknown_key":
            raise
        run.voice.warn(f"The roster could not be checked, so you sign as {person}: {e}")
        return person


def _dossier(run: Run, order_id: str) -> Dossier | None:
    try:
        return run.session.dossier(order_id)
    except NotFoundError as e:
        raise NotFoundError(
            f"The server knows no order {order_id}: check the id. With --output the stop is signed "
            "all the same, to be delivered otherwise.",
            reason=e.reason,
        ) from e
    except SecretError:
        raise
    except InterlockError as e:
        run.voice.warn(f"The order could not be shown, and the stop names it all the same: {e}")
        return None


def _warn_if_idle(run: Run, me: str, order: Order, cohort: str | None) -> None:
    """Say where the roster gives the author no right to stop; it never keeps him from trying."""
    session = run.session
    cohorts = [cohort] if cohort else list(order.cohorts())
    judge = session.judge
    idle = []
    for one in cohorts:
        rules = judge.roster.rules_for(one)
        roles = (OPERATOR, MONITOR, *(rules.stop if rules else ()))
        if not any(judge.holds(me, role, one) for role in roles):
            idle.append(one)
    if idle:
        run.voice.warn(
            f"By roster {judge.roster.seq} your stop counts for nothing at {', '.join(idle)}: ask "
            "an operator to stop it too."
        )
