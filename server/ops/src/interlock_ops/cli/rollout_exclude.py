"""``rollout exclude``: leaves a known issue out of the counts, once another person agrees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click
import msgspec
from rich.console import RenderableType

from interlock_core.errors import ConfigurationError
from interlock_core.exclusion import Exclusion
from interlock_core.report import ReasonName
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.common import AGAIN, describe_order, effect
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import device_id, statement_id
from interlock_ops.excluding import What, plan_exclusions
from interlock_ops.show import asks, line, plain, statement

EXAMPLES: Final = (
    'interlock-ops rollout exclude ORDER_ID --device GW-0007 --reason "its fan, ticket 812"',
    'interlock-ops rollout exclude ORDER_ID --device GW-0007 --device GW-0009 --reason "..."',
    'interlock-ops rollout exclude ORDER_ID --reason-name fan_controller --reason "ticket 812"',
    "interlock-ops rollout exclude ORDER_ID --reason-name silent --reason ... --dry-run",
)


def _reason_name(text: str) -> str:
    try:
        return msgspec.convert(text, ReasonName)
    except msgspec.ValidationError as e:
        raise click.BadParameter(
            f"{plain(text[:80])!r} is no name of a reason: use a-z, 0-9 and '_', as in a report."
        ) from e


@click.command("exclude", cls=Act, examples=EXAMPLES)
@click.argument("order_id", type=statement_id)
@click.option(
    "--device",
    "devices",
    multiple=True,
    type=device_id,
    help="Leave out the failure of this device; repeatable, a statement for each.",
)
@click.option(
    "--reason-name",
    type=_reason_name,
    help="Leave out every failure by this reason, as devices report it; 'silent' for those that "
    "were not heard.",
)
@AGAIN
def rollout_exclude(
    run: Run,
    order_id: str,
    devices: tuple[str, ...],
    reason_name: str | None,
    again: bool,
    how: How,
) -> Answer:
    """Leave the failures of a known issue out of the counts that pause an order.

    It takes effect when the people whom the rule 'resume' asks for have authorised it, and where
    that asks for nobody, another operator: two people in all. It counts as long as the roster lets
    them sign. It ends no stop: 'rollout resume' does. Whom it leaves out and what the counts would
    be is shown first, from the server's counters.
    """
    if bool(devices) == (reason_name is not None):
        raise ConfigurationError(
            "Name devices with --device, or one reason with --reason-name.", reason="usage"
        )
    session = run.session
    me = session.me
    dossier = session.dossier(order_id)
    wanted: Sequence[What] = [(device, None) for device in dict.fromkeys(devices)]
    if reason_name is not None:
        wanted = [(None, reason_name)]
    judge = session.judge
    plan = plan_exclusions(judge, dossier, me, wanted, again=again)
    if not isinstance(plan, dict):
        return settle(plan)
    order = dossier.order
    exclusions = [
        Exclusion(
            fleet=session.roster.fleet,
            author=me,
            at=judge.now,
            reason=how.reason,
            order=order.id,
            device=device,
            failure=failure,
        )
        for device, failure in wanted
    ]
    account: list[RenderableType] = describe_order(dossier)
    for one in exclusions:
        account += [line(""), *statement(one, order=order.said)]
    shown, told = effect(run, order.id, order.said, exclusions)
    return carry_out(
        run,
        exclusions,
        how,
        account=[*account, line(""), *shown],
        done="excluded",
        after=lambda ids: [
            row
            for id_ in ids
            for row in asks(
                plan,
                f"interlock-ops rollout authorise --exclusion {id_} --role ROLE --reason ...",
            )
        ],
        order=order.id,
        needed=plan,
        **told,
    )
