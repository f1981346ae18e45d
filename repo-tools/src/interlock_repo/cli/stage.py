"""``interlock-repo stage``: a release becomes a signing event."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click
from msgspec.structs import replace

from interlock_core import wire
from interlock_core.names import HardwareId
from interlock_repo.cli.edge import Outcome
from interlock_repo.cli.making import make
from interlock_repo.cli.options import EXISTING_FILE, Plan, new_event
from interlock_repo.drafting import draft_release
from interlock_repo.event import Draft
from interlock_repo.placing import placed
from interlock_repo.repository import Repository
from interlock_repo.specs import ReleaseSpec, read_spec


@click.command(
    epilog="""\b
Examples:
  interlock-repo sample release > release.toml
  interlock-repo stage --event release-1.4.0 --repository https://updates.example.org \\
      --root image/1.root.json release.toml
  interlock-repo stage --event release-1.4.0 --repository /media/usb/store \\
      --root image/1.root.json release.toml
"""
)
@new_event("release")
@click.option(
    "--new-hardware",
    multiple=True,
    metavar="ID",
    help="A hardware id of the release that no release before names; may be given more than once.",
)
@click.argument("spec", type=EXISTING_FILE)
def stage(
    spec: Path,
    new_hardware: tuple[str, ...],
    plan: Plan,
) -> Outcome:
    """Make a signing event of the release that SPEC describes.

    SPEC is a TOML file ('interlock-repo sample release') that names the images, their facts and
    their evidence. The event carries a copy of every file. The holders of the product's role sign
    it. Refused are, among others, a release without a valid SBOM, with a release counter that is
    not above every earlier one, behind a barrier that a supported release cannot get over, or for
    hardware that no release before names, unless --new-hardware says so.
    """
    wanted = read_spec(spec, ReleaseSpec)
    declared = wire.convert(
        [*wanted.new_hardware, *new_hardware], tuple[HardwareId, ...], what="new hardware"
    )
    release = replace(wanted, new_hardware=declared)

    def draft(opened: Repository, now: datetime) -> Draft:
        with placed(spec):
            return draft_release(opened, release, spec.parent, now=now, days=plan.days)

    return make(plan, draft)
