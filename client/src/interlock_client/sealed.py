"""Small records that the agent keeps for itself, with a checksum (pure).

Rules:

1. A file is ``{"body": …, "sha256": …}``; the digest is over the body's bytes as they stand, so a
   torn or rotten file is found before anything in it is believed.
2. Unknown fields are ignored: the previous version of the agent must be able to read what the
   present one wrote, when the machine falls back to it.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from interlock_core.errors import WireError
from interlock_core.wire import encode, sha256_hex

MAX_RECORD = 1024 * 1024


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what is kept: immutable, and lenient about fields that it does not know (rule 2)."""


class Checked(Kept, frozen=True, kw_only=True):
    """One named check, and whether it passed."""

    name: str
    passed: bool


class _Sealed(msgspec.Struct, frozen=True):
    body: msgspec.Raw
    sha256: str


T = TypeVar("T", bound=Kept)


def seal(record: Kept) -> bytes:
    """The bytes to keep (rule 1)."""
    body = encode(record)
    return b'{"body":' + body + b',"sha256":"' + sha256_hex(body).encode() + b'"}\n'


def unseal(data: bytes, type_: type[T]) -> T:
    """Read a record back.

    Raises:
        WireError: it is torn, rotten, or of another form.
    """
    try:
        sealed = msgspec.json.decode(data, type=_Sealed)
        if sha256_hex(bytes(sealed.body)) != sealed.sha256:
            raise WireError("Its checksum does not match its content.")
        return msgspec.json.decode(sealed.body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise WireError(f"It cannot be read: {e}.") from e
