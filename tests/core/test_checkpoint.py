"""Checkpoints: C2SP's signed notes, bounded, strict, and believed by one key alone."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, SSlibKey

from interlock_core.checkpoint import (
    Checkpoint,
    key_id,
    read_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from interlock_core.errors import ConfigurationError, InterlockError, RefusedError, WireError
from tests.support.people import signer

ORIGIN = "fleet/log"
SAID = Checkpoint(ORIGIN, 20852163, hashlib.sha256(b"root").digest())
KEY = signer("log").public_key
NOTE = sign_checkpoint(SAID, signer("log"))
LINE = NOTE.splitlines()[-1]


def test_the_bytes_are_those_of_the_specification() -> None:
    """Read with nothing of core: text, empty line, em dash, name, id and signature."""
    text, _, tail = NOTE.rpartition("\n\n")
    assert text.split("\n") == [ORIGIN, "20852163", base64.b64encode(SAID.root).decode()]
    dash, name, blob = tail.removesuffix("\n").split(" ")
    assert (dash, name) == ("\u2014", ORIGIN)
    raw, public = base64.b64decode(blob), bytes.fromhex(KEY.keyval["public"])
    assert raw[:4] == hashlib.sha256(ORIGIN.encode() + b"\n\x01" + public).digest()[:4]
    Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], f"{text}\n".encode())


def test_the_examples_of_the_specifications_are_read() -> None:
    note = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7"
        "u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    )
    read = read_checkpoint(note)
    assert (read.said.origin, read.said.size) == ("example.com/behind-the-sofa", 20852163)
    assert [one.name for one in read.signatures] == ["example.com/behind-the-sofa"]


def test_it_is_believed_by_the_key_that_was_given() -> None:
    assert verify_checkpoint(NOTE, ORIGIN, KEY) == SAID


def other(key: SSlibKey, name: str, signature: bytes) -> str:
    return "\u2014 " + name + " " + base64.b64encode(key_id(name, key) + signature).decode() + "\n"


def test_signatures_by_others_are_ignored() -> None:
    witness = other(signer("witness").public_key, "witness.example", b"x" * 70)
    assert verify_checkpoint(NOTE + witness, ORIGIN, KEY) == SAID
    # Under the log's own name too, if the key is another.
    twin = other(signer("witness").public_key, ORIGIN, b"x" * 64)
    assert verify_checkpoint(NOTE + twin, ORIGIN, KEY) == SAID


def test_an_extension_line_is_signed_with_the_rest() -> None:
    text = f"{SAID.text()}more\n"
    raw = bytes.fromhex(signer("log").sign(text.encode()).signature)
    note = f"{text}\n" + other(KEY, ORIGIN, raw)
    assert verify_checkpoint(note, ORIGIN, KEY) == SAID
    with pytest.raises(RefusedError):
        verify_checkpoint(note.replace("more", "less"), ORIGIN, KEY)


REFUSED = {
    "another size": NOTE.replace("20852163", "20852164"),
    "another root": NOTE.replace(NOTE.split("\n")[2], base64.b64encode(b"y" * 32).decode()),
    "another key": sign_checkpoint(SAID, signer("mallory")),
    "another log": sign_checkpoint(Checkpoint("staging/log", 1, b"y" * 32), signer("log")),
    "a forged signature under its name": f"{SAID.text()}\n" + other(KEY, ORIGIN, b"x" * 64),
    "a short signature under its name": f"{SAID.text()}\n" + other(KEY, ORIGIN, b"x"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_believed(what: str) -> None:
    read_checkpoint(REFUSED[what])
    with pytest.raises(RefusedError) as caught:
        verify_checkpoint(REFUSED[what], ORIGIN, KEY)
    assert caught.value.reason == "bad_checkpoint"


BODY = SAID.text()
MALFORMED = {
    "nothing": "",
    "no signature": BODY,
    "no empty line": BODY + LINE + "\n",
    "no newline at the end": NOTE[:-1],
    "an empty line in the text": f"\n{NOTE}",
    "an empty line at the end": f"{NOTE}\n",
    "two lines": f"{ORIGIN}\n1\n\n{LINE}\n",
    "a size with a zero before it": NOTE.replace("20852163", "020852163"),
    "a size with a sign": NOTE.replace("20852163", "+1"),
    "a size in other digits": NOTE.replace("20852163", "\u0661"),
    "a size beyond 53 bits": NOTE.replace("20852163", str(2**53)),
    "a short root": BODY.replace(NOTE.split("\n")[2], "AAAA") + f"\n{LINE}\n",
    "a root that is no base64": BODY.replace(NOTE.split("\n")[2], "*" * 44) + f"\n{LINE}\n",
    "a root that could be spelled otherwise": NOTE.replace("=\n\n", "=\n\n", 1).replace(
        NOTE.split("\n")[2], NOTE.split("\n")[2][:-2] + "B="
    ),
    "a hyphen for the dash": NOTE.replace("\u2014", "-"),
    "two spaces": NOTE.replace("\u2014 ", "\u2014  "),
    "a plus in the name": NOTE.replace(f"\u2014 {ORIGIN}", "\u2014 a+b"),
    "a signature of four bytes": f"{BODY}\n\u2014 {ORIGIN} AAAAAA==\n",
    "one key twice": f"{NOTE}{LINE}\n",
    "seventeen signatures": NOTE
    + "".join(other(signer(f"w{n}").public_key, "w", b"x" * 64) for n in range(16)),
    "a carriage return": NOTE.replace("\n", "\r\n"),
    "a tab": NOTE.replace(ORIGIN, "a\tb", 1),
    "half a character": NOTE.replace(ORIGIN, "\ud800", 1),
    "more than 4,096 characters": f"{BODY}{'x' * 4096}\n\n{LINE}\n",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_no_checkpoint(what: str) -> None:
    with pytest.raises(WireError) as caught:
        read_checkpoint(MALFORMED[what])
    assert caught.value.reason == "bad_checkpoint"


@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
def test_no_text_makes_trouble(text: str) -> None:
    for note in (text, NOTE + text, text + NOTE, f"{BODY}\n{text}"):
        reasons = set()
        try:
            assert verify_checkpoint(note, ORIGIN, KEY) == SAID
        except InterlockError as e:
            reasons.add(e.reason)
        assert reasons <= {"bad_checkpoint"}


@given(st.integers(0, len(NOTE) - 1), st.characters(codec="utf-8"))
def test_no_character_can_be_changed(at: int, character: str) -> None:
    changed = NOTE[:at] + character + NOTE[at + 1 :]
    if changed != NOTE:
        with pytest.raises(InterlockError):
            verify_checkpoint(changed, ORIGIN, KEY)


@given(st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32))
def test_what_is_signed_is_read_back(size: int, root: bytes) -> None:
    said = Checkpoint(ORIGIN, size, root)
    assert verify_checkpoint(sign_checkpoint(said, signer("log")), ORIGIN, KEY) == said


def test_other_kinds_of_keys_sign_no_checkpoint() -> None:
    ecdsa = CryptoSigner.generate_ecdsa()
    with pytest.raises(ConfigurationError) as caught:
        sign_checkpoint(SAID, ecdsa)
    assert caught.value.reason == "wrong_log_key"
    with pytest.raises(ConfigurationError):
        verify_checkpoint(NOTE, ORIGIN, ecdsa.public_key)


def test_while_the_key_is_changed_both_sign() -> None:
    old, new = signer("log"), signer("olga")
    both = sign_checkpoint(SAID, new, old)
    for key in (old.public_key, new.public_key):
        assert verify_checkpoint(both, ORIGIN, key) == SAID
    assert verify_checkpoint(both, ORIGIN, old.public_key, new.public_key) == SAID
    # Whoever was given both is not content with one signature where the other is wrong.
    text, _, lines = both.partition("\n\n")
    first, second = lines.splitlines()
    broken = f"{text}\n\n{first}\n{second[:-8]}AAAAAA==\n"
    for keys in ((new.public_key, old.public_key), (old.public_key, new.public_key)):
        with pytest.raises(RefusedError) as caught:
            verify_checkpoint(broken, ORIGIN, *keys)
        assert caught.value.reason == "bad_checkpoint"
    with pytest.raises(RefusedError):
        verify_checkpoint(both, ORIGIN)


def test_another_logs_text_under_this_logs_name() -> None:
    """One key, two logs: the name of the signature is not the name of what is signed."""
    said = Checkpoint("another/log", SAID.size, SAID.root)
    raw = bytes.fromhex(signer("log").sign(said.text().encode()).signature)
    line = base64.b64encode(key_id(ORIGIN, KEY) + raw).decode()
    note = f"{said.text()}\n\u2014 {ORIGIN} {line}\n"
    with pytest.raises(RefusedError) as caught:
        verify_checkpoint(note, ORIGIN, KEY)
    assert "another/log" in str(caught.value)
