"""``interlock-repo review``: what would be signed, in words."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_core.clock import system_clock
from interlock_repo.cli import show
from interlock_repo.cli.edge import Outcome, json_option
from interlock_repo.cli.options import DIRECTORY, EXISTING_FILE, trusted_root
from interlock_repo.reading import apply_from, open_event
from interlock_repo.review import account, tally_of
from interlock_repo.vetting import vet


@click.command(
    epilog="""\b
Examples:
  interlock-repo review release-1.4.0
  interlock-repo review release-1.4.0 --root image/1.root.json
  interlock-repo review release-1.4.1 --delta-from release-1.4.0/gateway.img
"""
)
@click.argument("event", type=DIRECTORY)
@trusted_root
@click.option(
    "--delta-from",
    multiple=True,
    type=EXISTING_FILE,
    metavar="OLD",
    help="Apply the deltas that are made from this file, and see that they give the image; may be "
    "given more than once.",
)
@json_option
def review(
    event: Path, trusted_root: Path | None, delta_from: tuple[Path, ...], as_json: bool
) -> Outcome:
    """Check everything in EVENT and say what would change.

    Every file is checked against event.json and the metadata; one that is missing, changed or
    extra is named. Read the digest aloud to one another: it is the same for all who look at the
    same event. Deltas are held against the image that they lead to; with the old image at hand,
    --delta-from applies them as a gateway would.
    """
    opened = open_event(event, trusted_root)
    applied = {path: str(old) for old in delta_from for path in apply_from(opened, old)}
    now = system_clock()
    shown = account(opened, now, root_is_trusted=trusted_root is not None)
    tally = tally_of(opened)
    if not as_json:
        show.show(shown)
    vet(opened, now)
    facts = show.event_facts(opened, tally) | {"account": show.as_json(shown.sections)}
    facts["applied"] = sorted(applied)
    said = [f"{path} gives its image from {old}." for path, old in sorted(applied.items())]
    return Outcome("reviewed", ("", *said, tally.next_step()), facts)
