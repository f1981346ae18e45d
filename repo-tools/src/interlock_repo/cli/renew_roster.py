"""``interlock-repo renew-roster``: the roster in force once more, for another month."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_repo.cli.edge import Outcome
from interlock_repo.cli.making import make_roster, signed_delegations
from interlock_repo.cli.options import Plan, after_option, new_event
from interlock_repo.drafting import draft_roster_renewal


@click.command(
    epilog="""\b
Examples:
  interlock-repo renew-roster --event roster-june --repository https://updates.example.org \\
      --root image/1.root.json
  interlock-repo renew-roster --after new-holders --event roster-june --root image/1.root.json \\
      --repository https://updates.example.org
"""
)
@new_event("roster")
@after_option
@click.option(
    "--drop-expired",
    is_flag=True,
    help="Leave out grants that have expired, and who has no other.",
)
def renew_roster(after: tuple[Path, ...], drop_expired: bool, plan: Plan) -> Outcome:
    """Make a signing event of the roster in force, with the next number, issued now.

    Gateways believe a roster for 35 days: run this once a month while nothing changes. It says
    which grants run out soon, and refuses to carry expired ones on in silence. The holders of the
    role 'interlock' sign it; with --after, those whom signed delegations name, and both are
    published at once.
    """
    return make_roster(
        plan,
        lambda opened, now: draft_roster_renewal(
            opened,
            drop_expired=drop_expired,
            after=signed_delegations(after, plan.root, now),
            now=now,
            days=plan.days,
        ),
    )
