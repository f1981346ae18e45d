"""``interlock-repo delegate``: who may release which product, and who keeps the roster."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_repo.cli.edge import Outcome
from interlock_repo.cli.making import make
from interlock_repo.cli.options import EXISTING_FILE, Plan, new_event
from interlock_repo.drafting import draft_delegations
from interlock_repo.specs import DelegationsSpec, read_spec


@click.command(
    epilog="""\b
Examples:
  interlock-repo sample delegations > delegations.toml
  interlock-repo delegate --event delegations --repository ceremony-output \\
      --root ceremony-output/image/1.root.json delegations.toml
"""
)
@new_event("delegations")
@click.option(
    "--with-renewal",
    is_flag=True,
    help="The new holders sign again what is in force ('renew --after'), and both are published "
    "at once.",
)
@click.argument("spec", type=EXISTING_FILE)
def delegate(
    spec: Path,
    with_renewal: bool,
    plan: Plan,
) -> Outcome:
    """Make a signing event that adds or changes the roles that SPEC names.

    SPEC is a TOML file ('interlock-repo sample delegations'). Roles that it does not name stay as
    they are; an empty one only renews. The holders of the root's targets role sign it. Holders may
    change without the root: one lost key is replaced by itself; of holders who did not sign what
    is in force, a renewal by the new ones goes with it.
    """
    wanted = read_spec(spec, DelegationsSpec)
    return make(
        plan,
        lambda opened, now: draft_delegations(
            opened,
            wanted,
            spec.parent,
            with_renewal=with_renewal,
            now=now,
            days=plan.days,
        ),
    )
