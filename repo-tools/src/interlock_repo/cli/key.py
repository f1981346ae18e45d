"""``interlock-repo key``: make a key, and look at one."""

from __future__ import annotations

from pathlib import Path

import click

from interlock_core import credentials, keys
from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.keys import PRIVATE_SUFFIX, NamedKey
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
"""
)
@click.argument("name")
@click.option(
    "--directory", type=DIRECTORY, required=True, help="Where to put it; made if it is missing."
)
@click.option(
    "--scheme",
    type=click.Choice(sorted(KEY_SCHEMES)),
    default="ed25519",
    show_default=True,
    help="The kind of key.",
)
@passphrase_file
@json_option
def new(
    name: str, directory: Path, scheme: str, passphrase_file: Path | None, as_json: bool
) -> Outcome:
    """Make the key of NAME, encrypted under a passphrase.

    NAME.key.json stays with you. NAME.pub.json is what you hand over; it proves that you hold the
    private half. Names are made of a-z, 0-9 and '-'.
    """
    del as_json
    passphrase = credentials.new_passphrase(passphrase_file, f"passphrase of {name}'s new key")
    private, public = keys.new_key(directory, name, scheme, passphrase)
    named = keys.load_public_key(public)
    lines = (*_lines(named), f"keep         {private}", f"hand over    {public}")
    facts = _facts(named) | {"private": str(private), "public": str(public)}
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
    """Show whose key FILE holds, and its fingerprint.

    FILE is a public key file, or a private one with the public one beside it. The proof of
    possession is checked.
    """
    del as_json
    path = keys.public_path_of(file) if file.name.endswith(PRIVATE_SUFFIX) else file
    named = keys.load_public_key(path)
    return Outcome("key_shown", _lines(named), _facts(named))


def _lines(named: NamedKey) -> tuple[str, ...]:
    return (
        f"name         {named.name}",
        f"kind         {KEY_SCHEMES[named.key.scheme].title}",
        f"fingerprint  {named.key.keyid}",
        f"read aloud   {spoken(named.key.keyid)}",
    )


def _facts(named: NamedKey) -> dict[str, str]:
    return {
        "name": named.name,
        "scheme": named.key.scheme,
        "fingerprint": named.key.keyid,
        "read_aloud": spoken(named.key.keyid),
    }
