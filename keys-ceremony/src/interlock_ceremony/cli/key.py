"""``interlock-ceremony key``: a key for somebody who signs the transcript and holds no role."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from interlock_ceremony.ceremony import Room
from interlock_ceremony.cli.common import command
from interlock_ceremony.fingerprint import fingerprint, spoken
from interlock_ceremony.guide import Say
from interlock_core import keys
from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.new_keys import MADE_INSIDE_HELP, SCHEME_DEFAULT, make

EXAMPLES: Final = """\b
Examples:
  interlock-ceremony key new dana --directory attending
  interlock-ceremony key new dana --directory attending --token 'hsm:1?label=dana'
"""


@click.group()
def key() -> None:
    """Make a key of your own, to sign transcripts with."""


@key.command(epilog=EXAMPLES)
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    required=True,
    help="Where to put it; made if it is missing.",
)
@click.option(
    "--scheme",
    type=click.Choice(sorted(KEY_SCHEMES)),
    show_default=SCHEME_DEFAULT,
    help="The kind of key.",
)
@click.option("--token", metavar="URI", help=MADE_INSIDE_HELP)
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="Its first line is the passphrase (mode 0600); without it you are asked twice.",
)
@command
def new(
    room: Room,
    say: Say,
    name: str,
    directory: Path,
    scheme: str | None,
    token: str | None,
    passphrase_file: Path | None,
) -> Mapping[str, Any]:
    """Make the key of NAME, your short name in scripts.

    An administrator or a witness who holds no role signs the transcript with it: the script's
    [attendance] names NAME.pub.json, and 'run --key' gets NAME.key.json, which stays with you. If
    an earlier call was cut off, the same call finishes it.
    """
    private, public = make(
        directory,
        name,
        scheme=scheme,
        token=token,
        passphrase_file=passphrase_file,
        prompt=room.prompt,
        scrypt_n=room.scrypt_n,
    )
    made = keys.load_public_key(public).key
    digest = fingerprint(made)
    say(f"Made {name} ({made.scheme}):\n{spoken(digest)}")
    say(f"Keep {private}. Hand over {public}.")
    return {
        "reason": "key_made",
        "name": name,
        "scheme": made.scheme,
        "fingerprint": digest,
        "private": str(private),
        "public": str(public),
    }
