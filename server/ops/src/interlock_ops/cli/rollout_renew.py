"""``rollout renew``: keeps an open stage from lapsing."""

from __future__ import annotations

from typing import Final

import click

from interlock_core.order import MAX_STAGES, Go
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.common import VALID_FOR, describe_order, lifetime
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import statement_id
from interlock_ops.reviving import plan_renewals
from interlock_ops.show import fact, statement
from interlock_ops.units import show_time

EXAMPLES: Final = (
    'interlock-ops rollout renew ORDER_ID --reason "weekly review"',
    'interlock-ops rollout renew ORDER_ID --reason "holidays" --valid-for 14d',
)


@click.command("renew", cls=Act, examples=EXAMPLES)
@click.argument("order_id", type=statement_id)
@click.option(
    "--stage",
    type=click.IntRange(0, MAX_STAGES - 1),
    help="Renew this one; by default the highest open one, which keeps all below it alive.",
)
@VALID_FOR
def rollout_renew(run: Run, order_id: str, stage: int | None, valid_for: int, how: How) -> Answer:
    """Renew the highest open stage, so that the rollout does not lapse.

    One operator's signature is enough while the stage is live. A lapsed one takes a resume.
    """
    session = run.session
    lasts = lifetime(valid_for)
    me = session.me
    dossier = session.dossier(order_id)
    judge = session.judge
    plan = plan_renewals(judge, dossier, me, stage=stage)
    if not isinstance(plan, tuple):
        return settle(plan)
    renewals = [
        Go(
            fleet=session.roster.fleet,
            author=me,
            at=judge.now,
            reason=how.reason,
            order=dossier.order.id,
            stage=one.stage,
            act="renew",
            renews=one.renews,
            clears=(),
            opened_at=one.opened_at,
            valid_until=judge.now + lasts,
            seq=one.seq,
        )
        for one in plan
    ]
    account = describe_order(dossier)
    for one, go in zip(plan, renewals, strict=True):
        account += statement(go, order=dossier.order.said)
        account += [
            fact("for", ", ".join(one.cohorts)),
            fact("until now", f"would lapse at {show_time(one.until)}"),
        ]
    return carry_out(
        run,
        renewals,
        how,
        account=account,
        done="renewed",
        order=dossier.order.id,
        stage=plan[0].stage,
    )
