"""``interlock-repo roster``: who runs the fleet, and by which rules."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_repo.cli.edge import Outcome
from interlock_repo.cli.making import make_roster
from interlock_repo.cli.options import EXISTING_FILE, Plan, new_event
from interlock_repo.drafting import draft_roster
from interlock_repo.rosters import check_patterns
from interlock_repo.specs import RosterSpec, read_spec


@click.command(
    epilog="""\b
Examples:
  interlock-repo sample roster > roster.toml
  interlock-repo roster --event roster-may --repository https://updates.example.org \\
      --root image/1.root.json roster.toml
"""
)
@new_event("roster")
@click.argument("spec", type=EXISTING_FILE)
def roster(
    spec: Path,
    plan: Plan,
) -> Outcome:
    """Make a signing event of the roster that SPEC describes.

    SPEC is a TOML file ('interlock-repo sample roster'): the whole roster, not a change of it.
    Gateways believe a roster for 35 days after it was issued: while nothing changes,
    'interlock-repo renew-roster' makes the next. The holders of the role 'interlock' sign it. Of
    persons who leave it, it says which stops another must sign again first.
    """
    wanted = read_spec(spec, RosterSpec)
    check_patterns(wanted, spec.read_text("utf-8"))
    return make_roster(
        plan,
        lambda opened, now: draft_roster(opened, wanted, spec.parent, now=now, days=plan.days),
    )
