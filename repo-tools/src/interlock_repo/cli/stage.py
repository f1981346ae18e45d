"""``interlock-repo stage``: a release becomes a signing event."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_repo.cli.edge import Outcome
from interlock_repo.cli.making import make
from interlock_repo.cli.options import EXISTING_FILE, Plan, new_event
from interlock_repo.drafting import draft_release
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
@click.argument("spec", type=EXISTING_FILE)
def stage(
    spec: Path,
    plan: Plan,
) -> Outcome:
    """Make a signing event of the release that SPEC describes.

    SPEC is a TOML file ('interlock-repo sample release') that names the images, their facts and
    their evidence; an SBOM is required. The event carries a copy of every file. The holders of
    the product's role sign it.
    """
    wanted = read_spec(spec, ReleaseSpec)
    return make(
        plan,
        lambda opened, now: draft_release(opened, wanted, spec.parent, now=now, days=plan.days),
    )
