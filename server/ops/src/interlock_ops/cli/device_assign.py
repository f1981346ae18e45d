"""``device assign``: moves a device to another cohort, with others."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import click

from interlock_core.errors import ConfigurationError, InterlockError
from interlock_core.order import Assignment
from interlock_core.wire import MAX_INTEGER
from interlock_ops.assigning import Assigning, object_to_expiry, plan_assignment
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import device_id, name
from interlock_ops.fleet_reads import device, served_cohorts
from interlock_ops.show import asks, fact, statement
from interlock_ops.units import parse_time

EXAMPLES: Final = (
    'interlock-ops device assign GW-0007 --to wards --reason "moved from the test bench"',
    'interlock-ops device assign GW-0007 --to wards --expires 7d --reason "..." --dry-run',
)
ANSWERS: Final = {
    "id, ids": "the assignment's id",
    "device, from, to, seq": "what was signed",
    "needed": "who must authorise, by cohort: role and how many",
}


@click.command("assign", cls=Act, examples=EXAMPLES, answers=ANSWERS)
@click.argument("device_id_", metavar="DEVICE", type=device_id)
@click.option("--to", "to_cohort", required=True, type=name, help="The cohort to move it to.")
@click.option(
    "--expires",
    metavar="TIME",
    default="30d",
    show_default=True,
    help="Until when it may be obeyed: RFC 3339, or a duration from now.",
)
@click.option(
    "--seq",
    type=click.IntRange(1, MAX_INTEGER),
    help="Its number; by default the next after those signed for this enrolment.",
)
def device_assign(
    run: Run, device_id_: str, to_cohort: str, expires: str, seq: int | None, how: How
) -> Answer:
    """Move a device from the cohort where it is to another.

    It takes effect when the people whom the rule 'assign' of both cohorts asks for have authorised
    it, and if the device's own configuration lets it be moved there.
    """
    session = run.session
    me = session.me
    judge = session.judge
    until = _until(expires, judge.now)
    objection = object_to_expiry(until, judge.now)
    if objection is not None:
        return settle(objection)
    plan = plan_assignment(judge, device(session, device_id_), me, to_cohort, seq)
    if not isinstance(plan, Assigning):
        return settle(plan)
    _warn(run, plan)
    said = Assignment(
        fleet=session.roster.fleet,
        author=me,
        at=judge.now,
        reason=how.reason,
        enrolment=plan.enrolment,
        device=plan.device,
        from_cohort=plan.from_cohort,
        to_cohort=plan.to_cohort,
        seq=plan.seq,
        expires=until,
    )
    account = statement(said)
    account.append(
        fact("allowed", "not known here: 'cohort_patterns' of the gateway's own configuration")
    )
    moved: dict[str, Any] = {"from": plan.from_cohort, "to": plan.to_cohort}
    return carry_out(
        run,
        [said],
        how,
        account=account,
        done="assigned",
        unsure=f"ask 'device show {plan.device}', then try again.",
        after=lambda ids: asks(
            plan.asks, f"interlock-ops device authorise {ids[0]} --role ROLE --reason ..."
        ),
        device=plan.device,
        **moved,
        seq=plan.seq,
        needed=plan.asks,
    )


def _warn(run: Run, plan: Assigning) -> None:
    run.voice.warn(
        f"Whether {plan.device} may be moved to {plan.to_cohort} stands in its own configuration, "
        "which is not known here: where it is not allowed, it stays."
    )
    try:
        served = served_cohorts(run.session)
    except InterlockError as e:
        run.voice.warn(f"Whether {plan.to_cohort} is served could not be asked: {e}")
        return
    if plan.to_cohort not in served:
        run.voice.warn(
            f"The server publishes nothing for the cohort {plan.to_cohort}: a gateway that is "
            "moved there finds nothing to poll until it does."
        )


def _until(text: str, now: datetime) -> datetime:
    try:
        return parse_time(text, after=now)
    except ValueError as e:
        raise ConfigurationError(f"--expires: {e}.", reason="usage") from e
