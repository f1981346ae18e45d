"""``interlock-ceremony verify``: proves a transcript to somebody who was not there."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from interlock_ceremony import manifest, media
from interlock_ceremony.audit import audit
from interlock_ceremony.ceremony import Room
from interlock_ceremony.cli.common import command
from interlock_ceremony.cli.options import qr_option
from interlock_ceremony.fingerprint import grouped, qr
from interlock_ceremony.guide import Say
from interlock_ceremony.proved import Audited, Proved
from interlock_core.wire import format_time
from interlock_core.words import words_of

EXAMPLES: Final = """\b
Examples:
  interlock-ceremony verify ceremony/transcript.json
  interlock-ceremony verify ceremony/transcript.json --json
"""


@click.command(epilog=EXAMPLES)
@click.argument("transcript", type=click.Path(path_type=Path))
@qr_option
@command
def verify(room: Room, say: Say, transcript: Path, qr_codes: bool) -> Mapping[str, Any]:
    """Prove TRANSCRIPT with the metadata beside it, on any machine.

    TRANSCRIPT stands in the ceremony's output directory, or in a copy of it without the private
    keys. What it says is computed again from its script and the public keys in the roots: every
    act, every fingerprint, every proof, every signature, and all metadata byte for byte. A later
    ceremony is proved from the genesis on, by the transcripts in transcripts/. A file that no
    transcript names is refused by name.
    """
    data = media.read_transcript(transcript)
    audited = audit(data, media.collect(transcript.parent))
    if manifest.stands_in(transcript.parent):
        manifest.check(transcript.parent)
    media.check_others(transcript.parent, transcript.name)
    qr_codes = qr_codes or sys.stdout.isatty()
    proved = audited.proved
    for earlier in audited.earlier:
        _tell(earlier, say, qr_codes)
    _tell(proved, say, qr_codes)
    expired = [file.file for file in proved.files if file.expires <= room.clock()]
    for file in expired:
        say(f"Note: {file} has expired since; a newer version must have followed it.")
    _tell_what_not(audited, say)
    before = [asdict(one) for one in audited.earlier]
    return {"reason": "verified", "expired": expired, "earlier": before, **asdict(proved)}


def _tell(proved: Proved, say: Say, qr_codes: bool) -> None:
    what = "the genesis" if proved.number == 1 else f"ceremony {proved.number}"
    took_part = [key for key in proved.keys if key.came != "imported"]
    say(f"Proved: {what} of fleet {proved.fleet}, held {format_time(proved.held)}.")
    say(
        f"- The chain of {proved.entries} entries holds; all {len(took_part)} keys of those who "
        "were there signed its head."
    )
    say("- The acts are those of the script, in its order. Script SHA-256:")
    say(f"    {grouped(proved.script_sha256)}")
    say("- Each new key proved possession, and no key stands twice. Fingerprints:")
    for key in proved.keys:
        owner = f"{proved.persons[key.holder]}'s" if key.holder else "online"
        kind = f", {key.scheme}" if key.scheme else ""
        say(f"    {grouped(key.fingerprint)}  {key.name} ({owner}{kind}; {key.came})")
    for name, why in proved.retired.items():
        say(f"    {name} is {why}, for ever.")
    say("- The metadata is what script and keys give, byte for byte. SHA-256:")
    for file in proved.files:
        say(
            f"    {grouped(file.sha256)}  {file.file} ({file.signatures} signatures, "
            f"{file.threshold} needed, expires {format_time(file.expires)})"
        )
        say(f"    in words: {words_of(file.sha256)}")
        if qr_codes:
            say(qr(file.sha256))
    for aside in proved.asides:
        said = aside.says or "interrupted"
        says = f"{proved.persons[aside.by]}: {said}" if aside.by else said
        say(f"- Entry {aside.entry}, {format_time(aside.at)}: {says}")
    if proved.unconfirmed:
        say(f"- {proved.unconfirmed} steps were confirmed by nobody: there was nobody to ask.")


def _tell_what_not(audited: Audited, say: Say) -> None:
    say("Not proved here: that these files are the originals. Compare the SHA-256 of both first")
    say("roots with what those who were there wrote down. Nor who the people were: keys that only")
    say("signed the transcript (attends) stand in no root; compare their fingerprints, too.")
    if audited.earlier:
        say("Nor that no later ceremony was held: ask for the newest transcript.")
