"""``interlock-server keys``: the online keys, made or proved before the ceremony; the log's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click

from interlock_core import durable
from interlock_core.checkpoint import ED25519, LOG_KEY
from interlock_core.credentials import Source, new_passphrase, passphrase_handler, service_handler
from interlock_core.errors import ConflictError
from interlock_core.genesis import ONLINE_ROLES
from interlock_core.keybytes import KEY_SCHEMES
from interlock_core.keys import (
    PRIVATE_SUFFIX,
    PUBLIC_SUFFIX,
    load_signer,
    new_key,
    new_token_key,
    public_key_file,
)
from interlock_core.token_keys import CURVES, DEFAULT_SCHEME
from interlock_server.cli.common import Command, json_option, say
from interlock_server.config import PIN_CREDENTIAL
from interlock_server.kms import Kms, handle, is_kms

PURPOSES: Final = {
    "genesis": (*ONLINE_ROLES, LOG_KEY),
    "rotation": ONLINE_ROLES,
    "log": (LOG_KEY,),
}
"""What keys are made for, and which these are: the log keeps its key in a rotation."""


@click.group()
def keys() -> None:
    """Make the online keys, or prove that they live elsewhere."""


@keys.command(
    cls=Command,
    examples=(
        "interlock-server keys new online --passphrase-file passphrase",
        "interlock-server keys new online-2 --for rotation --passphrase-file passphrase",
    ),
)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Its first line is the passphrase; without it you are asked twice.",
)
@click.option(
    "--for",
    "purpose",
    type=click.Choice(list(PURPOSES)),
    default="genesis",
    show_default=True,
    help="genesis: the online keys and the log's; rotation: new online keys; log: the log's alone, "
    "beside online keys that live in a token or a KMS.",
)
@click.option(
    "--scheme",
    type=click.Choice(sorted(KEY_SCHEMES)),
    default="ed25519",
    show_default=True,
    help="The kind of key.",
)
@json_option
def new(
    directory: Path, passphrase_file: Path | None, purpose: str, scheme: str, as_json: bool
) -> None:
    """Make the online keys and the log's in DIRECTORY, encrypted, with proofs of possession.

    The ceremony imports the three online .pub.json files; operators and auditors take log.pub.json,
    which is always Ed25519 and stays when online keys are rotated. The .key.json files never leave
    this machine. If an earlier call was cut off, or made no log key yet, the same call adds what is
    missing.
    """
    names = PURPOSES[purpose]
    complete = [name for name in names if (directory / (name + PUBLIC_SUFFIX)).exists()]
    if len(complete) == len(names):
        raise ConflictError(f"{directory} holds {', '.join(names)} already: nothing was done.")
    passphrase = new_passphrase(passphrase_file, "passphrase of the online keys")
    for name in complete:
        # All open with one passphrase, or the server could not start.
        load_signer(directory / (name + PRIVATE_SUFFIX), lambda _: passphrase)
    for name in names:
        if name not in complete:
            new_key(directory, name, ED25519 if name == LOG_KEY else scheme, passphrase)
    public = [str(directory / (name + PUBLIC_SUFFIX)) for name in names if name != LOG_KEY]
    log_key = str(directory / (LOG_KEY + PUBLIC_SUFFIX)) if LOG_KEY in names else None
    text = f"Made {', '.join(name for name in names if name not in complete)} in {directory}."
    if public:
        text += " Take these to the ceremony:\n  " + "\n  ".join(public)
    if log_key:
        text += f"\nGive this to operators and auditors:\n  {log_key}"
    say(as_json, text, directory=str(directory), public=public, log_key=log_key)


@keys.command(
    cls=Command,
    examples=(
        "interlock-server keys prove image-online awskms:alias/image --directory online",
        "interlock-server keys prove director-online 'hsm:4?label=server' --directory online",
    ),
)
@click.argument("name", type=click.Choice(list(ONLINE_ROLES)))
@click.argument("uri")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where to write NAME.pub.json, and the handle NAME.key.json that the settings name.",
)
@click.option(
    "--scheme",
    type=click.Choice(sorted(CURVES)),
    default=DEFAULT_SCHEME,
    show_default=True,
    help="The kind of key that is made in a token; a key in a KMS has its kind.",
)
@click.option(
    "--pin-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Its first line is the token's PIN, as the server will read it; without it you are asked.",
)
@json_option
def prove(
    name: str, uri: str, directory: Path, scheme: str, pin_file: Path | None, as_json: bool
) -> None:
    """Have the online key NAME, which lives at URI, prove that it is there.

    A key in a KMS (awskms:…) was made by whoever runs the KMS. A key in a PKCS#11 token
    (hsm:<number>?label=<label>) is made inside it by this command, and never leaves it. Either
    signs its own public half, which becomes NAME.pub.json: the ceremony imports that, and nothing
    else. If an earlier call was cut off, the same call finishes it.
    """
    public = directory / (name + PUBLIC_SUFFIX)
    if is_kms(uri):
        private = _proved_by_kms(name, uri, public)
    else:
        source = Source(pin_file, "--pin-file", PIN_CREDENTIAL)
        secrets = passphrase_handler(None) if pin_file is None else service_handler(source, source)
        private = new_token_key(directory, name, scheme, uri, secrets).private
    say(
        as_json,
        f"The key {name} proved that it is there. Take {public} to the ceremony, and set "
        f"keys.{name.replace('-', '_')} = {json.dumps(str(private))}.",
        name=name,
        public=str(public),
        private=str(private),
    )


def _proved_by_kms(name: str, uri: str, public: Path) -> Path:
    """Write the handle and the public half, in this order, as of every key."""
    if public.exists():
        raise ConflictError(f"{public} exists: the key {name} was proved or made before.")
    data = public_key_file(name, Kms().prove(uri))
    private = public.with_name(name + PRIVATE_SUFFIX)
    durable.mkdir(public.parent)
    durable.create(private, handle(uri), mode=0o600)
    durable.create(public, data)
    return private
