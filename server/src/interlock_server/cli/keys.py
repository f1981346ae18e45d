"""``interlock-server keys``: the online keys, made before the ceremony."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_core.credentials import new_passphrase
from interlock_core.errors import ConflictError
from interlock_core.genesis import ONLINE_ROLES
from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.keys import PRIVATE_SUFFIX, PUBLIC_SUFFIX, load_signer, new_key
from interlock_server.cli.common import Command, json_option, say


@click.group()
def keys() -> None:
    """Make the online keys."""


@keys.command(
    cls=Command,
    examples=("interlock-server keys new online --passphrase-file passphrase",),
)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Its first line is the passphrase; without it you are asked twice.",
)
@click.option(
    "--scheme",
    type=click.Choice(sorted(KEY_SCHEMES)),
    default="ed25519",
    show_default=True,
    help="The kind of key.",
)
@json_option
def new(directory: Path, passphrase_file: Path | None, scheme: str, as_json: bool) -> None:
    """Make the three online keys in DIRECTORY, encrypted, with proofs of possession.

    The ceremony imports the .pub.json files; the .key.json files never leave this machine. If an
    earlier call was cut off, the same call finishes it.
    """
    complete = [name for name in ONLINE_ROLES if (directory / (name + PUBLIC_SUFFIX)).exists()]
    if len(complete) == len(ONLINE_ROLES):
        raise ConflictError(f"{directory} holds all three online keys already: nothing was done.")
    passphrase = new_passphrase(passphrase_file, "passphrase of the online keys")
    for name in complete:
        # All three open with one passphrase, or the server could not start.
        load_signer(directory / (name + PRIVATE_SUFFIX), lambda _: passphrase)
    for name in ONLINE_ROLES:
        if name not in complete:
            new_key(directory, name, scheme, passphrase)
    public = [str(directory / (name + PUBLIC_SUFFIX)) for name in ONLINE_ROLES]
    say(
        as_json,
        f"Made {', '.join(ONLINE_ROLES)} in {directory}. Take these to the ceremony:\n  "
        + "\n  ".join(public),
        directory=str(directory),
        public=public,
    )
