"""Private keys that live in a PKCS#11 token: made there, and never taken out (I/O).

Rules:

1. A key is made inside the token: P-256 or P-384, private, sensitive, not extractable, and not
   copyable where the token knows that word. What the token then says of it is read back, and a key
   that is not so is refused, before anything is trusted to it.
2. Making a key that is there already under this name and number, fit by rule 1, gives that key: the
   call before may have been cut off between the token and the files. Whoever keeps a record of what
   they begin can ask to be told first, and is then given no key that is there already. Any other
   key stays as it is, and no second key gets its number or its name.
3. A PIN is asked for once per signer (``tokens``). A signature that the public key does not verify
   never leaves: another token may stand in the place of the right one.

Signing is securesystemslib's ``HSMSigner``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import (
    SIGNER_FOR_URI_SCHEME,
    HSMSigner,
    Key,
    SecretsHandler,
    Signature,
    Signer,
    SSlibKey,
)

from interlock_core.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    RefusedError,
)
from interlock_core.keybytes import check_key, public_key_bytes
from interlock_core.tokens import OpenToken, TokenUri, lent, opened, read_uri

DEFAULT_SCHEME: Final = "ecdsa-sha2-nistp256"
CURVES: Final = {DEFAULT_SCHEME: "secp256r1", "ecdsa-sha2-nistp384": "secp384r1"}
"""The kinds of keys that are made in tokens, and the curve that a token knows them by."""

_GUARDED: Final = {"PRIVATE": True, "SENSITIVE": True, "EXTRACTABLE": False}
_MADE_INSIDE: Final = {"LOCAL": True, "ALWAYS_SENSITIVE": True, "NEVER_EXTRACTABLE": True}


class TokenSigner(Signer):
    """Signs with a key in a token; scheme ``hsm:``.

    Attributes:
        uri: where the key lives, with the token's label.
    """

    def __init__(self, uri: TokenUri, public_key: SSlibKey, pin: str) -> None:
        self.uri = uri
        self._public_key = public_key
        self._pin = pin

    @property
    def public_key(self) -> SSlibKey:
        """The public half."""
        return self._public_key

    def sign(self, payload: bytes) -> Signature:
        """Sign ``payload`` (rule 3).

        Raises:
            ConfigurationError: ``key_mismatch``: another token is in its place.
            InterlockError: as ``tokens.opened``.
        """
        signer = HSMSigner(self.uri.number, self._public_key, lambda _: self._pin, self.uri.label)
        with lent(self.uri, self._pin):
            signature = signer.sign(payload)
        try:
            self._public_key.verify_signature(signature, payload)
        except UnverifiedSignatureError as e:
            raise _mismatch(self.uri, self._public_key) from e
        return signature

    @classmethod
    def from_priv_key_uri(
        cls,
        priv_key_uri: str,
        public_key: Key,
        secrets_handler: SecretsHandler | None = None,
    ) -> TokenSigner:
        """Find the key, see that the token guards it, and that it belongs to ``public_key``.

        Raises:
            NotFoundError: ``no_token_key``.
            ConfigurationError: ``key_mismatch``.
            RefusedError: ``weak_token_key``: the token would give the key away (rule 1).
            InterlockError: as ``tokens.opened``.
        """
        with opened(read_uri(priv_key_uri), secrets_handler) as token:
            private = token.private_key()
            if private is None:
                raise _missing(token.uri)
            _check(token, private, _GUARDED)
            held = _public_half(token)
        if public_key_bytes(held) != public_key_bytes(public_key):
            raise _mismatch(token.uri, public_key)
        return cls(token.uri, check_key(public_key), token.pin)


SIGNER_FOR_URI_SCHEME[HSMSigner.SCHEME] = TokenSigner


def make_key(
    uri: TokenUri,
    name: str,
    scheme: str,
    secrets: SecretsHandler,
    *,
    must_exist: bool = False,
    begin: Callable[[], None] | None = None,
) -> tuple[TokenSigner, bool]:
    """Make a key inside a token, under a name (rules 1 and 2).

    Args:
        uri: which token, and under which number.
        name: the key's label in the token.
        scheme: one of ``CURVES``.
        secrets: asked for the PIN.
        must_exist: the key was made before, and is only looked for.
        begin: called once the token is seen to hold no such key, and before one is made; then a
            key that is there is a conflict.

    Returns:
        what signs with it, and whether the key is new.

    Raises:
        ConfigurationError: a kind of key that is not made in tokens.
        ConflictError: ``token_key_exists``: another key has that number, or that name.
        NotFoundError: ``no_token_key``.
        RefusedError: ``weak_token_key``: the token does not guard the key.
        InterlockError: as ``tokens.opened``.
    """
    check_scheme(scheme)
    with opened(uri, secrets, write=not must_exist) as token:
        private = token.private_key()
        new = private is None
        if private is None:
            if must_exist:
                raise _missing(token.uri)
            _check_unused(token, name)
            if begin is not None:
                begin()
            private = _generate(token, name, CURVES[scheme])
        elif token.attribute(private, "LABEL") != name:
            raise _taken(token.uri, f"another key under the number {token.uri.number}")
        elif begin is not None:
            raise _taken(token.uri, f"{name} already, under the number {token.uri.number}")
        _check(token, private, _GUARDED | _MADE_INSIDE)
        public = _public_half(token)
    if public.scheme != scheme:
        raise _taken(token.uri, f"{name}, a key of the kind {public.scheme},")
    return TokenSigner(token.uri, public, token.pin), new


def check_scheme(scheme: str) -> None:
    """See that keys of this kind are made in tokens.

    Raises:
        ConfigurationError: they are not.
    """
    if scheme not in CURVES:
        raise ConfigurationError(
            f"{scheme[:40]!r} is no kind of key that is made in a token: use one of "
            f"{', '.join(sorted(CURVES))}."
        )


def _check_unused(token: OpenToken, name: str) -> None:
    """See that nothing has the name, nor a public key the number (rule 2)."""
    if token.find("PRIVATE_KEY", LABEL=name):
        raise _taken(token.uri, f"a key called {name} under another number")
    if token.public_key() is not None:
        raise _taken(token.uri, f"a public key under the number {token.uri.number}")


def _generate(token: OpenToken, name: str, curve: str) -> Any:
    p11 = token.p11
    parameters = token.session.create_domain_parameters(
        p11.KeyType.EC,
        {p11.Attribute.EC_PARAMS: p11.util.ec.encode_named_curve_parameters(curve)},
        local=True,
    )

    def make(**words: bool) -> Any:
        _, private = parameters.generate_keypair(
            store=True,
            id=token.id_bytes,
            label=name,
            capabilities=p11.MechanismFlag.SIGN | p11.MechanismFlag.VERIFY,
            mechanism=p11.Mechanism.EC_KEY_PAIR_GEN,
            private_template={p11.Attribute[word]: value for word, value in words.items()},
        )
        return private

    try:
        return make(**_GUARDED, COPYABLE=False)
    except (p11.AttributeTypeInvalid, p11.AttributeValueInvalid, p11.TemplateInconsistent):
        # Older tokens do not know the word. What is not extractable leaves them in no copy either.
        return make(**_GUARDED)


def _check(token: OpenToken, private: Any, wanted: dict[str, bool]) -> None:
    """See that the token says of the key what it must (rule 1)."""
    wrong = [name for name, value in wanted.items() if token.attribute(private, name) is not value]
    if wrong:
        raise RefusedError(
            f"The {token.uri.title} does not guard the key under the number {token.uri.number} as "
            f"it must ({', '.join(wrong).lower()}): make another one inside it with 'key new "
            "--token'.",
            reason="weak_token_key",
        )


def _public_half(token: OpenToken) -> SSlibKey:
    public = token.public_key()
    if public is not None and token.attribute(public, "KEY_TYPE") == token.p11.KeyType.EC:
        key = load_der_public_key(token.p11.util.ec.encode_ec_public_key(public))
        if isinstance(key, EllipticCurvePublicKey):
            p256 = isinstance(key.curve, SECP256R1)
            scheme = DEFAULT_SCHEME if p256 else "ecdsa-sha2-nistp384"
            return check_key(SSlibKey.from_crypto(key, scheme=scheme))
    raise ConfigurationError(
        f"The {token.uri.title} holds no elliptic-curve public key under the number "
        f"{token.uri.number}: name the number of a key that 'key new --token' made.",
        reason="no_token_key",
    )


def _missing(uri: TokenUri) -> NotFoundError:
    return NotFoundError(
        f"The {uri.title} holds no private key under the number {uri.number}: plug in the token "
        "that the key was made in.",
        reason="no_token_key",
    )


def _taken(uri: TokenUri, what: str) -> ConflictError:
    return ConflictError(
        f"The {uri.title} holds {what}: nothing was changed; choose another number or name.",
        reason="token_key_exists",
    )


def _mismatch(uri: TokenUri, public_key: Key) -> ConfigurationError:
    return ConfigurationError(
        f"The key under the number {uri.number} of the {uri.title} does not belong to the public "
        f"key {public_key.keyid[:12]}: plug in the token that it was made in.",
        reason="key_mismatch",
    )
