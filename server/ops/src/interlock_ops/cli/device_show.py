"""``device show``: one device, verified, and why it is where it is."""

from __future__ import annotations

from typing import Final

import click

from interlock_core.checkpoint import Checkpoint, read_checkpoint
from interlock_core.errors import WireError
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.options import device_id
from interlock_ops.cli.survey import Doubts, genuine, look
from interlock_ops.device_facts import FIELDS, device_facts
from interlock_ops.device_view import DeviceView
from interlock_ops.fleet_reads import Orders
from interlock_ops.session import Session
from interlock_ops.show import fact
from interlock_ops.show_device import one_device
from interlock_ops.taking import Doubt

EXAMPLES: Final = (
    "interlock-ops device show GW-0003",
    "interlock-ops device show GW-0003 --json",
)


ANSWERS: Final = {
    **FIELDS,
    "log": (
        "size of the log that it was shown; reason and detail, null if that is of this log; null "
        "where it says nothing, or no log_key is set"
    ),
}


@click.command("show", cls=Operation, examples=EXAMPLES, answers=ANSWERS)
@click.argument("device_id_", metavar="DEVICE", type=device_id)
def device_show(run: Run, device_id_: str) -> Answer:
    """Show one device: who let it in, what it runs, what it does about the order, and why.

    It is verified here: the enrolment by the key that it names, the countersignature by the roster,
    the newest report by the device's key, and the log that it was shown by the log's key. A forged
    enrolment is refused.
    """
    view = genuine(run.session, device_id_)
    doubts = Doubts()
    doubts.note(view)
    doubts.tell(run)
    seen = look(Orders(run.session, run.voice.warn), view)
    now = run.session.clock()
    carried, doubt = _shown(run.session, view)
    shown = one_device(view, seen.why, seen.order, now)
    if carried is not None:
        fits = "of this log" if doubt is None else doubt.detail
        shown.append(fact("log", f"it was shown {carried.size} entries: {fits}"))
    reason = doubts.reason("shown")
    if doubt is not None and doubt.reason == "log_fork":
        reason = doubt.reason
        run.voice.warn(f"{device_id_}: {doubt.detail}. Keep its report; ask who runs the server.")
    facts = device_facts(view, seen.why, seen.order, now)
    return Answer(reason, shown, {**facts, "log": _log_facts(carried, doubt)})


def _shown(session: Session, view: DeviceView) -> tuple[Checkpoint | None, Doubt | None]:
    """The log that the newest report says it was shown, and what is wrong with that.

    Raises:
        RefusedError: as ``Session.checkpoint``.
        TransientError: the server could not be asked.
    """
    text = view.report.said.checkpoint if view.report is not None else None
    log, newest = session.log, session.checkpoint
    if text is None or log is None or newest is None:
        return None, None
    try:
        carried = read_checkpoint(text).said
    except WireError as e:
        return None, Doubt("bad_checkpoint", str(e))
    return carried, log.doubt(text, log.verify(newest))


def _log_facts(carried: Checkpoint | None, doubt: Doubt | None) -> dict[str, object] | None:
    if carried is None and doubt is None:
        return None
    return {
        "size": carried.size if carried is not None else None,
        "reason": doubt.reason if doubt is not None else None,
        "detail": doubt.detail if doubt is not None else None,
    }
