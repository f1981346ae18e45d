"""Where passphrases and PINs come from, for every command (I/O).

Rules:

1. A secret comes from a file that was named, from systemd's credentials directory, or from a
   person at a terminal. Never from an argument or an environment variable: other processes can
   read both.
2. A file that group or others can read is refused, with the command that mends it. Files in
   ``$CREDENTIALS_DIRECTORY`` are exempt: systemd guards the directory, and their mode shows the
   mask of an access list.
3. Without a terminal nobody is asked: the error says what to pass instead.
4. A person types the PIN of a token: it is in no file. Who holds a token must be there to use it,
   and a file would make one factor of two. A service has nobody to ask: its PIN is a credential.
"""

from __future__ import annotations

import getpass
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock_core import durable
from interlock_core.errors import ConfigurationError, SecretError, WireError

MAX_SECRET_FILE: Final = 4096
_PIN: Final = "PIN of the "

Prompt = Callable[[str], str]
"""Asks a person for the secret that the text names, without echo."""


def pin_of(token: str) -> str:
    """What a handler is asked for when it is a PIN.

    Args:
        token: what people call it, for instance ``token 'alice'``.
    """
    return f"{_PIN}{token}"


def passphrase_handler(
    passphrase_file: Path | None, prompt: Prompt | None = None, *, credential: str | None = None
) -> Callable[[str], str]:
    """A secrets handler as ``securesystemslib`` and ``keys.load_signer`` take it.

    Args:
        passphrase_file: its first line is the passphrase; asked for nothing else, and for no PIN
            (rule 4).
        prompt: asks a person; by default the terminal, if there is one.
        credential: a name to look for in ``$CREDENTIALS_DIRECTORY`` if no file is passed.

    The handler raises:
        SecretError: no file and no terminal, or an empty secret.
        ConfigurationError: the file may be read by others than its owner.
        NotFoundError, TransientError: the file is missing or cannot be read.
    """

    def handler(what: str) -> str:
        file = passphrase_file or (credential_file(credential) if credential else None)
        if file is None or what.startswith(_PIN):
            return _given(_ask(what, prompt), what)
        return _given(_first_line(file), what)

    return handler


@dataclass(frozen=True)
class Source:
    """Where a service finds a secret.

    Attributes:
        file: that was named.
        setting: that names it, for errors.
        credential: of systemd, that is looked for if no file was named.
    """

    file: Path | None
    setting: str
    credential: str


def service_handler(passphrase: Source, pin: Source) -> Callable[[str], str]:
    """A secrets handler of a service, which has nobody to ask (rule 4).

    Args:
        passphrase: for key files.
        pin: for tokens.

    The handler raises:
        SecretError: ``no_passphrase``: neither is there, or it is empty.
        ConfigurationError, NotFoundError, TransientError: as ``passphrase_handler``.
    """

    def handler(what: str) -> str:
        source = pin if what.startswith(_PIN) else passphrase
        file = source.file or credential_file(source.credential)
        if file is None:
            raise SecretError(
                f"The {what} is needed: set {source.setting}, or pass the systemd credential "
                f"{source.credential}.",
                reason="no_passphrase",
            )
        return _given(_first_line(file), what)

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


def _given(secret: str, what: str) -> str:
    if not secret:
        raise SecretError(f"The {what} is empty: nothing was done.", reason="no_passphrase")
    return secret


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
        instead = (
            "run this at one; a PIN is typed by whoever holds the token, and is read from no file."
            if what.startswith(_PIN)
            else "pass --passphrase-file FILE."
        )
        raise SecretError(
            f"The {what} is needed and there is no terminal to ask at: {instead}",
            reason="no_passphrase",
        ) from e
    try:
        return getpass.getpass(f"{what[:1].upper()}{what[1:]}: ")
    except EOFError as e:
        raise SecretError(f"No {what} was given: nothing was done.", reason="no_passphrase") from e
