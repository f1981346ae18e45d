"""Signed statements: in-toto Statements in DSSE envelopes.

Rules:

1. An envelope is at most 64 KiB and at most 16 of its signatures are looked at (an envelope with
   more is refused whole).
2. A payload has one form: canonical bytes, a known predicate type, and subjects that repeat what
   the predicate says (they are there for in-toto tools, and any difference is refused).
3. A statement's id is the SHA-256 of its payload bytes, so an edit makes another statement.
4. Opening an envelope believes nothing. Whether anybody entitled signed it is for ``roster``;
   exactly the author's signature counts there (docs/wire-format.md, rule 1 of counting).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

from msgspec import Meta, field
from securesystemslib.dsse import Envelope as DsseEnvelope
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signature as SslibSignature
from securesystemslib.signer import Signer, SSlibKey

from interlock_core.errors import WireError
from interlock_core.names import DeviceId, Digest, Name
from interlock_core.wire import Record, convert, decode, encode, parse, sha256_hex

MAX_ENVELOPE: Final = 64 * 1024
MAX_SIGNATURES: Final = 16
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"

Reason = Annotated[str, Meta(min_length=1, max_length=1000)]
Checkpoint = Annotated[str, Meta(min_length=1, max_length=4096)]


class SubjectDigest(Record, frozen=True, kw_only=True):
    """in-toto's DigestSet, with the one algorithm that Interlock uses."""

    sha256: Digest


class Subject(Record, frozen=True, kw_only=True):
    """An in-toto ResourceDescriptor, as far as Interlock uses it."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    digest: SubjectDigest


class Said(Record, frozen=True, kw_only=True):
    """What every statement carries.

    Attributes:
        fleet: the fleet fixed at genesis, so that staging cannot be replayed into production.
        author: the roster person, or the device, whose signature alone counts.
        at: when the author says that it was signed.
        reason: why, in the author's words.
        checkpoint: the log checkpoint that the author last saw, or null before there was one.
    """

    PREDICATE: ClassVar[str]

    fleet: Name
    author: DeviceId
    at: datetime
    reason: Reason
    checkpoint: Checkpoint | None = None

    def subjects(self) -> tuple[Subject, ...]:
        """What the statement is about, for in-toto tools."""
        raise AssertionError(f"{type(self).__name__} names no subject")


def subject(name: str, digest: str) -> Subject:
    """The subject called ``name`` with this SHA-256."""
    return Subject(name=name, digest=SubjectDigest(sha256=digest))


class Session(Said, frozen=True, kw_only=True):
    """An operator's answer to the server's challenge, for a short-lived token to read with.

    It authorises nothing that a gateway does.
    """

    PREDICATE = "urn:interlock:session:v1"

    challenge: Annotated[str, Meta(min_length=16, max_length=512)]

    def subjects(self) -> tuple[Subject, ...]:
        """The challenge, by digest."""
        return (subject("challenge", sha256_hex(self.challenge.encode())),)


class Signature(Record, frozen=True, kw_only=True):
    """One signature of an envelope: base64, by the key of that id."""

    keyid: Digest
    sig: Annotated[str, Meta(min_length=1, max_length=8192)]


class Envelope(Record, frozen=True, kw_only=True):
    """A DSSE envelope as it travels: base64 payload and signatures."""

    payload: Annotated[str, Meta(max_length=MAX_ENVELOPE)]
    payload_type: str = field(name="payloadType")
    signatures: Annotated[tuple[Signature, ...], Meta(min_length=1, max_length=MAX_SIGNATURES)]


class _Statement(Record, frozen=True, kw_only=True):
    type_: str = field(name="_type")
    predicate_type: str = field(name="predicateType")
    subject: tuple[Subject, ...]
    predicate: Any


S_co = TypeVar("S_co", bound=Said, covariant=True)
S = TypeVar("S", bound=Said)


@dataclass(frozen=True)
class Opened(Generic[S_co]):
    """A statement whose form was checked and whose signatures were not.

    Attributes:
        said: the predicate.
        id: SHA-256 of the payload bytes.
        payload: exactly the bytes that were signed.
        envelope: as it arrived, to be passed on unchanged.
    """

    said: S_co
    id: str
    payload: bytes
    envelope: Envelope

    @cached_property
    def _dsse(self) -> DsseEnvelope:
        return DsseEnvelope(self.payload, PAYLOAD_TYPE, {})

    def verified_by(self, keys: Iterable[SSlibKey]) -> SSlibKey | None:
        """The first of ``keys`` that made one of the signatures, or None."""
        signed_bytes = self._dsse.pae()
        for key in keys:
            for signature in self.envelope.signatures:
                if signature.keyid != key.keyid:
                    continue
                try:
                    raw = _base64(signature.sig, "signature").hex()
                    key.verify_signature(SslibSignature(key.keyid, raw), signed_bytes)
                except (WireError, UnverifiedSignatureError):
                    continue
                return key
        return None


def unsigned(said: S) -> Opened[S]:
    """A statement that nobody signed yet, with the id that it will have. It counts for nothing."""
    payload = _payload(said)
    envelope = Envelope(
        payload=base64.b64encode(payload).decode(), payload_type=PAYLOAD_TYPE, signatures=()
    )
    return Opened(said=said, id=sha256_hex(payload), payload=payload, envelope=envelope)


def _base64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as e:
        raise WireError(f"The {what} is not base64.") from e
    if base64.b64encode(raw).decode() != text:
        raise WireError(f"The {what} is not in canonical base64.")
    return raw


def _payload(said: Said) -> bytes:
    return encode(
        _Statement(
            type_=STATEMENT_TYPE,
            predicate_type=said.PREDICATE,
            subject=said.subjects(),
            predicate=said,
        )
    )


def sign(said: Said, signer: Signer) -> Envelope:
    """Sign ``said`` with its author's key.

    Raises:
        WireError: the result would not be accepted (too large).
    """
    payload = _payload(said)
    signature = signer.sign(DsseEnvelope(payload, PAYLOAD_TYPE, {}).pae())
    envelope = Envelope(
        payload=base64.b64encode(payload).decode(),
        payload_type=PAYLOAD_TYPE,
        signatures=(
            Signature(
                keyid=signature.keyid,
                sig=base64.b64encode(bytes.fromhex(signature.signature)).decode(),
            ),
        ),
    )
    open_as(envelope, type(said))
    return envelope


def read_envelope(data: bytes) -> Envelope:
    """Read an envelope that arrived by itself.

    Raises:
        WireError: too large, or not a DSSE envelope.
    """
    return decode(data, Envelope, limit=MAX_ENVELOPE, what="statement envelope")


def open_statement(envelope: Envelope, types: Iterable[type[Said]]) -> Opened[Said]:
    """Open an envelope that holds a statement of one of ``types``.

    Raises:
        WireError: too large, another type, or not in the one form (rule 2).
    """
    if len(encode(envelope)) > MAX_ENVELOPE:
        raise WireError(f"A statement envelope is larger than {MAX_ENVELOPE} bytes.")
    if envelope.payload_type != PAYLOAD_TYPE:
        raise WireError(f"The payload type {envelope.payload_type[:60]!r} is not in-toto's.")
    payload = _base64(envelope.payload, "payload")
    tree = parse(payload, limit=MAX_ENVELOPE, what="statement")
    outer = convert(tree, _Statement, what="statement")
    by_name = {known.PREDICATE: known for known in types}
    if outer.type_ != STATEMENT_TYPE or outer.predicate_type not in by_name:
        raise WireError(
            f"The statement is a {outer.predicate_type[:60]!r}; expected {' or '.join(by_name)}."
        )
    type_ = by_name[outer.predicate_type]
    said: Said = convert(outer.predicate, type_, what=f"statement {type_.PREDICATE}")
    if _payload(said) != payload:
        raise WireError(
            f"The statement {type_.PREDICATE} is not in its one canonical form, "
            "or its subject differs from its predicate."
        )
    return Opened(said=said, id=sha256_hex(payload), payload=payload, envelope=envelope)


def open_as(envelope: Envelope, type_: type[S]) -> Opened[S]:
    """``open_statement`` for one type.

    Raises:
        WireError: as ``open_statement`` does.
    """
    opened = open_statement(envelope, (type_,))
    assert isinstance(opened.said, type_)
    return Opened(said=opened.said, id=opened.id, payload=opened.payload, envelope=opened.envelope)
