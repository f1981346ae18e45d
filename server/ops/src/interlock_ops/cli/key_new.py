"""``key new``: a private key, encrypted in a file or inside a token, and its public half."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.keys import load_public_key
from interlock_core.new_keys import MADE_INSIDE_HELP, SCHEME_DEFAULT, make
from interlock_ops.cli.edge import Answer, Operation, Run
from interlock_ops.cli.key_show import key_facts
from interlock_ops.show import facts, heading

EXAMPLES: Final = (
    "interlock-ops key new alice --directory ~/keys",
    "interlock-ops key new alice --scheme ecdsa-sha2-nistp256 --passphrase-file ~/alice.pass",
    "interlock-ops key new alice --token 'hsm:2?label=alice'",
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
    show_default=SCHEME_DEFAULT,
    help="The kind of key.",
)
@click.option("--token", metavar="URI", help=MADE_INSIDE_HELP)
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Its first line becomes the passphrase; without it you are asked twice.",
)
def key_new(
    run: Run,
    name: str,
    directory: Path,
    scheme: str | None,
    token: str | None,
    passphrase_file: Path | None,
) -> Answer:
    """Make a key pair for the person NAME, encrypted under a passphrase or inside a token.

    NAME.key.json stays with that person: the key itself, or where in the token it lives.
    NAME.pub.json, which proves that its maker holds the private half, goes to those who sign the
    roster. If an earlier call was cut off, the same call finishes it.
    """
    private, public = make(
        directory,
        name,
        scheme=scheme,
        token=token,
        passphrase_file=passphrase_file,
        prompt=run.edge.prompt,
    )
    found = key_facts(load_public_key(public), private)
    return Answer(
        "key_made",
        [
            heading(f"Made a key for {name}:"),
            *facts(found),
            *facts({"keep": str(private), "hand_over": str(public)}),
        ],
        {"private": str(private), "public": str(public), **found},
    )
