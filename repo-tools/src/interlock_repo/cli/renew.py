"""``interlock-repo renew``: a product's metadata once more, for longer or by new holders."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_repo.amending import draft_renewal
from interlock_repo.cli.edge import Outcome
from interlock_repo.cli.making import make, signed_delegations
from interlock_repo.cli.options import Plan, after_option, new_event


@click.command(
    epilog="""\b
Examples:
  interlock-repo renew --event renew-2031 --repository https://updates.example.org \\
      --root image/1.root.json ward-gateway
  interlock-repo renew --after new-holders --event renewal --root image/1.root.json \\
      --repository https://updates.example.org ward-gateway
"""
)
@new_event("renewal")
@after_option
@click.argument("product")
def renew(
    product: str,
    after: tuple[Path, ...],
    plan: Plan,
) -> Outcome:
    """Make a signing event that signs what is in force of PRODUCT again.

    Without --after it is for a product whose metadata expires before its next release. With it,
    the holders that a signed delegations event names sign in the place of those who went: publish
    both at once, with 'interlock-repo publish DELEGATIONS --with RENEWAL'. Nothing else changes,
    but that expired permits leave.
    """
    return make(
        plan,
        lambda opened, now: draft_renewal(
            opened,
            product,
            after=signed_delegations(after, plan.root, now),
            now=now,
            days=plan.days,
        ),
    )
