"""``rollout recall record``: a person's signed word on what became of gateways."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import click

from interlock_core.fleet import COUNTERSIGNERS
from interlock_core.recall_papers import GIVEN, Disposition, Given
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.common import describe_order
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import device_id, past_time, statement_id
from interlock_ops.cli.recall_status import read_recall
from interlock_ops.device_view import DeviceView
from interlock_ops.fleet_reads import device
from interlock_ops.objection import Objection
from interlock_ops.show import line, statement

EXAMPLES: Final = (
    'interlock-ops rollout recall record ORDER_ID GW-0003 --as returned --reason "in the depot"',
    "interlock-ops rollout recall record ORDER_ID GW-0007 GW-0008 --as unreachable \\",
    '    --since 2030-01-31T08:00:00Z --reason "the ward is closed"',
)


@click.command("record", cls=Act, examples=EXAMPLES)
@click.argument("order_id", type=statement_id)
@click.argument("device_ids", metavar="DEVICE...", nargs=-1, required=True, type=device_id)
@click.option("--as", "given", required=True, type=click.Choice(GIVEN), help="What became of them.")
@click.option(
    "--since",
    metavar="TIME",
    help="From when on; by default now, or of 'unreachable' its last report.",
)
def recall_record(
    run: Run,
    order_id: str,
    device_ids: tuple[str, ...],
    given: Given,
    since: str | None,
    how: How,
) -> Answer:
    """Say what became of gateways that a recall is open for, and sign it.

    An operator over the gateway's cohort may, or an engineer of its site. It stands until the
    gateway signs a report after it: what it says then counts.
    """
    session = run.session
    me = session.me
    found = read_recall(run, order_id)
    judge = session.judge
    words = []
    for id_ in dict.fromkeys(device_ids):
        view = device(session, id_)
        objection = _objection(view, me, may=_may(run, view, me))
        if objection is not None:
            return settle(objection)
        assert view.enrolment is not None  # or else it is objected to
        words.append(
            Disposition(
                fleet=session.roster.fleet,
                author=me,
                at=judge.now,
                reason=how.reason,
                order=found.dossier.order.id,
                enrolment=view.enrolment.id,
                device=id_,
                disposition=given,
                since=_since(view, given, since, judge.now),
            )
        )
    account = describe_order(found.dossier)
    for word in words:
        account += [line(""), *statement(word)]
    return carry_out(
        run, words, how, account=account, done="recorded", order=order_id, disposition=given
    )


def _may(run: Run, view: DeviceView, me: str) -> bool:
    """Whether a person speaks for the gateway where it is now."""
    cohort, judge = view.cohort, run.session.judge
    return cohort is not None and any(
        judge.holds(me, role, cohort, view.site) for role in COUNTERSIGNERS
    )


def _objection(view: DeviceView, me: str, *, may: bool) -> Objection | None:
    if view.enrolment is None:
        return Objection(view.faults[0].reason, f"{view.device}: {view.faults[0].detail}.")
    said = view.enrolment.said
    if not may:
        return Objection(
            "role_not_held",
            f"{me} is no operator over {view.cohort}, and no engineer of {said.site} over it: have "
            f"one of them record what became of {said.device}.",
        )
    return None


def _since(view: DeviceView, given: Given, text: str | None, now: datetime) -> datetime:
    if text is not None:
        return past_time(text, now, "--since")
    heard = view.heard_at if given == "unreachable" else None
    return min(heard, now) if heard is not None else now
