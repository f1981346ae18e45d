"""``device revoke``: nothing that a device's key signs is taken any more."""

from __future__ import annotations

from typing import Final

import click

from interlock_core.ending import REVOKED, Revocation
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import device_id
from interlock_ops.ending_device import object_to_ending
from interlock_ops.fleet_reads import device
from interlock_ops.show import line, statement

EXAMPLES: Final = ('interlock-ops device revoke GW-0007 --reason "stolen from ward 3"',)
ANSWERS: Final = {"id, ids": "the revocation's id", "device, enrolment": "what was revoked"}


@click.command("revoke", cls=Act, examples=EXAMPLES, answers=ANSWERS)
@click.argument("device_id_", metavar="DEVICE", type=device_id)
def device_revoke(run: Run, device_id_: str, how: How) -> Answer:
    """Revoke the key of a device, for good.

    An operator over its cohort, or an engineer of its site, signs it alone. The device says that
    its key was revoked, and updates all the same. It is let in again with another key, by another
    claim and another countersignature.
    """
    session = run.session
    me = session.me
    judge = session.judge
    view = device(session, device_id_)
    objection = object_to_ending(judge, view, me, REVOKED)
    if objection is not None:
        return settle(objection)
    assert view.enrolment is not None  # or else it would be forged
    said = Revocation(
        fleet=session.roster.fleet,
        author=me,
        at=judge.now,
        reason=how.reason,
        enrolment=view.enrolment.id,
        device=view.device,
    )
    return carry_out(
        run,
        [said],
        how,
        account=statement(said),
        done="revoked",
        unsure=f"ask 'device show {view.device}', then try again.",
        after=lambda _: [line(f"  interlock-ops device show {view.device}")],
        device=view.device,
        enrolment=view.enrolment.id,
    )
