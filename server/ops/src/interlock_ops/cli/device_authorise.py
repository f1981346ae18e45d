"""``device authorise``: another person's signature under an assignment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click

from interlock_core.errors import ConfigurationError
from interlock_core.order import Assignment, Authorisation, Meaning
from interlock_core.statement import Opened
from interlock_ops.assigning import object_to_authorising
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import device_id, name, statement_id
from interlock_ops.cli.options import meaning as meaning_option
from interlock_ops.device_view import DeviceView
from interlock_ops.fleet_reads import device, devices
from interlock_ops.show import line, statement

EXAMPLES: Final = (
    'interlock-ops device authorise ASSIGNMENT_ID --role approver --reason "agreed"',
    "interlock-ops device authorise ASSIGNMENT_ID --device GW-0007 --role approver ...",
)
ANSWERS: Final = {
    "id, ids": "the authorisation's id",
    "assignment, device, from, to": "what was authorised",
}


@click.command("authorise", cls=Act, examples=EXAMPLES, answers=ANSWERS)
@click.argument("assignment_id", type=statement_id)
@click.option(
    "--device", "device_id_", type=device_id, help="Whose it is: spares a search through all."
)
@click.option("--role", required=True, type=name, help="The role that you act in.")
@meaning_option
def device_authorise(
    run: Run, assignment_id: str, device_id_: str | None, role: str, meaning: Meaning, how: How
) -> Answer:
    """Authorise the assignment of a device to another cohort.

    It is shown whole, under the id that its signed bytes give. Your own is not yours to authorise.
    """
    session = run.session
    me = session.me
    view, assignment = _find(run, assignment_id, device_id_)
    objection = object_to_authorising(session.judge, view, assignment, me, role, meaning)
    if objection is not None:
        return settle(objection)
    said = Authorisation(
        fleet=session.roster.fleet,
        author=me,
        at=session.clock(),
        reason=how.reason,
        authorises="assignment",
        id=assignment.id,
        role=role,
        meaning=meaning,
    )
    account = [*statement(assignment.said, id_=assignment.id), line(""), *statement(said)]
    moved: dict[str, Any] = {"from": assignment.said.from_cohort, "to": assignment.said.to_cohort}
    return carry_out(
        run,
        [said],
        how,
        account=account,
        done="authorised",
        unsure=f"ask 'device show {view.device}', then try again.",
        after=lambda _: [line(f"  interlock-ops device show {view.device}")],
        assignment=assignment.id,
        device=view.device,
        **moved,
    )


def _find(
    run: Run, assignment_id: str, device_id_: str | None
) -> tuple[DeviceView, Opened[Assignment]]:
    """The device whose enrolment the assignment is of.

    Raises:
        ConfigurationError: ``no_such_assignment``: the server shows it with no device.
    """
    if device_id_ is not None:
        views = iter([device(run.session, device_id_)])
        return _among(views, assignment_id)
    with run.voice.progress("devices read") as progress:
        return _among(devices(run.session, progress=progress), assignment_id)


def _among(
    views: Iterator[DeviceView], assignment_id: str
) -> tuple[DeviceView, Opened[Assignment]]:
    for view in views:
        for move in view.moves:
            if move.assignment.id == assignment_id:
                return view, move.assignment
    raise ConfigurationError(
        f"The server shows no assignment {assignment_id} with any device asked: check the id.",
        reason="no_such_assignment",
    )
