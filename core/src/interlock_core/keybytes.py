"""Which public keys Interlock accepts, and when two spellings are one key (pure).

Rules:

1. Five kinds of keys: Ed25519, ECDSA on P-256 and P-384, RSA-PSS of 3072 bits or more, and
   ML-DSA-65. Anything else is refused, however well formed.
2. A key is its public key bytes (DER SubjectPublicKeyInfo), never its id: libraries count one key
   under two ids twice, and one PEM can be spelled in many ways.
3. Ed25519 keys are 64 lower-case hexadecimal digits, as TUF writes them; the others are PEM.
4. An Ed25519 key of small order, all zeros among them, is refused: anybody can sign for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from msgspec import Meta
from securesystemslib.signer import Key, SSlibKey

from interlock_core.errors import WireError
from interlock_core.names import Digest
from interlock_core.wire import Record

MIN_RSA_BITS: Final = 3072
MAX_PEM_LENGTH: Final = 8192

_ED25519_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")
_P25519: Final = 2**255 - 19
_SMALL_ORDER_8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
"""The y of two points of order 8; the other two have its negative."""
_SMALL_ORDER: Final = frozenset({0, 1, _P25519 - 1, _SMALL_ORDER_8, _P25519 - _SMALL_ORDER_8})
"""The y of every point of Ed25519's curve whose order is 1, 2, 4 or 8."""


@dataclass(frozen=True)
class KeyScheme:
    """One kind of key.

    Attributes:
        keytype: TUF's ``keytype``.
        scheme: TUF's ``scheme``; also what commands take.
        title: what a person calls it.
    """

    keytype: str
    scheme: str
    title: str


KEY_SCHEMES: Final[Mapping[str, KeyScheme]] = MappingProxyType(
    {
        kind.scheme: kind
        for kind in (
            KeyScheme("ed25519", "ed25519", "Ed25519"),
            KeyScheme("ecdsa", "ecdsa-sha2-nistp256", "ECDSA P-256"),
            KeyScheme("ecdsa", "ecdsa-sha2-nistp384", "ECDSA P-384"),
            KeyScheme("rsa", "rsassa-pss-sha256", "RSA-PSS, 3072 bits or more"),
            KeyScheme("ml-dsa", "ml-dsa-65/1", "ML-DSA-65"),
        )
    }
)
"""The kinds of keys that are accepted, by ``scheme`` (rule 1)."""


class KeyValue(Record, frozen=True, kw_only=True):
    """TUF's ``keyval`` of a public key."""

    public: Annotated[str, Meta(min_length=1, max_length=MAX_PEM_LENGTH)]


class PublicKey(Record, frozen=True, kw_only=True):
    """A public key as TUF spells it, with the id that follows from its content."""

    keyid: Digest
    keytype: Annotated[str, Meta(max_length=32)]
    scheme: Annotated[str, Meta(max_length=32)]
    keyval: KeyValue

    def sslib(self) -> SSlibKey:
        """The key, ready to verify with.

        Raises:
            WireError: ``bad_key``, as ``check_key``.
        """
        return check_key(
            SSlibKey(self.keyid, self.keytype, self.scheme, {"public": self.keyval.public})
        )

    @classmethod
    def of(cls, key: Key) -> PublicKey:
        """The wire form of ``key``."""
        return cls(
            keyid=key.keyid,
            keytype=key.keytype,
            scheme=key.scheme,
            keyval=KeyValue(public=key.keyval["public"]),
        )


def public_key_bytes(key: Key) -> bytes:
    """What a key is: DER SubjectPublicKeyInfo (rule 2).

    Raises:
        WireError: ``bad_key``: a kind that is not accepted, or a value that is no such key.
    """
    return _crypto_key(key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def check_key(key: Key) -> SSlibKey:
    """Return ``key`` if it is spelled as Interlock spells keys, and its id follows from it.

    Raises:
        WireError: ``bad_key``: as ``public_key_bytes``, another spelling, or an id that is not
            the one computed from the content.
    """
    spelled = SSlibKey.from_crypto(_crypto_key(key), scheme=key.scheme)
    if key.keyid != spelled.keyid or key.to_dict() != spelled.to_dict():
        raise _bad_key(key, "its id or spelling does not follow from its content")
    return spelled


def _crypto_key(key: Key) -> PublicKeyTypes:
    kind = KEY_SCHEMES.get(key.scheme)
    if kind is None or kind.keytype != key.keytype:
        raise _bad_key(key, f"{key.keytype}/{key.scheme} keys are not accepted")
    public = key.keyval.get("public")
    if not isinstance(public, str) or len(public) > MAX_PEM_LENGTH:
        raise _bad_key(key, "it has no public value of a sensible length")
    if key.keytype == "ed25519" and _ED25519_HEX.match(public) is None:
        raise _bad_key(key, "an Ed25519 key is 64 lower-case hexadecimal digits")
    if key.keytype == "ed25519" and _is_weak(bytes.fromhex(public)):
        raise _bad_key(key, "it is of small order, and anybody can sign for it")
    try:
        crypto_key: PublicKeyTypes = (
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
            if key.keytype == "ed25519"
            else load_pem_public_key(public.encode())
        )
    except (ValueError, UnsupportedAlgorithm) as e:
        raise _bad_key(key, "its value cannot be read as a public key") from e
    if not _fits(key.scheme, crypto_key):
        raise _bad_key(key, f"its value is not a {kind.title} key")
    return crypto_key


def _is_weak(ed25519: bytes) -> bool:
    """Whether these 32 bytes spell a point of small order, canonically or not (rule 4)."""
    y = int.from_bytes(ed25519, "little") % 2**255
    return y % _P25519 in _SMALL_ORDER


def _fits(scheme: str, key: PublicKeyTypes) -> bool:
    match scheme:
        case "ed25519":
            return isinstance(key, Ed25519PublicKey)
        case "ecdsa-sha2-nistp256":
            return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
        case "ecdsa-sha2-nistp384":
            return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP384R1)
        case "rsassa-pss-sha256":
            return isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS
        case "ml-dsa-65/1":
            return isinstance(key, MLDSA65PublicKey)
    return False


def _bad_key(key: Key, why: str) -> WireError:
    return WireError(f"The key {key.keyid[:64]} is not acceptable: {why}.", reason="bad_key")
