"""``key new``: an encrypted private key file and its public half."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from interlock_core.credentials import new_passphrase
from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.keys import load_public_key, new_key
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.key_show import key_facts
from interlock_ops.show import facts, heading

EXAMPLES: Final = (
    "interlock-ops key new alice --directory ~/keys",
    "interlock-ops key new alice --scheme ecdsa-sha2-nistp256 --passphrase-file ~/alice.pass",
)


@click.command("new", cls=Operation, settings=False, examples=EXAMPLES)
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="here",
    help="Where to write NAME.key.json and NAME.pub.json.",
)
@click.option(
    "--scheme",
    type=click.Choice(sorted(KEY_SCHEMES)),
    default="ed25519",
    show_default=True,
    help="The kind of key.",
)
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Its first line becomes the passphrase; without it you are asked twice.",
)
def key_new(
    run: Run, name: str, directory: Path, scheme: str, passphrase_file: Path | None
) -> Answer:
    """Make a key pair for the person NAME.

    NAME.key.json stays with that person, encrypted. NAME.pub.json, which proves that its maker
    holds the private half, goes to those who sign the roster.
    """
    passphrase = new_passphrase(
        passphrase_file, f"new passphrase for the key of {name}", run.edge.prompt
    )
    private, public = new_key(directory, name, scheme, passphrase)
    found = key_facts(load_public_key(public))
    return Answer(
        "key_made",
        [
            heading(f"Made a key for {name}:"),
            *facts(found),
            *facts({"keep": str(private), "hand_over": str(public)}),
        ],
        {"private": str(private), "public": str(public), **found},
    )
