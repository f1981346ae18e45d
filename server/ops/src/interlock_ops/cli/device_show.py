"""``device show``: one device, verified, and why it is where it is."""

from __future__ import annotations

from typing import Final

import click

from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.options import device_id
from interlock_ops.cli.survey import Doubts, genuine, look
from interlock_ops.device_facts import FIELDS, device_facts
from interlock_ops.fleet_reads import Orders
from interlock_ops.show_device import one_device

EXAMPLES: Final = (
    "interlock-ops device show GW-0003",
    "interlock-ops device show GW-0003 --json",
)


@click.command("show", cls=Operation, examples=EXAMPLES, answers=FIELDS)
@click.argument("device_id_", metavar="DEVICE", type=device_id)
def device_show(run: Run, device_id_: str) -> Answer:
    """Show one device: who let it in, what it runs, what it does about the order, and why.

    It is verified here: the enrolment by the key that it names, the countersignature by the roster,
    the newest report by the device's key. A forged enrolment is refused.
    """
    view = genuine(run.session, device_id_)
    doubts = Doubts()
    doubts.note(view)
    doubts.tell(run)
    seen = look(Orders(run.session, run.voice.warn), view)
    now = run.session.clock()
    return Answer(
        doubts.reason("shown"),
        one_device(view, seen.why, seen.order, now),
        device_facts(view, seen.why, seen.order, now),
    )
