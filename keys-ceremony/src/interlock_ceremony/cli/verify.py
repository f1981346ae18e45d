"""``interlock-ceremony verify``: proves a transcript to somebody who was not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from interlock_ceremony import media
from interlock_ceremony.audit import audit
from interlock_ceremony.ceremony import Room, Say
from interlock_ceremony.cli.common import command
from interlock_ceremony.fingerprint import grouped
from interlock_ceremony.proved import Proved
from interlock_core.wire import format_time

EXAMPLES: Final = """\b
Examples:
  interlock-ceremony verify ceremony/transcript.json
  interlock-ceremony verify ceremony/transcript.json --json
"""


@click.command(epilog=EXAMPLES)
@click.argument("transcript", type=click.Path(path_type=Path))
@command
def verify(room: Room, say: Say, transcript: Path) -> Mapping[str, Any]:
    """Prove TRANSCRIPT with the metadata beside it, on any machine.

    TRANSCRIPT stands in the ceremony's output directory, or in a copy of it without the private
    keys. What it says is computed again from its script and the public keys in the roots: every
    act, every fingerprint, every proof, every signature, and both roots byte for byte.
    """
    data = media.read_transcript(transcript)
    proved = audit(data, media.collect(transcript.parent))
    _tell(proved, say)
    expired = [file.file for file in proved.files if file.expires <= room.clock()]
    for file in expired:
        say(f"Note: {file} has expired since; a newer version must have followed it.")
    return {"reason": "verified", "expired": expired, **asdict(proved)}


def _tell(proved: Proved, say: Say) -> None:
    made = [key for key in proved.keys if key.holder is not None]
    say(f"Proved: the genesis of fleet {proved.fleet}, held {format_time(proved.held)}.")
    say(
        f"- The chain of {proved.entries} entries holds; all {len(made)} keys made signed its head."
    )
    say("- The acts are those of the script, in its order. Script SHA-256:")
    say(f"    {grouped(proved.script_sha256)}")
    say("- Each key proved possession, and no key stands twice. Fingerprints:")
    for key in proved.keys:
        owner = f"{proved.persons[key.holder]}'s" if key.holder else "online"
        say(f"    {grouped(key.fingerprint)}  {key.name} ({owner}, {key.scheme})")
    say("- The metadata is what script and keys give, byte for byte. SHA-256:")
    for file in proved.files:
        say(
            f"    {grouped(file.sha256)}  {file.file} ({file.signatures} signatures, "
            f"{file.threshold} needed, expires {format_time(file.expires)})"
        )
    say("Not proved here: that these files are the originals. Compare the SHA-256 of both roots")
    say("with what those who were there wrote down.")
