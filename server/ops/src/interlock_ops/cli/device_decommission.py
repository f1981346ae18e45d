"""``device decommission``: takes a device out of service, with a certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from interlock_core.ending import DECOMMISSIONED, Decommission
from interlock_core.errors import ConflictError
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.device_certificate import write_certificate
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import device_id
from interlock_ops.ending_device import last_report, object_to_ending
from interlock_ops.fleet_reads import device
from interlock_ops.show import fact, statement

EXAMPLES: Final = (
    'interlock-ops device decommission GW-0007 --out GW-0007.certificate --reason "scrapped"',
    "interlock-ops device certificate verify GW-0007.certificate    (offline)",
)
ANSWERS: Final = {
    "id, ids": "the statement's id",
    "device, enrolment, report, running": "what was signed",
    "certificate": "the file, once it is written",
}


@click.command("decommission", cls=Act, examples=EXAMPLES, answers=ANSWERS)
@click.argument("device_id_", metavar="DEVICE", type=device_id)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the certificate is written; an existing file is never replaced.",
)
def device_decommission(run: Run, device_id_: str, out: Path, how: How) -> Answer:
    """Take a device out of service, for good, and write a certificate of it.

    An operator over its cohort, or an engineer of its site, signs it alone. It names the last
    report that the device signed and what ran by it. The key is refused for ever; nothing of the
    device is bricked. The certificate verifies offline, with nothing but it and the fleet's root.
    """
    session = run.session
    me = session.me
    judge = session.judge
    if out.exists():
        raise ConflictError(f"Something stands at {out}: name another file.", reason="file_exists")
    view = device(session, device_id_)
    objection = object_to_ending(judge, view, me, DECOMMISSIONED)
    if objection is not None:
        return settle(objection)
    assert view.enrolment is not None  # or else it would be forged
    report, running = last_report(view)
    said = Decommission(
        fleet=session.roster.fleet,
        author=me,
        at=judge.now,
        reason=how.reason,
        enrolment=view.enrolment.id,
        device=view.device,
        report=report,
        running=running,
    )
    answer = carry_out(
        run,
        [said],
        how,
        account=statement(said),
        done="decommissioned",
        unsure=f"ask 'device show {view.device}', then 'device certificate write' if it is done.",
        device=view.device,
        enrolment=view.enrolment.id,
        report=report.number if report is not None else None,
        running=running,
    )
    if answer.reason != "decommissioned":
        return answer
    digest = write_certificate(run, view.device, out)
    shown = [*answer.shown, fact("certificate", f"{out}, sha256 {digest}")]
    return Answer(answer.reason, shown, {**answer.facts, "certificate": str(out)})
