"""A log's signed checkpoint: how many entries, and the root of their hash tree (pure).

The form is C2SP's (https://c2sp.org/tlog-checkpoint, a https://c2sp.org/signed-note). Rules:

1. The text is at least three lines, each of at least one character and ended by a newline: the
   origin ``<fleet>/log``, the size in decimal, the root hash in base64. Further lines are opaque;
   ours has none.
2. Then an empty line, then 1 to 16 signature lines: an em dash, a space, the key's name, a space,
   base64 of the key's 4-byte id and the signature. No name and id stand twice. A note is UTF-8
   without control characters, and at most 4,096 characters long.
3. Base64 and decimals have one spelling. Anything else is refused, never mended.
4. A checkpoint is believed if a key that whoever reads it was given made a signature under the
   origin as its name and the id that follows from both; one under that name and id which does not
   verify makes the whole refused. Signatures by others are ignored. A log whose key is being
   changed is signed by both, the new and the old.
5. The key id is the first 4 bytes of SHA-256 of name, newline, 0x01 and the 32 bytes of the
   Ed25519 key: it tells keys apart and proves nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Key, Signer
from securesystemslib.signer import Signature as SslibSignature

from interlock_core.errors import ConfigurationError, RefusedError, WireError
from interlock_core.wire import MAX_INTEGER

LOG_KEY: Final = "log"
"""What the log's key is called, among the server's own keys. No root names it."""
MAX_CHECKPOINT: Final = 4096
"""The most characters of a checkpoint, as a statement may carry it."""
MAX_NOTE_SIGNATURES: Final = 16
ROOT_LENGTH: Final = 32
ED25519: Final = "ed25519"

_ED25519_TYPE: Final = b"\x01"
_SIGNATURE: Final = re.compile("\u2014 ([^\\s+]+) ([0-9A-Za-z+/]+={0,2})")
_DECIMAL: Final = re.compile(r"(?:0|[1-9][0-9]{0,15})\Z")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says: ``size`` entries have ``root``, 32 bytes."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note's text, which is what is signed (rule 1)."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True)
class NoteSignature:
    """One signature line (rule 2)."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class Note:
    """A checkpoint whose form was checked and whose signatures were not."""

    said: Checkpoint
    text: str
    signatures: tuple[NoteSignature, ...]


def origin_of(fleet: str) -> str:
    """The origin of a fleet's log, which is its key's name too."""
    return f"{fleet}/log"


def check_log_key(key: Key) -> Key:
    """Return ``key`` if it may sign checkpoints.

    Raises:
        ConfigurationError: ``wrong_log_key``: it is no Ed25519 key.
    """
    if key.scheme != ED25519:
        raise ConfigurationError(
            f"The log's key is {key.scheme}; checkpoints are signed with ed25519: name that key.",
            reason="wrong_log_key",
        )
    return key


def key_id(name: str, key: Key) -> bytes:
    """The id of an Ed25519 key under a name (rule 5)."""
    public = bytes.fromhex(check_log_key(key).keyval["public"])
    return hashlib.sha256(name.encode() + b"\n" + _ED25519_TYPE + public).digest()[:4]


def sign_checkpoint(said: Checkpoint, *signers: Signer) -> str:
    """The checkpoint with the signature of the log's own key; of several while it is changed.

    Raises:
        ConfigurationError: ``wrong_log_key``.
    """
    lines = []
    for signer in signers:
        id_ = key_id(said.origin, signer.public_key)
        signature = bytes.fromhex(signer.sign(said.text().encode()).signature)
        line = base64.b64encode(id_ + signature).decode()
        lines.append(f"\u2014 {said.origin} {line}\n")
    return f"{said.text()}\n{''.join(lines)}"


def read_checkpoint(note: str) -> Note:
    """Read a checkpoint without believing it (rules 1 to 3).

    Raises:
        WireError: ``bad_checkpoint``: it has another form.
    """
    if len(note) > MAX_CHECKPOINT:
        raise _malformed(f"it is longer than {MAX_CHECKPOINT} characters")
    if _CONTROL.search(note):
        raise _malformed("it holds a control character")
    try:
        note.encode()
    except UnicodeEncodeError as e:
        raise _malformed("it is not UTF-8") from e
    text, separator, tail = note.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise _malformed("no empty line stands between text and signatures")
    lines = text.split("\n")
    if len(lines) < 3 or not all(lines):
        raise _malformed("its text is not origin, size and root, a line each")
    if _DECIMAL.match(lines[1]) is None or int(lines[1]) > MAX_INTEGER:
        raise _malformed("its size is not a decimal of at most 53 bits")
    root = _base64(lines[2])
    if len(root) != ROOT_LENGTH:
        raise _malformed("its root is not 32 bytes")
    said = Checkpoint(lines[0], int(lines[1]), root)
    return Note(said, f"{text}\n", _signatures(tail[:-1].split("\n")))


def _signatures(lines: list[str]) -> tuple[NoteSignature, ...]:
    if len(lines) > MAX_NOTE_SIGNATURES:
        raise _malformed(f"it has more than {MAX_NOTE_SIGNATURES} signatures")
    found = []
    for line in lines:
        match = _SIGNATURE.fullmatch(line)
        if match is None:
            raise _malformed("a signature line has another form")
        raw = _base64(match[2])
        if len(raw) < 5:
            raise _malformed("a signature is too short")
        found.append(NoteSignature(match[1], raw[:4], raw[4:]))
    if len({(one.name, one.key_id) for one in found}) != len(found):
        raise _malformed("one key signed twice")
    return tuple(found)


def verify_checkpoint(note: str, origin: str, *keys: Key) -> Checkpoint:
    """Read a checkpoint and believe it if a given key signed it (rule 4).

    Args:
        note: as it was published.
        origin: of the log that is meant.
        keys: the log's public key, known from elsewhere; and those that were its key before, where
            an older checkpoint is meant.

    Raises:
        WireError: ``bad_checkpoint``: it has another form.
        RefusedError: ``bad_checkpoint``: it is of another log, or no such key signed it.
        ConfigurationError: ``wrong_log_key``.
    """
    read = read_checkpoint(note)
    if read.said.origin != origin:
        raise RefusedError(
            f"The checkpoint is of {read.said.origin[:80]!r}, and {origin!r} is meant.",
            reason="bad_checkpoint",
        )
    mine = {(origin, key_id(origin, key)): key for key in keys}
    believed = False
    for one in read.signatures:
        key = mine.get((one.name, one.key_id))
        if key is None:
            continue
        try:
            key.verify_signature(SslibSignature(key.keyid, one.signature.hex()), read.text.encode())
        except (UnverifiedSignatureError, VerificationError) as e:
            raise RefusedError(
                "The log's key did not make the signature under its name: the checkpoint is "
                "forged or damaged.",
                reason="bad_checkpoint",
            ) from e
        believed = True
    if believed:
        return read.said
    raise RefusedError(
        "The checkpoint is not signed by the log's key that you were given: ask the fleet's "
        "operators by another way which key is the log's.",
        reason="bad_checkpoint",
    )


def _base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as e:
        raise _malformed("something in it is not base64") from e
    if base64.b64encode(raw).decode() != text:
        raise _malformed("its base64 is not canonical")
    return raw


def _malformed(why: str) -> WireError:
    return WireError(f"This is no checkpoint of a log: {why}.", reason="bad_checkpoint")
