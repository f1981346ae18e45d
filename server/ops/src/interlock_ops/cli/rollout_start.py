"""``rollout start``: the opening of stage 0."""

from __future__ import annotations

from typing import Final

import click

from interlock_ops.cli.acting import Act, How
from interlock_ops.cli.common import AGAIN, OPENED_AT, VALID_FOR, open_stage
from interlock_ops.cli.edge import Answer, Run
from interlock_ops.cli.options import statement_id

EXAMPLES: Final = (
    'interlock-ops rollout start ORDER_ID --reason "window agreed with the wards"',
    'interlock-ops rollout start ORDER_ID --reason "tonight" --opened-at 2030-01-31T22:00:00Z',
)


@click.command("start", cls=Act, examples=EXAMPLES)
@click.argument("order_id", type=statement_id)
@OPENED_AT
@VALID_FOR
@AGAIN
def rollout_start(
    run: Run, order_id: str, opened_at: str | None, valid_for: int, again: bool, how: How
) -> Answer:
    """Open stage 0 of an order.

    It takes effect when the people whom the rule 'start' asks for have authorised both the order
    and this go. It lapses unless somebody renews it.
    """
    return open_stage(
        run,
        order_id,
        how,
        stage=0,
        opened_at=opened_at,
        valid_for=valid_for,
        again=again,
    )
