"""Where passphrases and PINs come from, for every command (I/O).

Rules:

1. A secret comes from a file that was named, from systemd's credentials directory, or from a
   person at a terminal. Never from an argument or an environment variable: other processes can
   read both.
2. A file that group or others can read is refused, with the command that mends it. Files in
   ``$CREDENTIALS_DIRECTORY`` are exempt: systemd guards the directory, and their mode shows the
   mask of an access list.
3. Without a terminal nobody is asked: the error says what to pass instead.
"""

from __future__ import annotations

import getpass
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from interlock_core import durable
from interlock_core.errors import ConfigurationError, SecretError, WireError

MAX_SECRET_FILE: Final = 4096

Prompt = Callable[[str], str]
"""Asks a person for the secret that the text names, without echo."""


def passphrase_handler(
    passphrase_file: Path | None, prompt: Prompt | None = None, *, credential: str | None = None
) -> Callable[[str], str]:
    """A secrets handler as ``securesystemslib`` and ``keys.load_signer`` take it.

    Args:
        passphrase_file: its first line is the secret; asked for nothing else.
        prompt: asks a person; by default the terminal, if there is one.
        credential: a name to look for in ``$CREDENTIALS_DIRECTORY`` if no file is passed.

    The handler raises:
        SecretError: no file and no terminal, or an empty secret.
        ConfigurationError: the file may be read by others than its owner.
        NotFoundError, TransientError: the file is missing or cannot be read.
    """

    def handler(what: str) -> str:
        file = passphrase_file or (credential_file(credential) if credential else None)
        secret = _first_line(file) if file is not None else _ask(what, prompt)
        if not secret:
            raise SecretError(f"The {what} is empty: nothing was done.", reason="no_passphrase")
        return secret

    return handler


def new_passphrase(passphrase_file: Path | None, what: str, prompt: Prompt | None = None) -> str:
    """A passphrase for a new key: a person is asked twice, since a slip would lose the key.

    Raises:
        SecretError: as ``passphrase_handler``, or the two answers differ.
        ConfigurationError, NotFoundError, TransientError: as ``passphrase_handler``.
    """
    handler = passphrase_handler(passphrase_file, prompt)
    first = handler(what)
    if passphrase_file is None and handler(f"{what} again") != first:
        raise SecretError("The two passphrases differ: nothing was made, try again.")
    return first


def credential_file(name: str) -> Path | None:
    """The file of a systemd credential, or None if this process was given none of that name."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory or Path(name).name != name:
        return None
    path = Path(directory, name)
    return path if path.is_file() else None


def _first_line(path: Path) -> str:
    if not _is_credential(path):
        with durable.translated("read", path):
            mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0
        if mode & 0o077:
            raise ConfigurationError(
                f"{path} can be read by others than its owner: run 'chmod 600 {path}'.",
                reason="open_secret",
            )
    try:
        data = durable.read(path, limit=MAX_SECRET_FILE, what="passphrase file")
        return data.split(b"\n", 1)[0].removesuffix(b"\r").decode()
    except (UnicodeDecodeError, WireError) as e:
        raise SecretError(
            f"{path} does not look like a passphrase file: its first line must be the "
            f"passphrase, and it may have {MAX_SECRET_FILE} bytes."
        ) from e


def _is_credential(path: Path) -> bool:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and path.absolute().parent == Path(directory or "/").absolute()


def _ask(what: str, prompt: Prompt | None) -> str:
    if prompt is not None:
        return prompt(what)
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError as e:
        raise SecretError(
            f"The {what} is needed and there is no terminal to ask at: pass "
            "--passphrase-file FILE.",
            reason="no_passphrase",
        ) from e
    try:
        return getpass.getpass(f"{what[:1].upper()}{what[1:]}: ")
    except EOFError as e:
        raise SecretError(f"No {what} was given: nothing was done.", reason="no_passphrase") from e
