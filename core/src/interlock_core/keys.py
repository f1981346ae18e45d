"""Key files and key URIs become signers; a pair is made whole (I/O).

Rules:

1. A private key rests encrypted in a file (``encrypted_keys``) or in a token that does not give it
   away (``token_keys``): two factors each. Anything else is refused.
2. A public key file carries a proof of possession: a signature by that key over its name and
   content. Nobody can enrol another person's key as his own, and a damaged file is found.
3. ``alice.key.json`` is the private half of ``alice.pub.json``, beside it: the key itself,
   encrypted, or the handle of a key in a token, which says where it lives and holds nothing secret.
   A pair is made private half first: a public key without its private half could be handed on and
   trusted, and the role be lost; a private key alone was seen by nobody, and the same call finishes
   the pair.
4. A bare path means ``encrypted-file:<path>``, whatever the file holds; ``hsm:…`` is a key in a
   token. That online keys may live in a KMS as well is the server's own affair.
5. Secrets come from a handler that is passed in, and appear in no message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import SecretsHandler, Signature, Signer, SSlibKey

from interlock_core import durable, encrypted_keys, keybytes, token_keys, wire
from interlock_core.encrypted_keys import (
    MAX_KEY_FILE,
    MAX_SCRYPT_N,
    MIN_PASSPHRASE_LENGTH,
    MIN_SCRYPT_N,
    SCRYPT_N,
    EncryptedFileSigner,
    EncryptedKey,
)
from interlock_core.errors import ConfigurationError, ConflictError, InterlockError, WireError
from interlock_core.keybytes import PublicKey
from interlock_core.names import Name, check_name
from interlock_core.tokens import SCHEME, read_uri

__all__ = [
    "MAX_KEY_FILE",
    "MAX_SCRYPT_N",
    "MIN_PASSPHRASE_LENGTH",
    "MIN_SCRYPT_N",
    "PRIVATE_SUFFIX",
    "PUBLIC_SUFFIX",
    "SCRYPT_N",
    "EncryptedFileSigner",
    "NamedKey",
    "PublicKeyFile",
    "TokenKey",
    "TokenPair",
    "home_of",
    "load_public_key",
    "load_signer",
    "new_key",
    "new_token_key",
    "parse_public_key",
    "public_key_file",
    "public_path_of",
]

TOKEN_FORMAT: Final = "interlock token key v1"  # noqa: S105  # the name of a file format
PRIVATE_SUFFIX: Final = ".key.json"
PUBLIC_SUFFIX: Final = ".pub.json"

_PROOF_CONTEXT: Final = b"interlock proof of possession v1\n"
_URI: Final = re.compile(r"([a-z][a-z0-9+.-]+):")
_SCHEMES: Final = (EncryptedFileSigner.SCHEME, SCHEME)


class PublicKeyFile(wire.Record, frozen=True, kw_only=True):
    """A public key file (rule 2)."""

    format: Literal["interlock public key v1"]
    name: Name
    key: PublicKey
    proof: Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{2}){1,8192}\Z")]


class TokenKey(wire.Record, frozen=True, kw_only=True):
    """The handle of a key in a token (rule 3)."""

    format: Literal["interlock token key v1"]
    uri: Annotated[str, Meta(min_length=1, max_length=1024)]


# Whoever has several keys opens them at once, each in a thread.
wire.make_ready(EncryptedKey, PublicKeyFile, TokenKey)


@dataclass(frozen=True)
class NamedKey:
    """A public key whose holder proved possession, under the name that it was made for."""

    name: str
    key: SSlibKey


@dataclass(frozen=True)
class TokenPair:
    """The files of a key in a token.

    Attributes:
        private: the handle.
        public: the public key file.
        new: whether the key was made by this call; else by one that was cut off.
    """

    private: Path
    public: Path
    new: bool


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
    private_path, public_path = _new_pair(directory, name)
    if private_path.exists():
        if isinstance(_read_private(private_path), TokenKey):
            raise ConflictError(
                f"{private_path} is the handle of a key in a token: choose another name."
            )
        signer = encrypted_keys.reopen(private_path, scheme, passphrase)
    else:
        signer = encrypted_keys.generate(scheme)
        data = encrypted_keys.encrypted(signer, passphrase, scrypt_n)
        durable.create(private_path, data, mode=0o600)
    durable.create(public_path, public_key_file(name, signer))
    return private_path, public_path


def new_token_key(
    directory: Path,
    name: str,
    scheme: str,
    uri: str,
    secrets: SecretsHandler,
    *,
    begin: Callable[[], None] | None = None,
) -> TokenPair:
    """Make a key inside a token, and its handle and public key file (rule 3).

    If an earlier call was cut off after the key was made, this one writes the files of that key.

    Args:
        directory: made if missing.
        name: of the person or the role; names the files and the key in the token.
        scheme: one of ``token_keys.CURVES``.
        uri: ``hsm:[<number>][?label=<label of the token>]``.
        secrets: asked for the token's PIN, once.
        begin: as ``token_keys.make_key``.

    Raises:
        ConfigurationError: an unknown scheme or URI, or a token that cannot be used or told apart.
        ConflictError: there is a key of that name already, or the token has another under that
            number.
        NotFoundError: no such token; or the handle is there and its key is not.
        SecretError: the PIN is missing or wrong, or the token is locked.
        WireError: not a name.
        TransientError: the token or the disk did not do it.
    """
    check_name(name, "key")
    token_keys.check_scheme(scheme)
    where = read_uri(uri)
    private_path, public_path = _new_pair(directory, name)
    handle = _read_private(private_path) if private_path.exists() else None
    if isinstance(handle, EncryptedKey):
        raise ConflictError(f"{private_path} holds a key of its own: choose another name.")
    signer, new = token_keys.make_key(
        where, name, scheme, secrets, must_exist=handle is not None, begin=begin
    )
    data = wire.encode(TokenKey(format="interlock token key v1", uri=str(signer.uri)))
    durable.create(private_path, data, mode=0o600)
    durable.create(public_path, public_key_file(name, signer))
    return TokenPair(private_path, public_path, new)


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
    """The signer that a private key file, or a key URI, names (rules 1 and 4).

    Args:
        uri_or_path: ``alice.key.json``, ``encrypted-file:…`` or ``hsm:…``.
        secrets: asked for a passphrase or PIN, by name, once.
        public_key: the public half; by default it is read from beside the file.

    Raises:
        ConfigurationError: an unknown scheme, a key without a second factor, a missing or wrong
            public half, or a token that cannot be used or told apart.
        RefusedError: ``weak_token_key``: the token does not guard the key.
        SecretError: the secret is missing or wrong, or the token is locked.
        NotFoundError, WireError, TransientError: a file or token is missing, malformed, unreadable.
    """
    text = str(uri_or_path)
    match = _URI.match(text)
    scheme = match[1] if match else EncryptedFileSigner.SCHEME
    if scheme not in _SCHEMES:
        raise ConfigurationError(
            f"{scheme!r} is not a usable kind of private key: pass the path of a key file made "
            "by 'key new', or the URI of a key in a token."
        )
    uri = text
    if scheme == EncryptedFileSigner.SCHEME:
        path = Path(text.removeprefix(f"{scheme}:"))
        if public_key is None:
            public_key = load_public_key(public_path_of(path)).key
        handle = _read_private(path)
        uri = str(read_uri(handle.uri)) if isinstance(handle, TokenKey) else f"{scheme}:{path}"
    elif public_key is None:
        raise ConfigurationError(f"The key {text[:80]} needs its public key file beside it.")
    try:
        return Signer.from_priv_key_uri(uri, public_key, secrets)
    except InterlockError:
        raise
    except Exception as e:
        # Signers raise what their libraries raise; securesystemslib documents no narrower family.
        raise ConfigurationError(
            f"The key {text[:80]} cannot be used: {type(e).__name__}: {e}", reason="signer"
        ) from e


def home_of(private_path: Path) -> str:
    """Where the key lives that a private key file is, or is the handle of: for people.

    Raises:
        NotFoundError, WireError, TransientError: the file is missing, malformed, unreadable.
    """
    handle = _read_private(private_path)
    if isinstance(handle, TokenKey):
        uri = read_uri(handle.uri)
        return f"{uri.title}, number {uri.number} ({uri}); it does not leave it"
    return f"{private_path}, encrypted under a passphrase"


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


def _new_pair(directory: Path, name: str) -> tuple[Path, Path]:
    """The paths of a new pair, in a directory that is there.

    Raises:
        ConflictError: there is a public key of that name already.
        TransientError: the disk did not do it.
    """
    public_path = directory / (name + PUBLIC_SUFFIX)
    if public_path.exists():
        raise ConflictError(f"{public_path} exists: choose another name, or use that key.")
    durable.mkdir(directory)
    return directory / (name + PRIVATE_SUFFIX), public_path


def _read_private(path: Path) -> EncryptedKey | TokenKey:
    what = f"private key file {path}"
    data = durable.read(path, limit=MAX_KEY_FILE, what="private key file")
    tree = wire.parse(data, limit=MAX_KEY_FILE, what=what)
    if isinstance(tree, dict) and tree.get("format") == TOKEN_FORMAT:
        return wire.decode_canonical(data, TokenKey, limit=MAX_KEY_FILE, what=what)
    return wire.decode_canonical(data, EncryptedKey, limit=MAX_KEY_FILE, what=what)


def _proof_payload(name: str, key: PublicKey) -> bytes:
    return _PROOF_CONTEXT + wire.encode([name, key])
