"""``interlock-repo permit``: one move below the floor, for those who need it."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_repo.amending import draft_permits
from interlock_repo.cli.edge import Outcome
from interlock_repo.cli.making import make
from interlock_repo.cli.options import EXISTING_FILE, Plan, new_event
from interlock_repo.specs import PermitSpec, read_spec


@click.command(
    epilog="""\b
Examples:
  interlock-repo sample permit > permit.toml
  interlock-repo permit --event permit-recall-7 --repository https://updates.example.org \\
      --root image/1.root.json permit.toml
"""
)
@new_event("permit")
@click.argument("spec", type=EXISTING_FILE)
def permit(
    spec: Path,
    plan: Plan,
) -> Outcome:
    """Make a signing event of the permits that SPEC describes, or that takes permits back.

    SPEC is a TOML file ('interlock-repo sample permit'). A permit lets each gateway that it names
    go from one release down to another below its floor, once, under one order of the kind
    'recall', until it expires. It opens nothing by itself: the order is authorised apart, and the
    floor stays. The holders of the product's role sign it. Expired permits leave with the next
    event of the product.
    """
    wanted = read_spec(spec, PermitSpec)
    return make(
        plan,
        lambda opened, now: draft_permits(opened, wanted, now=now, days=plan.days),
    )
