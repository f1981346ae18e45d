"""What happened, in order, so that nobody can rewrite it afterwards (pure).

Rules:

1. A transcript is one canonical JSON document. Its entries are numbered from 1, and each holds the
   SHA-256 of the canonical bytes of the one before; the first holds null. ``head`` is that of the
   last entry. Time never goes back from one entry to the next.
2. Everybody who takes part signs the head, with every key that they make or open in the ceremony,
   under a context of its own, so that no such signature can be taken for one over metadata. An
   entry that is changed, removed, added or moved changes the head.
3. It holds no secret: public keys' digests, proofs and signatures, names, times, and the script.
4. It is enough: with it and the published metadata, everything that it says can be computed again
   (``audit``). The script stands in it whole, because that is what people agreed to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature, Signer

from interlock_ceremony.acts import AnyAct, Hex
from interlock_core import wire
from interlock_core.errors import RefusedError
from interlock_core.names import Digest, Name
from interlock_core.wire import Record, format_time

MAX_TRANSCRIPT: Final = 4 * 1024 * 1024
MAX_ENTRIES: Final = 1024

_CONTEXT: Final = b"interlock ceremony transcript v1\n"


class Entry(Record, frozen=True, kw_only=True):
    """One link of the chain (rule 1)."""

    number: int
    previous: Digest | None
    at: datetime
    act: AnyAct


class HeadSignature(Record, frozen=True, kw_only=True):
    """A key's signature over the head (rule 2)."""

    key: Name
    keyid: Digest
    sig: Hex


class Transcript(Record, frozen=True, kw_only=True):
    """A whole transcript."""

    type: Literal["urn:interlock:transcript:v1"] = "urn:interlock:transcript:v1"
    entries: Annotated[tuple[Entry, ...], Meta(min_length=1, max_length=MAX_ENTRIES)]
    head: Digest
    signatures: Annotated[tuple[HeadSignature, ...], Meta(max_length=256)]


def signed(entries: Iterable[Entry], signers: Mapping[str, Signer]) -> bytes:
    """The finished transcript, its head signed by ``signers``, by name (rule 2)."""
    told = tuple(entries)
    head = digest_of(told[-1])
    signatures = []
    for name, signer in signers.items():
        signature = signer.sign(_payload(head))
        signatures.append(HeadSignature(key=name, keyid=signature.keyid, sig=signature.signature))
    return wire.encode(Transcript(entries=told, head=head, signatures=tuple(signatures)))


def next_entry(last: Entry | None, at: datetime, act: AnyAct) -> Entry:
    """The entry that follows ``last``, or the first."""
    return Entry(
        number=last.number + 1 if last else 1,
        previous=digest_of(last) if last else None,
        at=at,
        act=act,
    )


def read(data: bytes) -> Transcript:
    """Read a transcript and check its form and its chain.

    Raises:
        WireError: it does not have the form of one.
        RefusedError: ``broken_chain`` or ``clock_back``; the message names the entry.
    """
    transcript = wire.decode_canonical(data, Transcript, limit=MAX_TRANSCRIPT, what="transcript")
    if transcript.head != check_chain(transcript.entries):
        raise _broken(f"the head is not the digest of the last entry, {len(transcript.entries)}")
    return transcript


def check_chain(entries: Iterable[Entry]) -> str | None:
    """Check that entries follow one another; return the digest of the last.

    Raises:
        RefusedError: ``broken_chain`` or ``clock_back``; the message names the entry.
    """
    previous: str | None = None
    at: datetime | None = None
    for number, entry in enumerate(entries, 1):
        if entry.number != number:
            raise _broken(f"entry {number} is numbered {entry.number}")
        if entry.previous != previous:
            raise _broken(f"entry {number} does not follow the one before it")
        if at is not None and entry.at < at:
            raise clock_back(
                f"entry {number} was made at {format_time(entry.at)}, and the one before it at "
                f"{format_time(at)}"
            )
        previous, at = digest_of(entry), entry.at
    return previous


def check_signatures(transcript: Transcript, keys: Iterable[tuple[str, Key]]) -> None:
    """Check that exactly ``keys``, in this order, signed the head.

    Args:
        transcript: one whose chain holds.
        keys: name and public key of everybody who must have signed.

    Raises:
        RefusedError: ``bad_signature``; the message names the key.
    """
    expected = list(keys)
    names = [signature.key for signature in transcript.signatures]
    if names != [name for name, _ in expected]:
        wrong = next(
            (name for name, _ in expected if name not in names), "a key twice or one too many"
        )
        raise RefusedError(
            f"The transcript's head is not signed once by every key that took part: {wrong}.",
            reason="bad_signature",
        )
    payload = _payload(transcript.head)
    for signature, (name, key) in zip(transcript.signatures, expected, strict=True):
        try:
            key.verify_signature(Signature(signature.keyid, signature.sig), payload)
        except UnverifiedSignatureError as e:
            raise RefusedError(
                f"The signature of {name} over the transcript's head does not verify.",
                reason="bad_signature",
            ) from e


def digest_of(entry: Entry) -> str:
    """What the next entry holds of this one."""
    return wire.sha256_hex(wire.encode(entry))


def clock_back(why: str) -> RefusedError:
    """Time goes back in what ought to be told in its order."""
    return RefusedError(
        f"Time goes back here: {why}. Either tells of a time at which nothing happened: ask those "
        "who were there.",
        reason="clock_back",
    )


def _payload(head: str) -> bytes:
    return _CONTEXT + head.encode()


def _broken(why: str) -> RefusedError:
    return RefusedError(
        f"The transcript was changed: {why}. Ask for the original.", reason="broken_chain"
    )
