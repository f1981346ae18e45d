"""``interlock-ceremony run``: holds the ceremony."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from interlock_ceremony import ceremony, custody
from interlock_ceremony.ceremony import Room, Say
from interlock_ceremony.cli.common import command
from interlock_ceremony.review import review
from interlock_core.names import is_name


def holder_files(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, Path]:
    """Read ``HOLDER=FILE`` options.

    Raises:
        click.BadParameter: another form, or a holder twice.
    """
    files: dict[str, Path] = {}
    for value in values:
        holder, sign, file = value.partition("=")
        if not is_name(holder) or not sign or not file:
            raise click.BadParameter(f"{value!r} must read HOLDER=FILE.", context, parameter)
        if holder in files:
            raise click.BadParameter(f"{holder} stands twice.", context, parameter)
        files[holder] = Path(file)
    return files


EXAMPLES: Final = """\b
Examples:
  interlock-ceremony run genesis.toml
  interlock-ceremony run genesis.toml --passphrase-file alice=a.txt --passphrase-file bob=b.txt
"""


@click.command(epilog=EXAMPLES)
@click.argument("script", type=click.Path(path_type=Path))
@click.option(
    "--passphrase-file",
    "files",
    metavar="HOLDER=FILE",
    multiple=True,
    callback=holder_files,
    help="Take a holder's passphrase from the first line of a file (mode 0600) instead of asking.",
)
@command
def run(room: Room, say: Say, script: Path, files: Mapping[str, Path]) -> Mapping[str, Any]:
    """Hold the ceremony that SCRIPT describes.

    SCRIPT is checked whole first. Then every holder types a passphrase, twice; the keys are made,
    both roots are signed, and the output directory appears at once, complete, with a transcript
    that every key signed. If anything goes wrong, nothing appears.
    """
    reviewed = review(script, room.clock())
    passphrases = custody.passphrases(reviewed.script, files, room.prompt)
    proved = ceremony.perform(reviewed, passphrases, room, say)
    say(f"Complete: {reviewed.output}")
    say("Write down the fingerprints above and both roots' SHA-256, and give each holder their")
    say("own keys/*.key.json: it stays offline, and no copy of it stays here.")
    return {"reason": "completed", "output": str(reviewed.output), **asdict(proved)}
