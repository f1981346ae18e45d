"""``site release``: ends holds of a hospital early."""

from __future__ import annotations

from typing import Final

import click

from interlock_core.hold import Hold
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import name, statement_id
from interlock_ops.describing import plan_release
from interlock_ops.fleet_reads import served_cohorts
from interlock_ops.objection import Objection
from interlock_ops.show import heading, line, statement
from interlock_ops.site_reads import site_view

EXAMPLES: Final = (
    'interlock-ops site release st-anna --reason "the network is back"',
    "interlock-ops site release st-anna --hold HOLD_ID --reason ...",
)
ANSWERS: Final = {
    "id, ids": "the releases' ids",
    "site, released": "the holds that they end",
    "stand": "holds that stand all the same, by others",
}


@click.command("release", cls=Act, examples=EXAMPLES, answers=ANSWERS)
@click.argument("site", type=name)
@click.option(
    "--hold", "holds", multiple=True, type=statement_id, help="Only this hold; repeatable."
)
def site_release(run: Run, site: str, holds: tuple[str, ...], how: How) -> Answer:
    """Release a site: end the holds that you may end, or those named.

    A hold is ended by somebody who holds the role in which it counts: what an engineer of the
    hospital holds, an engineer of that hospital releases.
    """
    session = run.session
    me = session.me
    judge = session.judge
    view = site_view(session, site)
    plan = plan_release(judge, me, view, sorted(served_cohorts(session)), holds)
    if isinstance(plan, Objection):
        return settle(plan)
    said = [
        Hold(
            fleet=session.roster.fleet,
            author=me,
            at=judge.now,
            reason=how.reason,
            site=site,
            begins=None,
            until=None,
            ends=one.id,
        )
        for one in plan
    ]
    stand = [one for one in view.holds if one not in plan]
    account = [
        row
        for one, of in zip(said, plan, strict=True)
        for row in (*statement(one), heading("It ends:"), *statement(of.said, id_=of.id), line(""))
    ]
    for one in stand:
        run.voice.warn(f"The hold {one.id[:12]} by {one.said.author} stands all the same.")
    return carry_out(
        run,
        said,
        how,
        account=account,
        done="released",
        unsure=f"ask 'site show {site}', then try again.",
        after=lambda _: [line(f"  interlock-ops site show {site}")],
        site=site,
        released=[one.id for one in plan],
        stand=[one.id for one in stand],
    )
