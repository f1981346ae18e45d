"""Private keys that rest encrypted in files (I/O).

Rules:

1. A private key file is create-only, mode 0600, and encrypted: PKCS#8 under a password that
   scrypt derives from the passphrase. ``docs/adr/0002-encrypted-key-files.md`` says why. Its
   parameters are bounded before they are used.
2. What is not encrypted does not open: a key needs two factors, the file and what its holder knows.
3. A key that does not open again is never written.
"""

from __future__ import annotations

import base64
import secrets as system_random
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from msgspec import Meta
from securesystemslib.signer import (
    SIGNER_FOR_URI_SCHEME,
    CryptoSigner,
    Key,
    SecretsHandler,
    Signature,
    Signer,
    SSlibKey,
)

from interlock_core import durable, keybytes, wire
from interlock_core.errors import (
    ConfigurationError,
    ConflictError,
    SecretError,
    TransientError,
    WireError,
)

SCRYPT_N: Final = 2**16
"""Cost of opening a key file: 64 MiB of memory and about 0.2 s."""
MIN_SCRYPT_N: Final = 2**14
MAX_SCRYPT_N: Final = 2**20
MIN_PASSPHRASE_LENGTH: Final = 8
MAX_KEY_FILE: Final = 32 * 1024


class Kdf(wire.Record, frozen=True, kw_only=True):
    """How the passphrase becomes the password of the PKCS#8 (rule 1)."""

    name: Literal["scrypt"]
    n: Annotated[int, Meta(ge=MIN_SCRYPT_N, le=MAX_SCRYPT_N)]
    r: Literal[8]
    p: Literal[1]
    salt: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]


class EncryptedKey(wire.Record, frozen=True, kw_only=True):
    """A private key file (rule 1)."""

    format: Literal["interlock encrypted key v1"]
    kdf: Kdf
    pkcs8: str


wire.make_ready(EncryptedKey)


class EncryptedFileSigner(Signer):
    """Signs with an encrypted private key file; scheme ``encrypted-file:<path>``.

    The file is opened once, when the signer is made. The key is not offered for export.
    """

    SCHEME: Final = "encrypted-file"

    def __init__(self, signer: CryptoSigner) -> None:
        self._signer = signer

    @property
    def public_key(self) -> SSlibKey:
        """The public half."""
        return self._signer.public_key

    def sign(self, payload: bytes) -> Signature:
        """Sign ``payload``."""
        return self._signer.sign(payload)

    @classmethod
    def from_priv_key_uri(
        cls,
        priv_key_uri: str,
        public_key: Key,
        secrets_handler: SecretsHandler | None = None,
    ) -> EncryptedFileSigner:
        """Open the key file that the URI names.

        Raises:
            SecretError: no handler was passed, or the passphrase does not open the file.
            ConfigurationError: the private key does not belong to ``public_key``.
            NotFoundError, WireError, TransientError: the file is missing, malformed, unreadable.
        """
        path = Path(priv_key_uri.removeprefix(f"{cls.SCHEME}:"))
        private_key = open_private(path, secrets_handler)
        opened = SSlibKey.from_crypto(private_key.public_key(), scheme=public_key.scheme)
        if keybytes.public_key_bytes(opened) != keybytes.public_key_bytes(public_key):
            raise ConfigurationError(
                f"The private key in {path} does not belong to the public key "
                f"{public_key.keyid[:12]}: name the file that does.",
                reason="key_mismatch",
            )
        return cls(CryptoSigner(private_key, keybytes.check_key(public_key)))


SIGNER_FOR_URI_SCHEME[EncryptedFileSigner.SCHEME] = EncryptedFileSigner


def generate(scheme: str) -> CryptoSigner:
    """A new key in memory.

    Args:
        scheme: one of ``keybytes.KEY_SCHEMES``.
    """
    match keybytes.KEY_SCHEMES[scheme].keytype:
        case "ed25519":
            return CryptoSigner.generate_ed25519()
        case "ecdsa":
            return CryptoSigner.generate_ecdsa(scheme=scheme)
        case "rsa":
            return CryptoSigner.generate_rsa(scheme=scheme, size=keybytes.MIN_RSA_BITS)
        case _:
            return CryptoSigner.generate_mldsa(scheme=scheme)


def encrypted(signer: CryptoSigner, passphrase: str, n: int) -> bytes:
    """The bytes of a private key file (rules 1 and 3)."""
    kdf = msgspec.convert(
        {"name": "scrypt", "n": n, "r": 8, "p": 1, "salt": system_random.token_hex(16)}, Kdf
    )
    plain = load_pem_private_key(signer.private_bytes, None)
    password = _password(passphrase, kdf)
    pkcs8 = plain.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)
    )
    # A key that does not open again must never come to be: whoever trusts it would be locked out.
    CryptoSigner(load_pem_private_key(pkcs8, password), signer.public_key)
    return wire.encode(
        EncryptedKey(format="interlock encrypted key v1", kdf=kdf, pkcs8=pkcs8.decode())
    )


def open_private(path: Path, secrets: SecretsHandler | None) -> PrivateKeyTypes:
    """Decrypt a private key file.

    Raises:
        SecretError: no handler was passed, or the passphrase does not open the file.
        NotFoundError, WireError, TransientError: the file is missing, malformed, unreadable.
    """
    data = durable.read(path, limit=MAX_KEY_FILE, what="private key file")
    file = wire.decode_canonical(
        data, EncryptedKey, limit=MAX_KEY_FILE, what=f"private key file {path}"
    )
    if secrets is None:
        raise SecretError(f"{path} needs its passphrase.", reason="no_passphrase")
    password = _password(secrets(f"passphrase of {path}"), file.kdf)
    try:
        return load_pem_private_key(file.pkcs8.encode(), password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's words are about PKCS#8 and help nobody; no chain, so that no local
        # variable of it is ever printed.
        raise SecretError(
            f"The passphrase does not open {path} (or the file was damaged): try again."
        ) from None


def reopen(path: Path, scheme: str, passphrase: str) -> CryptoSigner:
    """The key of a private key file whose public half was not written yet.

    Raises:
        ConflictError: it is of another kind than ``scheme``.
        InterlockError: as ``open_private``.
    """
    private_key = open_private(path, lambda _: passphrase)
    key = SSlibKey.from_crypto(private_key.public_key(), scheme=scheme)
    try:
        return CryptoSigner(private_key, keybytes.check_key(key))
    except WireError as e:
        raise ConflictError(
            f"{path} holds a key of another kind than {scheme}: choose another name."
        ) from e


def _password(passphrase: str, kdf: Kdf) -> bytes:
    if kdf.n & (kdf.n - 1):
        raise WireError(f"The scrypt parameter n is {kdf.n}, which is not a power of two.")
    derived = Scrypt(salt=bytes.fromhex(kdf.salt), length=32, n=kdf.n, r=kdf.r, p=kdf.p)
    try:
        return base64.b64encode(derived.derive(passphrase.encode()))
    except MemoryError as e:
        raise TransientError(
            f"Opening this key takes {kdf.n // 1024} MiB of memory and there is less: free some."
        ) from e
