"""``site add``: describes a hospital for the first time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from interlock_core.site import Contact, Site
from interlock_ops.cli.acting import Act, How, carry_out
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import contact, name, time_zone
from interlock_ops.cli.options import notes as notes_of
from interlock_ops.describing import Description, plan_add
from interlock_ops.show import line, statement
from interlock_ops.site_reads import site_or_none
from interlock_ops.zones import check_zone

EXAMPLES: Final = (
    "interlock-ops site add st-anna --time-zone Europe/Berlin \\",
    '    --contact "technician on duty: +49 30 1234" --reason "contract signed"',
)
ANSWERS: Final = {"id, ids": "the description's id", "site, time_zone, seq": "what was signed"}


@click.command("add", cls=Act, examples=EXAMPLES, answers=ANSWERS)
@click.argument("site", type=name)
@click.option(
    "--time-zone", "zone", required=True, type=time_zone, help="Of the IANA time zone database."
)
@click.option(
    "--contact",
    "contacts",
    multiple=True,
    type=contact,
    metavar="'WHO: HOW'",
    help="Whom to call, and how; repeatable. Never a patient.",
)
@click.option("--notes", default="", type=notes_of, help="Anything else that people should know.")
def site_add(
    run: Run, site: str, zone: str, contacts: Sequence[Contact], notes: str, how: How
) -> Answer:
    """Describe a site: its time zone, whom to call there, and notes.

    An operator or an engineer whose grant counts there signs it. It decides nothing: forecasts are
    made with it, and people find whom to call.
    """
    check_zone(zone)
    session = run.session
    me = session.me
    first = Description(zone, tuple(contacts), notes, 1)
    plan = plan_add(session.judge, me, site_or_none(session, site), site, first)
    return settle(plan) if not isinstance(plan, Description) else sign_site(run, site, plan, how)


def sign_site(run: Run, site: str, plan: Description, how: How) -> Answer:
    """Sign and send a description: what ``add`` and ``edit`` do."""
    session = run.session
    said = Site(
        fleet=session.roster.fleet,
        author=session.me,
        at=session.judge.now,
        reason=how.reason,
        site=site,
        time_zone=plan.time_zone,
        contacts=plan.contacts,
        notes=plan.notes,
        seq=plan.seq,
    )
    return carry_out(
        run,
        [said],
        how,
        account=statement(said),
        done="described",
        unsure=f"ask 'site show {site}', then try again.",
        after=lambda _: [line(f"  interlock-ops site show {site}")],
        site=site,
        time_zone=plan.time_zone,
        seq=plan.seq,
    )
