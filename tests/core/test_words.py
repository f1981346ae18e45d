"""Digests as words: the published vectors of BIP-39, and what the checksum is for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from interlock_core.errors import WireError
from interlock_core.words import SPOKEN_BYTES, words_of

# Entropy of 128 bits and its words, from BIP-39's own test vectors.
PUBLISHED = {
    "00" * 16: "abandon " * 11 + "about",
    "7f" * 16: ("legal winner thank year wave sausage worth useful legal winner thank yellow"),
    "80" * 16: "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
    "ff" * 16: "zoo " * 11 + "wrong",
}
DIGESTS = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize("entropy", PUBLISHED)
def test_the_words_are_those_of_bip_39(entropy: str) -> None:
    assert words_of(entropy + "00" * 16) == PUBLISHED[entropy]


@given(DIGESTS)
def test_twelve_words_say_the_first_128_bits_and_a_checksum(digest: bytes) -> None:
    words = words_of(digest.hex())
    assert len(words.split()) == 12
    assert Mnemonic("english").check(words)
    assert bytes(Mnemonic("english").to_entropy(words)) == digest[:SPOKEN_BYTES]


@given(DIGESTS, st.integers(min_value=0, max_value=127))
def test_digests_that_differ_within_128_bits_have_other_words(digest: bytes, bit: int) -> None:
    other = (int.from_bytes(digest) ^ 1 << (255 - bit)).to_bytes(32)
    assert words_of(digest.hex()) != words_of(other.hex())


@pytest.mark.parametrize("text", ["", "ab", "AB" * 32, "zz" * 32, "ab" * 33, "ab" * 32 + "\n"])
def test_what_is_no_digest_has_no_words(text: str) -> None:
    with pytest.raises(WireError, match="is not a SHA-256"):
        words_of(text)
