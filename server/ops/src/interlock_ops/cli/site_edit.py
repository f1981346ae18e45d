"""``site edit``: changes what is on record about a hospital."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from interlock_core.errors import ConfigurationError
from interlock_core.site import Contact
from interlock_ops.cli.acting import Act, How
from interlock_ops.cli.edge import Answer, Run, settle
from interlock_ops.cli.options import contact, name, time_zone
from interlock_ops.cli.options import notes as notes_of
from interlock_ops.cli.site_add import ANSWERS, sign_site
from interlock_ops.describing import Description, plan_edit
from interlock_ops.site_reads import site_view
from interlock_ops.zones import check_zone

EXAMPLES: Final = (
    'interlock-ops site edit st-anna --contact "night desk: +49 30 4321" --reason "new number"',
    'interlock-ops site edit st-anna --time-zone Europe/Vienna --reason "..." --dry-run',
)


@click.command("edit", cls=Act, examples=EXAMPLES, answers=ANSWERS)
@click.argument("site", type=name)
@click.option("--time-zone", "zone", type=time_zone, help="Of the IANA time zone database.")
@click.option(
    "--contact",
    "contacts",
    multiple=True,
    type=contact,
    metavar="'WHO: HOW'",
    help="Whom to call, and how; those given take the place of all before.",
)
@click.option("--no-contacts", is_flag=True, help="Nobody is to be called any more.")
@click.option("--notes", type=notes_of, help="Instead of the notes before.")
def site_edit(
    run: Run,
    how: How,
    *,
    site: str,
    zone: str | None,
    contacts: Sequence[Contact],
    no_contacts: bool,
    notes: str | None,
) -> Answer:
    """Change what is on record about a site; what is not named stays."""
    if no_contacts and contacts:
        raise ConfigurationError("Pass --contact or --no-contacts, not both.", reason="usage")
    if zone is not None:
        check_zone(zone)
    session = run.session
    plan = plan_edit(
        session.judge,
        session.me,
        site_view(session, site),
        time_zone=zone,
        contacts=contacts if contacts or no_contacts else None,
        notes=notes,
    )
    return settle(plan) if not isinstance(plan, Description) else sign_site(run, site, plan, how)
