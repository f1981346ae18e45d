"""Key URIs become signers; private keys rest encrypted (I/O).

Rules:

1. A private key file is create-only, mode 0600, and encrypted: PKCS#8 under a password that
   scrypt derives from the passphrase. ``docs/adr/0002-encrypted-key-files.md`` says why. Its
   parameters are bounded before they are used.
2. A public key file carries a proof of possession: a signature by that key over its name and
   content. Nobody can enrol another person's key as his own, and a damaged file is found.
3. ``alice.key.json`` is the private half of ``alice.pub.json``, beside it. A pair is made private
   half first: a public key without its private half could be handed on and trusted, and the role
   be lost; a private key alone was seen by nobody, and the same call finishes the pair.
4. A bare path means ``encrypted-file:<path>``. Keys in a token or a KMS have URIs of their own;
   plaintext key files are refused.
5. Secrets come from a handler that is passed in, and appear in no message.
"""

from __future__ import annotations

import base64
import re
import secrets as system_random
from dataclasses import dataclass
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
from securesystemslib.exceptions import UnverifiedSignatureError
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
    InterlockError,
    SecretError,
    TransientError,
    WireError,
)
from interlock_core.keybytes import PublicKey
from interlock_core.names import Name, check_name

SCRYPT_N: Final = 2**16
"""Cost of opening a key file: 64 MiB of memory and about 0.2 s."""
MIN_SCRYPT_N: Final = 2**14
MAX_SCRYPT_N: Final = 2**20
MIN_PASSPHRASE_LENGTH: Final = 8
MAX_KEY_FILE: Final = 32 * 1024

PRIVATE_SUFFIX: Final = ".key.json"
PUBLIC_SUFFIX: Final = ".pub.json"

_PROOF_CONTEXT: Final = b"interlock proof of possession v1\n"
_URI: Final = re.compile(r"([a-z][a-z0-9+.-]+):")
_PLAINTEXT_SCHEMES: Final = frozenset({"file", "file2"})


class Kdf(wire.Record, frozen=True, kw_only=True):
    """How the passphrase becomes the password of the PKCS#8 (rule 1)."""

    name: Literal["scrypt"]
    n: Annotated[int, Meta(ge=MIN_SCRYPT_N, le=MAX_SCRYPT_N)]
    r: Literal[8]
    p: Literal[1]
    salt: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]


class EncryptedKey(wire.Record, frozen=True, kw_only=True):
    """A private key file."""

    format: Literal["interlock encrypted key v1"]
    kdf: Kdf
    pkcs8: str


class PublicKeyFile(wire.Record, frozen=True, kw_only=True):
    """A public key file (rule 2)."""

    format: Literal["interlock public key v1"]
    name: Name
    key: PublicKey
    proof: Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{2}){1,8192}\Z")]


# Whoever has several keys opens them at once, each in a thread.
wire.make_ready(EncryptedKey, PublicKeyFile)


@dataclass(frozen=True)
class NamedKey:
    """A public key whose holder proved possession, under the name that it was made for."""

    name: str
    key: SSlibKey


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
        private_key = _open_private(path, secrets_handler)
        opened = SSlibKey.from_crypto(private_key.public_key(), scheme=public_key.scheme)
        if keybytes.public_key_bytes(opened) != keybytes.public_key_bytes(public_key):
            raise ConfigurationError(
                f"The private key in {path} does not belong to the public key "
                f"{public_key.keyid[:12]}: name the file that does.",
                reason="key_mismatch",
            )
        return cls(CryptoSigner(private_key, keybytes.check_key(public_key)))


SIGNER_FOR_URI_SCHEME[EncryptedFileSigner.SCHEME] = EncryptedFileSigner


def new_key(
    directory: Path, name: str, scheme: str, passphrase: str, *, scrypt_n: int = SCRYPT_N
) -> tuple[Path, Path]:
    """Make a key pair, and return the paths of its private and its public file (rule 3).

    If an earlier call was cut off after the private file, this one finishes the pair with the
    same passphrase instead of making another key.

    Args:
        directory: made if missing.
        name: of the person or the role; names the files too.
        scheme: one of ``keybytes.KEY_SCHEMES``.
        passphrase: at least 8 characters.
        scrypt_n: cost of the key derivation, a power of two from 2**14 to 2**20.

    Raises:
        ConfigurationError: an unknown scheme, or a passphrase that is too short.
        ConflictError: there is a public key of that name already.
        SecretError: a private key of that name exists, and this passphrase does not open it.
        WireError: not a name.
        TransientError: the disk did not do it.
    """
    check_name(name, "key")
    if scheme not in keybytes.KEY_SCHEMES:
        raise ConfigurationError(
            f"{scheme[:40]!r} is not a kind of key: use one of "
            f"{', '.join(sorted(keybytes.KEY_SCHEMES))}."
        )
    if len(passphrase) < MIN_PASSPHRASE_LENGTH:
        raise ConfigurationError(
            f"The passphrase is too short: use at least {MIN_PASSPHRASE_LENGTH} characters.",
            reason="weak_passphrase",
        )
    private_path = directory / (name + PRIVATE_SUFFIX)
    public_path = directory / (name + PUBLIC_SUFFIX)
    if public_path.exists():
        raise ConflictError(f"{public_path} exists: choose another name, or use that key.")
    durable.mkdir(directory)
    if private_path.exists():
        private_key = _open_private(private_path, lambda _: passphrase)
        signer = _signer(private_key, scheme, private_path)
    else:
        signer = _generate(scheme)
        durable.create(private_path, _encrypted(signer, passphrase, scrypt_n), mode=0o600)
    durable.create(public_path, public_key_file(name, signer))
    return private_path, public_path


def public_key_file(name: str, signer: Signer) -> bytes:
    """The bytes of a public key file, with the proof of possession made by ``signer``.

    Raises:
        WireError: a name or a key that is not acceptable.
    """
    check_name(name, "key")
    public = PublicKey.of(keybytes.check_key(signer.public_key))
    signature = signer.sign(_proof_payload(name, public))
    return wire.encode(
        PublicKeyFile(
            format="interlock public key v1", name=name, key=public, proof=signature.signature
        )
    )


def parse_public_key(data: bytes, *, what: str = "public key file") -> NamedKey:
    """Check the bytes of a public key file whole: form, kind, id, and proof of possession.

    Raises:
        WireError: the form is wrong, the key is not acceptable (``bad_key``), or the proof does
            not verify (``bad_proof``).
    """
    file = wire.decode_canonical(data, PublicKeyFile, limit=MAX_KEY_FILE, what=what)
    check_name(file.name, "key")
    key = file.key.sslib()
    try:
        key.verify_signature(Signature(key.keyid, file.proof), _proof_payload(file.name, file.key))
    except UnverifiedSignatureError as e:
        raise WireError(
            f"The {what} holds no proof that its holder has the private key: ask {file.name} "
            "for the file that was made with the key.",
            reason="bad_proof",
        ) from e
    return NamedKey(file.name, key)


def load_public_key(path: Path) -> NamedKey:
    """Read a public key file and check it whole.

    Raises:
        NotFoundError: no file is there.
        WireError: as ``parse_public_key``.
        TransientError: it cannot be read.
    """
    data = durable.read(path, limit=MAX_KEY_FILE, what="public key file")
    return parse_public_key(data, what=f"public key file {path}")


def load_signer(
    uri_or_path: str | Path, secrets: SecretsHandler, public_key: SSlibKey | None = None
) -> Signer:
    """The signer that a key URI, or the path of an encrypted key file, names (rule 4).

    Args:
        uri_or_path: ``alice.key.json``, ``encrypted-file:…``, ``hsm:…`` and so on.
        secrets: asked for a passphrase or PIN, by name.
        public_key: the public half; by default it is read from beside an encrypted file.

    Raises:
        ConfigurationError: an unknown scheme, a plaintext key, a missing or wrong public half.
        SecretError: the secret is missing or wrong.
        NotFoundError, WireError, TransientError: a file is missing, malformed, unreadable.
    """
    text = str(uri_or_path)
    match = _URI.match(text)
    scheme = match[1] if match else EncryptedFileSigner.SCHEME
    if scheme in _PLAINTEXT_SCHEMES or scheme not in SIGNER_FOR_URI_SCHEME:
        raise ConfigurationError(
            f"{scheme!r} is not a usable kind of private key: pass the path of a key file made "
            "by 'key new', or the URI of a key in a token or KMS."
        )
    uri = text if match else f"{scheme}:{text}"
    if public_key is None:
        if scheme != EncryptedFileSigner.SCHEME:
            raise ConfigurationError(f"The key {text[:80]} needs its public key file beside it.")
        public_key = load_public_key(public_path_of(Path(uri.removeprefix(f"{scheme}:")))).key
    try:
        return Signer.from_priv_key_uri(uri, public_key, secrets)
    except InterlockError:
        raise
    except Exception as e:
        # Signers of tokens and KMS raise what their libraries raise; securesystemslib
        # documents no narrower family.
        raise ConfigurationError(
            f"The key {text[:80]} cannot be used: {type(e).__name__}: {e}", reason="signer"
        ) from e


def public_path_of(private_path: Path) -> Path:
    """Where the public half of a private key file stands (rule 3).

    Raises:
        ConfigurationError: the file is not called ``<name>.key.json``.
    """
    if not private_path.name.endswith(PRIVATE_SUFFIX):
        raise ConfigurationError(
            f"{private_path} is not a private key file: its name must end with {PRIVATE_SUFFIX}."
        )
    return private_path.with_name(private_path.name.removesuffix(PRIVATE_SUFFIX) + PUBLIC_SUFFIX)


def _proof_payload(name: str, key: PublicKey) -> bytes:
    return _PROOF_CONTEXT + wire.encode([name, key])


def _generate(scheme: str) -> CryptoSigner:
    match keybytes.KEY_SCHEMES[scheme].keytype:
        case "ed25519":
            return CryptoSigner.generate_ed25519()
        case "ecdsa":
            return CryptoSigner.generate_ecdsa(scheme=scheme)
        case "rsa":
            return CryptoSigner.generate_rsa(scheme=scheme, size=keybytes.MIN_RSA_BITS)
        case _:
            return CryptoSigner.generate_mldsa(scheme=scheme)


def _signer(private_key: PrivateKeyTypes, scheme: str, path: Path) -> CryptoSigner:
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


def _encrypted(signer: CryptoSigner, passphrase: str, n: int) -> bytes:
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


def _open_private(path: Path, secrets: SecretsHandler | None) -> PrivateKeyTypes:
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
