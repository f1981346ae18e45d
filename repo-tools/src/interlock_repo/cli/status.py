"""``interlock-repo status``: who signed, and who must still."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_core.errors import Exit
from interlock_repo.cli import show
from interlock_repo.cli.edge import Outcome, json_option
from interlock_repo.cli.options import DIRECTORY, trusted_root
from interlock_repo.copies import bring_together, open_copies
from interlock_repo.review import told


@click.command(
    epilog="""\b
Examples:
  interlock-repo status release-1.4.0
  interlock-repo status release-1.4.0 /media/usb/release-1.4.0
  interlock-repo status release-1.4.0 /media/usb/release-1.4.0 --merge
"""
)
@click.argument("event", nargs=-1, required=True, type=DIRECTORY)
@click.option("--merge", is_flag=True, help="Write the signatures of all copies into the first.")
@trusted_root
@json_option
def status(
    event: tuple[Path, ...], merge: bool, trusted_root: Path | None, as_json: bool
) -> Outcome:
    """Say who signed EVENT and who must still sign it.

    Several copies of one event are looked at together. Exit code 0 when enough people signed, 10
    while signatures are missing.
    """
    del as_json
    first, tally = open_copies(event, trusted_root)
    brought = bring_together(first, tally) if merge else []
    lines = [
        f"{first.file.role} {first.file.version}, read aloud: {first.spoken_digest}",
        f"  in words: {first.words}",
    ]
    lines += [f"  + {told(one.file)}" for one in tally.signed]
    lines += [f"    {holder.title} has not signed" for holder in tally.waiting]
    lines += [f"Brought in the signature of {name}." for name in brought]
    lines.append(tally.next_step())
    return Outcome(
        "signatures_missing" if tally.needed else "threshold_met",
        lines,
        show.event_facts(first, tally) | {"brought_in": brought},
        Exit.DEFERRED if tally.needed else Exit.DONE,
    )
