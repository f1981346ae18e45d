"""``interlock-repo sign``: one person signs, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from interlock_core import keys
from interlock_core.clock import system_clock
from interlock_core.credentials import passphrase_handler
from interlock_core.errors import ConfigurationError
from interlock_core.keys import EncryptedFileSigner, NamedKey
from interlock_repo.as_signed import as_signed
from interlock_repo.cli import show
from interlock_repo.cli.edge import Outcome, is_terminal, json_option
from interlock_repo.cli.options import DIRECTORY, EXISTING_FILE, passphrase_file, trusted_root
from interlock_repo.event import put_signature
from interlock_repo.reading import open_event
from interlock_repo.review import account, tally_of
from interlock_repo.signatures import MEANINGS
from interlock_repo.signing import Meaning, holder_for
from interlock_repo.signing import sign as make_signature
from interlock_repo.vetting import vet


@click.command(
    epilog="""\b
Examples:
  interlock-repo sign release-1.4.0 --key keys/alice.key.json
  interlock-repo sign release-1.4.0 --key keys/alice.key.json --root image/1.root.json \\
      --meaning reviewed --reason 'tests passed: run 118'
"""
)
@click.argument("event", type=DIRECTORY)
@click.option(
    "--key",
    "key",
    required=True,
    metavar="FILE|URI",
    help="Your private key: NAME.key.json, or the URI of a key in a token or KMS.",
)
@click.option(
    "--public",
    type=EXISTING_FILE,
    metavar="FILE",
    help="Your public key file, where it is not beside the private one.",
)
@click.option(
    "--meaning",
    type=click.Choice(MEANINGS),
    help="What your signature means, for the record. It counts the same. Without it you are asked.",
)
@click.option(
    "--reason", metavar="TEXT", help="Why you sign, for the record. Without it you are asked."
)
@trusted_root
@passphrase_file
@click.option(
    "--yes",
    is_flag=True,
    help="Do not ask whether to sign what was shown; --meaning and --reason must be given.",
)
@json_option
def sign(
    event: Path,
    key: str,
    public: Path | None,
    meaning: str | None,
    reason: str | None,
    trusted_root: Path | None,
    passphrase_file: Path | None,
    yes: bool,
    as_json: bool,
) -> Outcome:
    """Show EVENT, and add your signature to it.

    Only keys that the delegating metadata names may sign, each once. Signers may work on copies,
    in any order. The signature is made over the metadata's exact bytes; who signed, when, with
    which meaning and why is signed beside it, together with the digest of the whole event: any
    change of it voids the signature. Meaning and reason are asked for; nothing is assumed.
    """
    now = system_clock()
    opened = open_event(event, trusted_root)
    show.show(account(opened, now, root_is_trusted=trusted_root is not None), err=as_json)
    vet(opened, now)
    named = _public_half(key, public)
    holder = holder_for(opened, named, now)
    meaning, reason = _said(meaning, reason, holder.title, asks=not yes)
    signer = keys.load_signer(key, passphrase_handler(passphrase_file), named.key)
    file = make_signature(
        opened,
        signer,
        holder,
        person=named.name,
        meaning=cast("Meaning", meaning),
        reason=reason,
        now=now,
    )
    path = put_signature(event, file, as_signed(opened))
    signed = open_event(event, trusted_root)
    tally = tally_of(signed)
    return Outcome(
        "signed",
        ("", f"Signed by {file.person}: {path}", tally.next_step()),
        show.event_facts(signed, tally) | {"signature": str(path)},
    )


def _public_half(key: str, public: Path | None) -> NamedKey:
    if public is not None:
        return keys.load_public_key(public)
    scheme = f"{EncryptedFileSigner.SCHEME}:"
    if ":" in key and not key.startswith(scheme) and not Path(key).exists():
        raise ConfigurationError(
            f"The key {key[:80]} is not a file: pass its public key file with --public."
        )
    return keys.load_public_key(keys.public_path_of(Path(key.removeprefix(scheme))))


def _said(meaning: str | None, reason: str | None, title: str, *, asks: bool) -> tuple[str, str]:
    """Meaning and reason, which people say and nobody says for them."""
    if asks and not is_terminal():
        raise ConfigurationError(
            "There is no terminal to ask at whether to sign: review the event first, then pass "
            "--yes, --meaning and --reason."
        )
    if not asks and (meaning is None or reason is None):
        missing = "--meaning" if meaning is None else "--reason"
        raise ConfigurationError(
            f"{missing} is missing: with --yes nobody is asked what the signature means and why "
            "it is made."
        )
    if meaning is None:
        meaning = click.prompt("Meaning", type=click.Choice(MEANINGS), err=True)
    if reason is None:
        reason = click.prompt("Reason, for the record", err=True)
    if asks:
        click.confirm(f"Sign this as {title}, meaning {meaning}?", abort=True, err=True)
    return meaning, reason
