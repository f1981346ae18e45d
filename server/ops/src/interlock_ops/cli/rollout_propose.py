"""``rollout propose``: an order from a file, with its targets filled in from verified metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from interlock_core import durable
from interlock_core.errors import ConfigurationError, WireError
from interlock_core.wire import MAX_INTEGER
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.common import permits_of
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.objection import asks_of_order
from interlock_ops.order_file import MAX_ORDER_FILE, make_order, read_order_file
from interlock_ops.proposing import object_to_facts, object_to_order, warnings
from interlock_ops.show import asks, statement

EXAMPLES: Final = (
    'interlock-ops rollout propose order.toml --reason "CVE-2030-1234"',
    'interlock-ops rollout propose order.toml --reason "CVE-2030-1234" --dry-run --seq 7',
)


@click.command("propose", cls=Act, examples=EXAMPLES)
@click.argument("order_file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--seq",
    type=click.IntRange(1, MAX_INTEGER),
    help="The order's number; by default the next after the newest that the server shows signed.",
)
def rollout_propose(run: Run, order_file: Path, seq: int | None, how: How) -> Answer:
    """Sign and send the order in ORDER_FILE.

    Lengths and digests come from the image repository, verified from your own root file, so that
    a lying server cannot change what you sign. Other people authorise the order by its id.

    With --dry-run nothing of the order is signed; asking the server for the next number still takes
    your key, unless --seq is given.
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
    order = make_order(
        plan,
        facts,
        fleet=session.roster.fleet,
        author=me,
        at=now,
        reason=how.reason,
        seq=session.next_seq(plan.product) if seq is None else seq,
    )
    objection = object_to_order(session.judge, order, me)
    if objection is not None:
        return settle(objection)
    for warning in (*warnings(order), *permits_of(session, order)):
        run.voice.warn(warning)
    needed = asks_of_order(session.judge, order.cohorts())
    images = {one.facts.path: one.image for one in found}
    return carry_out(
        run,
        [order],
        how,
        account=statement(order, images=images),
        done="proposed",
        after=lambda ids: asks(
            needed,
            f"interlock-ops rollout authorise {ids[0]} --role ROLE --reason ...",
        ),
        seq=order.seq,
        needed=needed,
    )
