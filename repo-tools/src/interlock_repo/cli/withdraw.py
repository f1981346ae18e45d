"""``interlock-repo withdraw``: a release that nobody may install any more."""

from __future__ import annotations

import click

from interlock_repo.amending import draft_withdrawal
from interlock_repo.cli.edge import Outcome
from interlock_repo.cli.making import make
from interlock_repo.cli.options import Plan, new_event


@click.command(
    epilog="""\b
Examples:
  interlock-repo withdraw --event withdraw-1.4.0 --repository https://updates.example.org \\
      --root image/1.root.json --reason "loses the network after 49 days" ward-gateway 1.4.0
"""
)
@new_event("withdrawal")
@click.option("--reason", required=True, help="Why, on one line; it is signed, and stays.")
@click.option(
    "--despite-stranding",
    is_flag=True,
    help="Go on though some gateways cannot get to the newest release any more.",
)
@click.argument("product")
@click.argument("version")
def withdraw(
    product: str,
    version: str,
    reason: str,
    despite_stranding: bool,
    plan: Plan,
) -> Outcome:
    """Make a signing event that takes VERSION of PRODUCT back.

    Its images leave the product's metadata: gateways refuse every order for them, also one that
    runs already. What is installed stays installed; an order to another release moves it. The
    SBOM and all other evidence stay signed and within reach. Version and release counter stay used
    for ever. Refused while a supported release needs it as a step to the newest one. The holders
    of the product's role sign the event.
    """
    return make(
        plan,
        lambda opened, now: draft_withdrawal(
            opened,
            product,
            version,
            reason,
            despite_stranding=despite_stranding,
            now=now,
            days=plan.days,
        ),
    )
