"""How people compare keys and files: SHA-256, in groups and in words that can be read aloud.

Rules:

1. A key's fingerprint is the SHA-256 of its public key bytes (DER SubjectPublicKeyInfo), so that
   one key has one fingerprint however it is spelled. ``openssl`` computes the same.
2. On the wire 64 hexadecimal digits; for people the same in eight groups of eight, and the first
   half of it in twelve words (``interlock_core.words``). A camera reads ``sha256:<digits>`` from a
   QR code.
"""

from __future__ import annotations

from typing import Final

import segno
from securesystemslib.signer import Key

from interlock_core.keybytes import public_key_bytes
from interlock_core.wire import sha256_hex
from interlock_core.words import words_of

GROUP: Final = 8

_BLOCKS: Final = {
    (False, False): "\N{FULL BLOCK}",
    (False, True): "\N{UPPER HALF BLOCK}",
    (True, False): "\N{LOWER HALF BLOCK}",
    (True, True): " ",
}
"""A light module is drawn: on a terminal, ink is light. Upper and lower module -> character."""


def fingerprint(key: Key) -> str:
    """A key's fingerprint (rule 1).

    Raises:
        WireError: ``bad_key``: a kind of key that is not accepted.
    """
    return sha256_hex(public_key_bytes(key))


def grouped(digest: str) -> str:
    """A digest as people read it (rule 2)."""
    return " ".join(digest[start : start + GROUP] for start in range(0, len(digest), GROUP))


def qr(digest: str) -> str:
    """A digest as a QR code of block characters, two modules to a character."""
    code = segno.make(f"sha256:{digest}", error="l", micro=False)
    rows = [list(row) for row in code.matrix_iter(border=2)]
    rows += [[0] * len(rows[0])] * (len(rows) % 2)
    return "\n".join(
        "".join(_BLOCKS[bool(upper), bool(lower)] for upper, lower in zip(*pair, strict=True))
        for pair in zip(rows[::2], rows[1::2], strict=True)
    )


def spoken(digest: str) -> str:
    """A digest as people read it to one another, on two lines (rule 2)."""
    return f"  {grouped(digest)}\n  in words: {words_of(digest)}"
