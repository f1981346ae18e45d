"""``interlock-repo key``: make a key, and look at one."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_core import keys
from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.keys import PRIVATE_SUFFIX, NamedKey
from interlock_core.new_keys import MADE_INSIDE_HELP, SCHEME_DEFAULT, make
from interlock_repo.cli.edge import Outcome, json_option
from interlock_repo.cli.options import DIRECTORY, FILE, passphrase_file
from interlock_repo.trust import spoken


@click.group()
def key() -> None:
    """Make a key of your own, or look at one."""


@key.command(
    epilog="""\b
Examples:
  interlock-repo key new alice --directory keys
  interlock-repo key new alice --directory keys --scheme ecdsa-sha2-nistp256
  interlock-repo key new alice --directory keys --token 'hsm:2?label=alice'
"""
)
@click.argument("name")
@click.option(
    "--directory", type=DIRECTORY, required=True, help="Where to put it; made if it is missing."
)
@click.option(
    "--scheme",
    type=click.Choice(sorted(KEY_SCHEMES)),
    show_default=SCHEME_DEFAULT,
    help="The kind of key.",
)
@click.option("--token", metavar="URI", help=MADE_INSIDE_HELP)
@passphrase_file
@json_option
def new(
    name: str,
    directory: Path,
    scheme: str | None,
    token: str | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> Outcome:
    """Make the key of NAME, encrypted under a passphrase or inside a token.

    NAME.key.json stays with you: the key itself, or where in the token it lives. NAME.pub.json is
    what you hand over; it proves that you hold the private half. Names are made of a-z, 0-9 and
    '-'. If an earlier call was cut off, the same call finishes it.
    """
    del as_json
    private, public = make(
        directory, name, scheme=scheme, token=token, passphrase_file=passphrase_file
    )
    named = keys.load_public_key(public)
    home = keys.home_of(private)
    lines = (*_lines(named, home), f"keep         {private}", f"hand over    {public}")
    facts = _facts(named, home) | {"private": str(private), "public": str(public)}
    return Outcome("key_made", lines, facts)


@key.command(
    epilog="""\b
Example:
  interlock-repo key show keys/alice.pub.json
"""
)
@click.argument("file", type=FILE)
@json_option
def show(file: Path, as_json: bool) -> Outcome:
    """Show whose key FILE holds, its fingerprint, and where its private half lives.

    FILE is a public key file, or a private one with the public one beside it. The proof of
    possession is checked. Where the private half lives is known only of a private file.
    """
    del as_json
    is_private = file.name.endswith(PRIVATE_SUFFIX)
    named = keys.load_public_key(keys.public_path_of(file) if is_private else file)
    home = keys.home_of(file) if is_private else None
    return Outcome("key_shown", _lines(named, home), _facts(named, home))


def _lines(named: NamedKey, home: str | None) -> tuple[str, ...]:
    lives = () if home is None else (f"lives in     {home}",)
    return (
        f"name         {named.name}",
        f"kind         {KEY_SCHEMES[named.key.scheme].title}",
        f"fingerprint  {named.key.keyid}",
        f"read aloud   {spoken(named.key.keyid)}",
        *lives,
    )


def _facts(named: NamedKey, home: str | None) -> dict[str, str]:
    lives = {} if home is None else {"lives_in": home}
    return {
        "name": named.name,
        "scheme": named.key.scheme,
        "fingerprint": named.key.keyid,
        "read_aloud": spoken(named.key.keyid),
        **lives,
    }
