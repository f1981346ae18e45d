"""``interlock-repo stage``: a release becomes a signing event."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from interlock_core import wire
from interlock_core.names import HardwareId
from interlock_repo.cli.edge import Outcome
from interlock_repo.cli.making import make_from
from interlock_repo.cli.options import EXISTING_FILE, Plan, new_event
from interlock_repo.deltas import Told, silent
from interlock_repo.drafting import draft_release, product_ground
from interlock_repo.event import Draft
from interlock_repo.placing import placed
from interlock_repo.repository import Repository
from interlock_repo.review import Section
from interlock_repo.specs import ReleaseSpec, read_spec
from interlock_repo.staging_deltas import with_deltas


@click.command(
    epilog="""\b
Examples:
  interlock-repo sample release > release.toml
  interlock-repo stage --event release-1.4.0 --repository https://updates.example.org \\
      --root image/1.root.json release.toml
  interlock-repo stage --event release-1.4.0 --repository /media/usb/store \\
      --root image/1.root.json release.toml
  interlock-repo stage --event release-1.4.1 --repository https://updates.example.org \\
      --root image/1.root.json --delta-from release-1.4.0/gateway.img release.toml
"""
)
@new_event("release")
@click.option(
    "--new-hardware",
    multiple=True,
    metavar="ID",
    help="A hardware id of the release that no release before names; may be given more than once.",
)
@click.option(
    "--delta-from",
    multiple=True,
    type=EXISTING_FILE,
    metavar="OLD",
    help="Make a delta from this file, which is what a slot holds after an earlier release; may be "
    "given more than once. SPEC may name some as 'delta_from' of an image.",
)
@click.argument("spec", type=EXISTING_FILE)
def stage(
    spec: Path,
    new_hardware: tuple[str, ...],
    delta_from: tuple[Path, ...],
    plan: Plan,
) -> Outcome:
    """Make a signing event of the release that SPEC describes.

    SPEC is a TOML file ('interlock-repo sample release') that names the images, their facts and
    their evidence. The event carries a copy of every file. The holders of the product's role sign
    it. Refused are, among others, a release without a valid SBOM, with a release counter that is
    not above every earlier one, behind a barrier that a supported release cannot get over, or for
    hardware that no release before names, unless --new-hardware says so.

    A delta is a way to get an image with fewer bytes, for gateways that hold OLD. It is signed
    with the release, and changes nothing about what may be installed. One that would not save a
    tenth of the image is left out, and that is said.
    """
    wanted = read_spec(spec, ReleaseSpec)
    declared = wire.convert(
        [*wanted.new_hardware, *new_hardware], tuple[HardwareId, ...], what="new hardware"
    )
    release = replace(wanted, new_hardware=declared)

    @contextmanager
    def drafting(opened: Repository, now: datetime) -> Iterator[tuple[Draft, tuple[Section, ...]]]:
        with placed(spec):
            before = product_ground(opened, release.product).previous
        folder, scratch = spec.parent, plan.event.absolute().parent
        with with_deltas(release, folder, delta_from, before, scratch, _progress) as (whole, told):
            with placed(spec):
                drafted = draft_release(opened, whole, folder, now=now, days=plan.days)
            yield drafted, told

    return make_from(plan, drafting)


@contextmanager
def _progress(name: str, length: int) -> Iterator[Told]:
    """A bar on a terminal."""
    if not sys.stderr.isatty():
        yield silent
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as progress:
        task = progress.add_task(name, total=length)
        yield lambda done, _: progress.update(task, completed=done)
