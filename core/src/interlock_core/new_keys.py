"""How a person's key is made at a command line: in a file, or inside a token (I/O).

Rules:

1. What people are asked for, and which kind of key they get unless they ask for another, is the
   same in every zone: Ed25519 in a file, P-256 in a token, since every token has it.
2. A file is encrypted under a passphrase that a person types twice (``credentials``); a token asks
   for its PIN, and no file holds that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from interlock_core import credentials, keys, token_keys

FILE_SCHEME: Final = "ed25519"
SCHEME_DEFAULT: Final = f"{FILE_SCHEME}, or {token_keys.DEFAULT_SCHEME} in a token"
MADE_INSIDE_HELP: Final = (
    "Make it inside this PKCS#11 token: hsm:<number>?label=<label of the token>. The variable "
    "PYKCS11LIB names the token's library; its PIN is asked for at the terminal."
)


def make(
    directory: Path,
    name: str,
    *,
    scheme: str | None,
    token: str | None,
    passphrase_file: Path | None,
    prompt: credentials.Prompt | None = None,
    scrypt_n: int | None = None,
) -> tuple[Path, Path]:
    """Make a key pair; returns the private key file, or the token's handle, and the public one.

    Args:
        directory: where to put both; made if it is missing.
        name: whose; it names the files.
        scheme: one of ``keybytes.KEY_SCHEMES``; None for the default (rule 1).
        token: the URI of the token to make it in; None for a file.
        passphrase_file: its first line is the passphrase.
        prompt: asks a person; by default the terminal, if there is one.
        scrypt_n: cost of opening the file; None for the usual one.

    Raises:
        As ``credentials.new_passphrase`` and ``keys.new_key``, or ``keys.new_token_key``.
    """
    if token is not None:
        secrets = credentials.passphrase_handler(passphrase_file, prompt)
        kind = scheme or token_keys.DEFAULT_SCHEME
        pair = keys.new_token_key(directory, name, kind, token, secrets)
        return pair.private, pair.public
    what = f"passphrase of {name}'s new key"
    passphrase = credentials.new_passphrase(passphrase_file, what, prompt)
    kind = scheme or FILE_SCHEME
    if scrypt_n is None:
        return keys.new_key(directory, name, kind, passphrase)
    return keys.new_key(directory, name, kind, passphrase, scrypt_n=scrypt_n)
