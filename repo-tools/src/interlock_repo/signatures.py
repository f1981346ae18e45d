"""Detached signatures: one file for each person who signed a signing event (pure).

Rules:

1. What counts is TUF's signature by a key that the delegator names, over the signed bytes. Person,
   meaning, time and reason are for the record, and the same key signs them too (``record_sig``),
   so that nobody can put words into another's mouth.
2. Signatures are counted by distinct public key bytes.
3. A signature counts for the ``event.json`` that it was made under and for no other: a change of
   anything voids it. It is then shown as void, with who made it, when and why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta
from msgspec.structs import asdict
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature

from interlock_core import wire
from interlock_core.errors import RefusedError
from interlock_core.keybytes import public_key_bytes
from interlock_core.names import Digest, Name
from interlock_repo.trust import Holder, Role

MAX_SIGNATURE: Final = 64 * 1024
MEANINGS: Final = ("approved", "reviewed", "authored")

_RECORD_CONTEXT: Final = b"interlock signing record v1\n"

Hex = Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{2}){1,8192}\Z")]


class SignatureFile(wire.Record, frozen=True, kw_only=True):
    """One person's signature under one signing event.

    Attributes:
        role: whose metadata was signed.
        event_sha256: digest of the ``event.json`` that was signed under: it pins everything else
            that the person saw.
        metadata_sha256: digest of the signed bytes.
        keyid: of the key, as the delegator lists it.
        sig: TUF's signature, hexadecimal.
        person: who signed.
        meaning: what the person says that it means. It counts the same whatever it says.
        at: when.
        reason: why, in the person's words, on one line.
        record_sig: the same key's signature over all of the above (``record_bytes``).
    """

    type: Literal["urn:interlock:signature:v1"] = "urn:interlock:signature:v1"
    role: Name
    event_sha256: Digest
    metadata_sha256: Digest
    keyid: Digest
    sig: Hex
    person: Name
    meaning: Literal["approved", "reviewed", "authored"]
    at: datetime
    reason: Annotated[str, Meta(min_length=1, max_length=1000)]
    record_sig: Hex

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.reason.isprintable() or not self.reason.strip():
            raise ValueError("`reason` must be one line of printable text")


@dataclass(frozen=True)
class Signed:
    """A signature that verifies, and whose it is."""

    holder: Holder
    file: SignatureFile


def record_bytes(file: SignatureFile) -> bytes:
    """What ``record_sig`` signs: every other field (rule 1)."""
    fields = asdict(file)
    del fields["record_sig"]
    return _RECORD_CONTEXT + wire.encode(fields)


def parse_signature(data: bytes, *, what: str) -> SignatureFile:
    """Read a signature file. Nothing is verified but the form.

    Raises:
        WireError: it does not have the form.
    """
    return wire.decode_canonical(data, SignatureFile, limit=MAX_SIGNATURE, what=what)


def verify(file: SignatureFile, role: Role, signed_bytes: bytes, *, what: str) -> Signed:
    """Check a signature file against the bytes that it signs (rule 1).

    Args:
        file: the signature.
        role: who may sign.
        signed_bytes: the canonical signed bytes of the event's metadata.
        what: names the file in errors.

    Raises:
        RefusedError: ``wrong_key`` or ``bad_signature``.
    """
    holder = next((h for h in role.holders if h.key.keyid == file.keyid), None)
    if holder is None:
        raise RefusedError(
            f"{what} was made with a key that may not sign {role.name}: remove it.",
            reason="wrong_key",
        )
    if (
        (file.role, file.metadata_sha256) != (role.name, wire.sha256_hex(signed_bytes))
        or (holder.name is not None and holder.name != file.person)
        or not _verifies(holder.key, file.sig, signed_bytes)
        or not _verifies(holder.key, file.record_sig, record_bytes(file))
    ):
        raise RefusedError(
            f"{what} does not verify: remove it, and have {holder.title} sign again.",
            reason="bad_signature",
        )
    return Signed(holder, file)


def merged(lists: Iterable[Iterable[Signed]]) -> tuple[Signed, ...]:
    """Signatures of several copies, each public key's first one, in the order of key ids (2)."""
    by_key: dict[bytes, Signed] = {}
    for one in (signed for signatures in lists for signed in signatures):
        by_key.setdefault(public_key_bytes(one.holder.key), one)
    return tuple(sorted(by_key.values(), key=lambda signed: signed.file.keyid))


@dataclass(frozen=True)
class Tally:
    """Who signed, and who still may.

    Attributes:
        role: who may sign, and how many must.
        signed: the signatures that verify, one of each key.
    """

    role: Role
    signed: tuple[Signed, ...]

    @property
    def needed(self) -> int:
        """How many more must sign."""
        return max(0, self.role.threshold - len(self.signed))

    @property
    def waiting(self) -> tuple[Holder, ...]:
        """Who has not signed."""
        keys = {signed.file.keyid for signed in self.signed}
        return tuple(h for h in self.role.holders if h.key.keyid not in keys)

    def next_step(self) -> str:
        """One line: who must still sign, or that it can be published."""
        if not self.needed:
            return f"{len(self.signed)} of {self.role.threshold} signed: it can be published."
        names = ", ".join(holder.title for holder in self.waiting)
        return (
            f"{len(self.signed)} of {self.role.threshold} signed: {self.needed} more of {names} "
            "must sign."
        )


def _verifies(key: Key, signature: str, data: bytes) -> bool:
    try:
        key.verify_signature(Signature(key.keyid, signature), data)
    except UnverifiedSignatureError:
        return False
    return True
