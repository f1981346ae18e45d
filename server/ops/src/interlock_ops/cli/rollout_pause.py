"""``rollout pause``: a signed stop, by one signature, everywhere or at one cohort or site."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
from msgspec import UNSET
from rich.console import RenderableType

from interlock_core.errors import (
    ConfigurationError,
    InterlockError,
    NotFoundError,
    SecretError,
    TransientError,
)
from interlock_core.order import Order, Stop
from interlock_core.roster import MONITOR, OPERATOR, Judge
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.edge import Answer, Run
from interlock_ops.cli.options import name, statement_id
from interlock_ops.dossier import Dossier
from interlock_ops.monitor.spool import deliver
from interlock_ops.show import line, statement

EXAMPLES: Final = (
    'interlock-ops rollout pause ORDER_ID --reason "two gateways rolled back"',
    'interlock-ops rollout pause ORDER_ID --cohort icu --site st-mary --reason "power works"',
    'interlock-ops rollout pause ORDER_ID --site st-mary --reason "..."    (its engineer, too)',
    'interlock-ops rollout pause ORDER_ID --monitor /var/lib/interlock-stops --reason "..."',
)


@click.command("pause", cls=Act, examples=EXAMPLES)
@click.argument("order_id", type=statement_id)
@click.option("--cohort", type=name, help="Only at this cohort.")
@click.option("--site", type=name, help="Only at this site.")
@click.option(
    "--monitor",
    type=click.Path(path_type=Path, file_okay=False),
    help="Deliver it to the monitor too: its 'stops_directory'.",
)
def rollout_pause(
    run: Run,
    order_id: str,
    cohort: str | None,
    site: str | None,
    monitor: Path | None,
    how: How,
) -> Answer:
    """Stop an order with one signature.

    It stands until a resume, which takes other people, ends it. Whatever cannot be checked at the
    moment (the roster, the order) is said and does not keep you from stopping. With --output and
    'person' and 'fleet' set, no network is needed.

    A server could hide a stop. With --monitor it lies before the monitor as well, which then signs
    nothing more for this order, whatever the server says and whether or not it can be reached.
    """
    if monitor is not None and not monitor.is_dir():
        raise NotFoundError(f"There is no directory {monitor}: name the monitor's spool for stops.")
    session = run.session
    session.in_spite_of_log = run.voice.warn
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
        _warn_if_idle(run, me, order, cohort, site)
    account: list[RenderableType] = statement(stop, order=order)
    try:
        return carry_out(
            run,
            [stop],
            how,
            account=account,
            done="paused",
            after=lambda _: [
                line(f"  interlock-ops rollout resume {order_id} ends it, with others.")
            ],
            beside=lambda id_, data: _deliver(monitor, id_, data),
            order=order_id,
            delivered=None if monitor is None else str(monitor),
        )
    except TransientError as e:
        if monitor is None:
            raise
        told = f"{e} The monitor has it: the stop lies in {monitor}."
        raise TransientError(told, reason=e.reason) from e


def _deliver(monitor: Path | None, id_: str, data: bytes) -> None:
    if monitor is not None:
        deliver(monitor, id_, data)


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
    session = run.session
    # Opened first: a key file that is missing is not an order that is.
    _ = session.signer
    try:
        return session.dossier(order_id)
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


def _warn_if_idle(run: Run, me: str, order: Order, cohort: str | None, site: str | None) -> None:
    """Say where the roster gives the author no right to stop; it never keeps him from trying."""
    judge = run.session.judge
    cohorts = [cohort] if cohort else list(order.cohorts())
    idle = [one for one in cohorts if not _may_stop(judge, me, one, site)]
    if not idle:
        return
    where = f" for the site {site}" if site else ""
    mine = [one for one in _sites(judge, me) if any(_may_stop(judge, me, c, one) for c in idle)]
    advice = f"pass --site {mine[0]}, or " if mine and site not in mine else ""
    run.voice.warn(
        f"By roster {judge.roster.seq} your stop{where} counts for nothing at {', '.join(idle)}: "
        f"{advice}ask an operator to stop it too."
    )


def _may_stop(judge: Judge, me: str, cohort: str, site: str | None) -> bool:
    rules = judge.rules_for(cohort)
    roles = (OPERATOR, MONITOR, *(rules.stop if rules else ()))
    return any(judge.holds(me, role, cohort, site) for role in roles)


def _sites(judge: Judge, me: str) -> list[str]:
    """The sites that a person's grants name."""
    return sorted(
        {
            site
            for person in judge.roster.persons
            if person.name == me
            for grant in person.grants
            if grant.sites is not UNSET
            for site in grant.sites
        }
    )
