"""Digests as words, for people who read them to one another (reads a word list).

Rules:

1. The words are those of BIP-39 in English: made to be told apart by ear, and by their first four
   letters. Twelve of them say the first 128 bits of a digest and a checksum of 4 bits, so that
   nobody can make another file for the same words, and most slips of the tongue are heard.
2. Words say what a digest says and no more: whoever compares words compares the first 128 bits.

The word list comes with the library ``mnemonic``. It is imported where it is used, because zones
that read nothing aloud do without it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from interlock_core.errors import WireError

SPOKEN_BYTES: Final = 16
"""How many bytes of a digest the words say: 128 bits (rule 1)."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")


@cache
def words_of(digest_hex: str) -> str:
    """The first 128 bits of a SHA-256 as twelve words (rule 1).

    Args:
        digest_hex: 64 lower-case hexadecimal digits.

    Returns:
        Twelve lower-case words with a space between them.

    Raises:
        WireError: it is not a SHA-256 in lower-case hexadecimal.
    """
    from mnemonic import Mnemonic  # noqa: PLC0415  # see above: not every zone has it

    if _DIGEST.match(digest_hex) is None:
        raise WireError(f"{digest_hex[:80]!r} is not a SHA-256: words need 64 hexadecimal digits.")
    said: str = Mnemonic("english").to_mnemonic(bytes.fromhex(digest_hex)[:SPOKEN_BYTES])
    return said
