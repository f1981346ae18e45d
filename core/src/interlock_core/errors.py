"""The few families of errors, named for what a caller can choose to do about them.

Rules:

1. A trust decision never raises: it returns a named ``Refusal`` (see ``decide``). Errors are for
   input that cannot be understood, acts that people must mend, and faults of the world.
2. Every message is one sentence or two: what is wrong, then what to do next. It names the file,
   the field or the role, and never shows a secret. It is cut at ``MAX_MESSAGE`` characters: some
   of it may be a server's, and it is kept, logged and shown.
3. An error carries the exit code of ``docs/`` (the outside contract), so that every command line
   maps it in one place.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

MAX_MESSAGE: Final = 2000


class Exit(IntEnum):
    """Exit codes of every command, fixed by the outside contract."""

    DONE = 0
    OTHER = 1
    USAGE = 2
    DEFERRED = 10
    REFUSED = 20
    TRANSIENT = 30
    ROLLED_BACK = 40


class InterlockError(Exception):
    """Base of every error that Interlock raises on purpose.

    Attributes:
        reason: a stable name in snake case, for machines (``--json``, problem documents).
    """

    exit_code: Exit = Exit.OTHER

    def __init__(self, message: str, *, reason: str = "error") -> None:
        cut = message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…"
        super().__init__(cut)
        self.reason = reason


class ConfigurationError(InterlockError):
    """The caller's words, files or settings are wrong: change them and call again."""

    exit_code = Exit.USAGE

    def __init__(self, message: str, *, reason: str = "configuration") -> None:
        super().__init__(message, reason=reason)


class WireError(InterlockError):
    """Bytes from outside do not have the form that ``docs/wire-format.md`` fixes."""

    exit_code = Exit.REFUSED

    def __init__(self, message: str, *, reason: str = "malformed") -> None:
        super().__init__(message, reason=reason)


class RefusedError(InterlockError):
    """Well-formed, but nobody entitled to it signed it, or a rule forbids it."""

    exit_code = Exit.REFUSED

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message, reason=reason)


class SecretError(InterlockError):
    """A passphrase or PIN is missing or wrong: nothing was done, try again with the right one."""

    exit_code = Exit.USAGE

    def __init__(self, message: str, *, reason: str = "wrong_passphrase") -> None:
        super().__init__(message, reason=reason)


class ConflictError(InterlockError):
    """Something else stands where this would go, and it is not the same: nothing was written."""

    exit_code = Exit.REFUSED

    def __init__(self, message: str, *, reason: str = "conflict") -> None:
        super().__init__(message, reason=reason)


class NotFoundError(InterlockError):
    """The thing asked for is not there."""

    exit_code = Exit.USAGE

    def __init__(self, message: str, *, reason: str = "not_found") -> None:
        super().__init__(message, reason=reason)


class TransientError(InterlockError):
    """Network, disk or a busy peer: nothing is lost, the same call may succeed later."""

    exit_code = Exit.TRANSIENT

    def __init__(self, message: str, *, reason: str = "transient") -> None:
        super().__init__(message, reason=reason)
