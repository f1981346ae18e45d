"""``interlock-repo roster``: who runs the fleet, and by which rules."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_repo.cli.edge import Outcome
from interlock_repo.cli.making import make
from interlock_repo.cli.options import EXISTING_FILE, Plan, new_event
from interlock_repo.drafting import draft_roster
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
    Gateways believe a roster for 35 days after it was issued: make a new one each month, from the
    same file if nothing changed. The holders of the role 'interlock' sign it.
    """
    wanted = read_spec(spec, RosterSpec)
    return make(
        plan,
        lambda opened, now: draft_roster(opened, wanted, spec.parent, now=now, days=plan.days),
    )
