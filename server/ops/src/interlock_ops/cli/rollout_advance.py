"""``rollout advance``: the opening of the next manual stage."""

from __future__ import annotations

from typing import Final

import click

from interlock_core.order import MAX_STAGES
from interlock_ops.cli.acting import Act, How
from interlock_ops.cli.common import AGAIN, OPENED_AT, VALID_FOR, open_stage
from interlock_ops.cli.edge import Answer, Run
from interlock_ops.cli.options import statement_id

EXAMPLES: Final = (
    'interlock-ops rollout advance ORDER_ID --reason "canary healthy for 24 h"',
    'interlock-ops rollout advance ORDER_ID --stage 1 --reason "St Mary consented"',
)


@click.command("advance", cls=Act, examples=EXAMPLES)
@click.argument("order_id", type=statement_id)
@click.option(
    "--stage",
    type=click.IntRange(1, MAX_STAGES - 1),
    help="Open this one; by default the next after those that are open.",
)
@OPENED_AT
@VALID_FOR
@AGAIN
def rollout_advance(
    run: Run,
    order_id: str,
    stage: int | None,
    opened_at: str | None,
    valid_for: int,
    again: bool,
    how: How,
) -> Answer:
    """Open the next manual stage of an order, once the soak of the one before is over.

    Before the soak is over this exits with 10. With --stage a stage is opened again for cohorts
    that consented late.
    """
    return open_stage(
        run,
        order_id,
        how,
        stage=stage,
        opened_at=opened_at,
        valid_for=valid_for,
        again=again,
    )
