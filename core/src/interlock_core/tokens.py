"""PKCS#11 tokens: found by their label, opened with a PIN, and closed again (I/O).

Rules:

1. A key is named by ``hsm:<number>?label=<label of the token>``, as securesystemslib names it; the
   number is its id in the token, and 2 (the PIV slot for signatures) if none is said. Two tokens of
   one label, and two keys under one number, are refused: it must be known which one is meant.
2. A PIN is asked for through the handler that is passed in, and after the token was found. Tokens
   lock after a few wrong PINs: a login is never tried again by itself, and a PIN that this process
   knows to be wrong is not shown to that token a second time.
3. A token that asks for no PIN is refused: a key needs two factors, the token and what its holder
   knows.
4. Between calls nothing is kept open: the library is initialised for each, and finalised, so that a
   process may fork. One thread at a time, and one process of the host (``token_turn``).

The variable ``PYKCS11LIB`` names the library that speaks to the token. python-pkcs11 is imported
where it is used, because the gateway has none.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote_plus

from securesystemslib.signer import HSMSigner, SecretsHandler

from interlock_core.credentials import pin_of
from interlock_core.errors import (
    ConfigurationError,
    InterlockError,
    NotFoundError,
    SecretError,
    TransientError,
)
from interlock_core.token_turn import turn_at

if TYPE_CHECKING:
    import pkcs11

SCHEME: Final = HSMSigner.SCHEME
LIBRARY_VARIABLE: Final = "PYKCS11LIB"
MAX_NUMBER: Final = 65_535

_URI: Final = re.compile(r"hsm:([0-9]{0,5})(?:\?(label=[^&=\x00-\x20\x7f]{1,200}))?\Z")
_in_use: Final = threading.Lock()
"""A process has one login to a token, whatever the number of its threads (rule 4)."""
_known_wrong: Final[set[tuple[str, bytes, str]]] = set()
"""Label and serial number of a token, and a PIN that is wrong (rule 2)."""


@dataclass(frozen=True)
class TokenUri:
    """Where a key lives (rule 1).

    Attributes:
        number: the id under which the token holds the key.
        label: of the token; None is the only token that is there.
    """

    number: int
    label: str | None

    def __str__(self) -> str:
        label = f"?label={quote_plus(self.label)}" if self.label else ""
        return f"{SCHEME}:{self.number}{label}"

    @property
    def title(self) -> str:
        """What people call the token."""
        return f"token {self.label!r}" if self.label else "token"


def read_uri(text: str) -> TokenUri:
    """Read ``hsm:[<number>][?label=<label of the token>]``.

    Raises:
        ConfigurationError: ``bad_token_uri``.
    """
    match = _URI.match(text)
    number = int(match[1] or HSMSigner.SCHEME_KEYID) if match else 0
    label = dict(parse_qsl(match[2] or "")).get("label") if match else None
    if not 1 <= number <= MAX_NUMBER or (label is not None and not label.isprintable()):
        raise ConfigurationError(
            f"{text[:120]!r} names no key in a token: write hsm:<number>?label=<label of the "
            f"token>, for instance hsm:2?label=alice; the number is 1 to {MAX_NUMBER}.",
            reason="bad_token_uri",
        )
    return TokenUri(number, label)


@dataclass(frozen=True)
class OpenToken:
    """A token that is logged in to.

    Attributes:
        uri: of the key, with the token's own label.
        session: python-pkcs11's.
        p11: python-pkcs11 itself, for its names.
        pin: what opened the token.
    """

    uri: TokenUri
    session: pkcs11.Session
    p11: ModuleType
    pin: str = field(repr=False)

    @property
    def id_bytes(self) -> bytes:
        """The key's number as the token knows it."""
        return bytes(self.p11.util.biginteger(self.uri.number))

    def private_key(self) -> Any:
        """The private key under the number, or None.

        Raises:
            ConfigurationError: ``ambiguous_token_key`` (rule 1).
        """
        return self._one("PRIVATE_KEY")

    def public_key(self) -> Any:
        """The public key under the number, or None.

        Raises:
            ConfigurationError: ``ambiguous_token_key`` (rule 1).
        """
        return self._one("PUBLIC_KEY")

    def find(self, class_: str, **wanted: Any) -> list[Any]:
        """The objects of a class whose attributes are as wanted."""
        names = self.p11.Attribute
        attributes = {names.CLASS: self.p11.ObjectClass[class_]}
        attributes |= {names[name]: value for name, value in wanted.items()}
        return list(self.session.get_objects(attributes))

    def attribute(self, key: Any, name: str) -> Any:
        """An attribute of a key, or None if the token does not know it."""
        try:
            return key[self.p11.Attribute[name]]
        except self.p11.AttributeTypeInvalid:
            return None

    def _one(self, class_: str) -> Any:
        keys = self.find(class_, ID=self.id_bytes)
        if len(keys) > 1:
            raise ConfigurationError(
                f"The {self.uri.title} holds {len(keys)} keys under the number "
                f"{self.uri.number}, and it cannot be known which one was meant: remove one, or "
                "use another token.",
                reason="ambiguous_token_key",
            )
        return keys[0] if keys else None


@contextmanager
def opened(
    uri: TokenUri, secrets: SecretsHandler | None, *, write: bool = False
) -> Iterator[OpenToken]:
    """A token, logged in to, for this thread alone (rules 2, 3 and 4).

    Args:
        uri: which one.
        secrets: asked for the PIN.
        write: whether keys will be made.

    Raises:
        SecretError: the PIN is missing or wrong, or the token is locked.
        NotFoundError: ``no_token``.
        ConfigurationError: no usable library, two tokens of that name, or one without a PIN.
        TransientError: ``token_failed``; so does what is done inside.
    """
    with _library(uri) as (p11, library):
        token = _find(p11, library, uri)
        found = TokenUri(uri.number, token.label)
        warning = _check_flags(p11, token, found)
        if secrets is None:
            raise SecretError(f"The {found.title} needs its PIN.", reason="no_passphrase")
        pin = secrets(pin_of(found.title) + warning)
        with (
            _remembering(p11, token, found, pin),
            token.open(rw=write, user_pin=pin) as session,
        ):
            yield OpenToken(found, session, p11, pin)


@contextmanager
def lent(uri: TokenUri, pin: str) -> Iterator[None]:
    """The token is there and may be opened with a PIN that was right before, by a library.

    Raises:
        InterlockError: as ``opened``; so does what is done inside.
    """
    with _library(uri) as (p11, library):
        token = _find(p11, library, uri)
        _check_flags(p11, token, uri)
        with _remembering(p11, token, uri, pin):
            yield


def check_token(uri: TokenUri, secrets: SecretsHandler) -> TokenUri:
    """See that a token is there and that its PIN opens it, and change nothing.

    Returns:
        the URI, with the token's label.

    Raises:
        InterlockError: as ``opened``.
    """
    with opened(uri, secrets) as token:
        return token.uri


@contextmanager
def _library(uri: TokenUri) -> Iterator[tuple[ModuleType, Any]]:
    """The token's library, initialised, for this thread alone (rule 4)."""
    try:
        import pkcs11  # noqa: PLC0415  # see above: the gateway has none
    except ImportError as e:
        raise ConfigurationError(
            f"The key in the {uri.title} cannot be used: this program was installed without "
            "python-pkcs11.",
            reason="no_token_library",
        ) from e
    path = os.environ.get(LIBRARY_VARIABLE)
    if not path:
        raise ConfigurationError(
            f"Which library speaks to the {uri.title}? Set the variable {LIBRARY_VARIABLE} to its "
            "PKCS#11 library, for instance /usr/lib/softhsm/libsofthsm2.so.",
            reason="no_token_library",
        )
    with _in_use, turn_at(path):
        try:
            library = pkcs11.lib(path)
        except (pkcs11.PKCS11Error, OSError) as e:
            raise ConfigurationError(
                f"The PKCS#11 library that {LIBRARY_VARIABLE} names cannot be used: "
                f"{str(e) or f'{path}, {type(e).__name__}'}.",
                reason="no_token_library",
            ) from e
        try:
            with _translated(pkcs11, uri):
                yield pkcs11, library
        finally:
            library.finalize()


@contextmanager
def _remembering(p11: ModuleType, token: Any, uri: TokenUri, pin: str) -> Iterator[None]:
    """Show a token no PIN twice that was wrong (rule 2)."""
    known = (token.label, token.serial, pin)
    if known in _known_wrong:
        raise _wrong_pin(uri)
    try:
        yield
    except p11.PinIncorrect:
        _known_wrong.add(known)
        raise


def _find(p11: ModuleType, library: Any, uri: TokenUri) -> Any:
    initialised = p11.TokenFlag.TOKEN_INITIALIZED
    tokens = list(library.get_tokens(token_label=uri.label, token_flags=initialised))
    if not tokens:
        raise NotFoundError(
            f"There is no {uri.title}: plug it in (asked was {library.so}).", reason="no_token"
        )
    if len(tokens) > 1:
        labels = ", ".join(sorted(repr(token.label) for token in tokens))
        raise ConfigurationError(
            f"There are {len(tokens)} tokens ({labels[:400]}) that {uri} may mean: take out the "
            "others, or name one by ?label=…",
            reason="ambiguous_token",
        )
    return tokens[0]


def _check_flags(p11: ModuleType, token: Any, uri: TokenUri) -> str:
    """See that a PIN is asked for (rule 3); return what to add to the question."""
    flag, flags = p11.TokenFlag, token.flags
    if not flags & flag.LOGIN_REQUIRED or not flags & flag.USER_PIN_INITIALIZED:
        raise ConfigurationError(
            f"The {uri.title} asks for no PIN, and whoever finds it could sign: set its user PIN "
            "with its maker's tool.",
            reason="token_without_pin",
        )
    if flags & flag.USER_PIN_LOCKED:
        raise _locked(uri)
    if flags & flag.USER_PIN_FINAL_TRY:
        return " (the last try before it locks)"
    if flags & flag.USER_PIN_COUNT_LOW:
        return " (a wrong one was tried before, and it locks after a few)"
    return ""


@contextmanager
def _translated(p11: ModuleType, uri: TokenUri) -> Iterator[None]:
    """What python-pkcs11 raises, in our families."""
    try:
        yield
    except InterlockError:
        raise
    except (p11.PinIncorrect, p11.PinInvalid, p11.PinLenRange) as e:
        raise _wrong_pin(uri) from e
    except p11.PinLocked as e:
        raise _locked(uri) from e
    except p11.PinExpired as e:
        raise SecretError(
            f"The PIN of the {uri.title} has expired: set a new one with its maker's tool.",
            reason="pin_expired",
        ) from e
    except (p11.MechanismInvalid, p11.FunctionNotSupported, p11.DomainParamsInvalid) as e:
        raise ConfigurationError(
            f"The {uri.title} does not do this kind of key: use another kind, or another token.",
            reason="token",
        ) from e
    except p11.TokenWriteProtected as e:
        raise ConfigurationError(
            f"The {uri.title} takes no new key: it is write-protected.", reason="token"
        ) from e
    except (p11.PKCS11Error, ValueError) as e:
        # ValueError is how securesystemslib says that the token or the key is not there any more.
        raise TransientError(
            f"The {uri.title} failed ({type(e).__name__}{': ' if str(e) else ''}{e}): see that it "
            "is plugged in, and run this again.",
            reason="token_failed",
        ) from e


def _wrong_pin(uri: TokenUri) -> SecretError:
    return SecretError(
        f"The PIN of the {uri.title} is wrong, and the token locks after a few wrong ones: make "
        "sure which token this is, then run this again.",
        reason="wrong_pin",
    )


def _locked(uri: TokenUri) -> SecretError:
    return SecretError(
        f"The {uri.title} is locked after too many wrong PINs: unlock it with its maker's tool "
        "and its security officer's PIN (PUK), or use another key.",
        reason="token_locked",
    )
