"""``rollout resume``: ends stops, and revives what lapsed."""

from __future__ import annotations

from typing import Final

import click

from interlock_core.order import Go
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.common import AGAIN, VALID_FOR, asks_for_go, describe_order, lifetime
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import statement_id
from interlock_ops.reviving import plan_resumes
from interlock_ops.show import line, statement

EXAMPLES: Final = (
    'interlock-ops rollout resume ORDER_ID --reason "cause found: cabling"',
    'interlock-ops rollout resume ORDER_ID --clears STOP_ID --reason "power works are over"',
)


@click.command("resume", cls=Act, examples=EXAMPLES)
@click.argument("order_id", type=statement_id)
@click.option(
    "--clears",
    multiple=True,
    type=statement_id,
    help="End this stop; repeatable. By default all that the server shows as standing.",
)
@VALID_FOR
@AGAIN
def rollout_resume(
    run: Run, order_id: str, clears: tuple[str, ...], valid_for: int, again: bool, how: How
) -> Answer:
    """End the stops of an order, and revive it if it lapsed.

    It takes effect when the people whom the rule 'resume' asks for have authorised it. It opens no
    stage.
    """
    session = run.session
    lasts = lifetime(valid_for)
    me = session.me
    dossier = session.dossier(order_id)
    judge = session.judge
    plan = plan_resumes(judge, dossier, me, clears=clears, again=again)
    if not isinstance(plan, tuple):
        return settle(plan)
    goes = [
        Go(
            fleet=session.roster.fleet,
            author=me,
            at=judge.now,
            reason=how.reason,
            order=dossier.order.id,
            stage=one.stage,
            act="resume",
            renews=None,
            clears=one.clears,
            opened_at=one.opened_at,
            valid_until=judge.now + lasts,
            seq=one.seq,
        )
        for one in plan
    ]
    account = describe_order(dossier)
    by_id = {stop.id: stop for stop in dossier.stops}
    for id_ in plan[0].clears:
        stop = by_id.get(id_)
        account += [line(""), line(f"Ends the stop {id_}")]
        if stop is None:
            run.voice.warn(f"The server does not show the stop {id_}.")
        else:
            account += statement(stop.said, order=dossier.order.said)
    for go in goes:
        account += [line(""), *statement(go, order=dossier.order.said)]
    return carry_out(
        run,
        goes,
        how,
        account=account,
        done="resumed",
        after=lambda ids: [
            row for id_, one in zip(ids, plan, strict=True) for row in asks_for_go(one.asks, [id_])
        ],
        order=dossier.order.id,
        clears=list(plan[0].clears),
        needed={cohort: rule for one in plan for cohort, rule in one.asks.items()},
    )
