"""Online keys that live in a KMS: the one door to boto3 (I/O).

Rules:

1. A key is named by ``awskms:<key id, ARN or alias>``, in a handle ``<name>.key.json`` beside its
   public key file, as a key in a token is. The private half never comes here. The calls are
   securesystemslib's ``AWSSigner``; this module bounds them, names their errors, and imports boto3
   for nothing else.
2. A call ends: connecting takes at most 2 s, an answer at most 5 s, and it is tried twice. Whoever
   publishes holds everybody's turn meanwhile.
3. What waiting mends (no answer, an overload, a fault of the KMS) is ``kms_unavailable``: nothing
   is lost, and heads are served as they stand. For some seconds after, the KMS is not asked again
   by this process: every other cohort would wait for the same answer.
4. What people must mend (no such key, no permission, no credentials, another kind of key) is
   ``kms``. A signature that does not verify never leaves.
5. Nothing connects before it signs, so that a server starts, and serves, while its KMS is away; and
   each process connects for itself.

Credentials, region and endpoint are boto3's own settings (``AWS_…`` variables, an instance's role).
The key's policy must allow ``kms:GetPublicKey`` and ``kms:Sign``, and nothing else.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta
from securesystemslib.exceptions import UnsupportedAlgorithmError, UnverifiedSignatureError
from securesystemslib.signer import AWSSigner, Key, SecretsHandler, Signature, Signer, SSlibKey

from interlock_core import durable, wire
from interlock_core.errors import (
    ConfigurationError,
    InterlockError,
    NotFoundError,
    TransientError,
    WireError,
)
from interlock_core.keybytes import check_key
from interlock_core.keys import MAX_KEY_FILE, load_public_key, public_path_of

SCHEME: Final = AWSSigner.SCHEME
FORMAT: Final = "interlock KMS key v1"
CONNECT_SECONDS: Final = 2
ANSWER_SECONDS: Final = 5
ATTEMPTS: Final = 2
REST_SECONDS: Final = 5.0
"""How long a KMS that could not be reached is left alone (rule 3)."""

_URI: Final = re.compile(rf"{SCHEME}:[0-9A-Za-z:/_.-]{{1,2048}}\Z")
# It says on standard error what it raises, too.
logging.getLogger(AWSSigner.__module__).setLevel(logging.CRITICAL)

_TRANSIENT: Final = frozenset(
    {
        "DependencyTimeoutException",
        "KMSInternalException",
        "KeyUnavailableException",
        "LimitExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
    }
)
"""What AWS answers with a status below 500, and waiting mends (rule 3)."""


class KmsKey(wire.Record, frozen=True, kw_only=True):
    """The handle of a key in a KMS (rule 1)."""

    format: Literal["interlock KMS key v1"]
    uri: Annotated[str, Meta(min_length=1, max_length=4096)]


def handle(uri: str) -> bytes:
    """The bytes of a handle."""
    return wire.encode(KmsKey(format=FORMAT, uri=uri))


def is_handle(path: Path) -> bool:
    """Whether a file is the handle of a key in a KMS; what is wrong with others is said elsewhere.

    Raises:
        TransientError: it cannot be read.
    """
    try:
        data = durable.read(path, limit=MAX_KEY_FILE, what="private key file")
        tree = wire.parse(data, limit=MAX_KEY_FILE, what="private key file")
    except (NotFoundError, WireError):
        return False
    return isinstance(tree, dict) and tree.get("format") == FORMAT


def is_kms(uri: str) -> bool:
    """Whether a key URI names a key in a KMS."""
    return uri.startswith(f"{SCHEME}:")


class Kms:
    """What all keys in the KMS share.

    Args:
        monotonic: seconds that only rise.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._rests_until: float | None = None
        self._process = 0
        self._lock = threading.Lock()

    def open(self, path: Path) -> KmsSigner:
        """What signs with the key whose handle a file is; nothing connects yet (rule 5).

        Raises:
            ConfigurationError: ``kms``: no URI of a KMS key, or a kind of key that it has not.
            NotFoundError, WireError, TransientError: the handle or the public key file beside it
                is missing, malformed, unreadable.
        """
        data = durable.read(path, limit=MAX_KEY_FILE, what="private key file")
        what = f"private key file {path}"
        uri = wire.decode_canonical(data, KmsKey, limit=MAX_KEY_FILE, what=what).uri
        public_key = load_public_key(public_path_of(path)).key
        _check_uri(uri)
        if public_key.scheme not in AWSSigner.aws_algos:
            raise ConfigurationError(
                f"The key {uri[:200]} cannot be of the kind {public_key.scheme}: put the public "
                "key file that 'keys prove' wrote beside its handle.",
                reason="kms",
            )
        return KmsSigner(self, uri, check_key(public_key))

    def prove(self, uri: str) -> KmsSigner:
        """Ask the KMS for the public half of a key.

        Raises:
            ConfigurationError: ``kms`` (rule 4).
            TransientError: ``kms_unavailable`` (rule 3).
            WireError: ``bad_key``: a kind of key that is not accepted.
        """
        _check_uri(uri)
        with self.asked(uri):
            _, public_key = AWSSigner.import_(uri.removeprefix(f"{SCHEME}:"))
        return KmsSigner(self, uri, check_key(public_key))

    @contextmanager
    def asked(self, uri: str) -> Iterator[None]:
        """Inside, the KMS is asked for one thing (rules 2 to 4)."""
        if self._rests_until is not None and self._monotonic() < self._rests_until:
            raise _unavailable(uri, "it could not be reached a moment ago")
        from botocore.exceptions import (  # noqa: PLC0415  # rule 1; loading it takes a while
            BotoCoreError,
            ClientError,
        )

        self._bound_calls()
        try:
            yield
        except InterlockError:
            raise
        except (BotoCoreError, ClientError) as e:
            why = _why_waiting_helps(e)
            if why is None:
                raise _to_mend(uri, e) from e
            self._rests_until = self._monotonic() + REST_SECONDS
            raise _unavailable(uri, why) from e
        except (UnsupportedAlgorithmError, ValueError) as e:
            raise _to_mend(uri, e) from e
        self._rests_until = None

    def _bound_calls(self) -> None:
        """Set the bounds for the clients that ``AWSSigner`` makes, once in each process."""
        import boto3  # noqa: PLC0415  # rule 1
        import botocore.session  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        with self._lock:
            if self._process == os.getpid():
                return
            session = botocore.session.get_session()
            session.set_default_client_config(
                Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=ANSWER_SECONDS,
                    retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
                )
            )
            boto3.setup_default_session(botocore_session=session)
            self._process = os.getpid()


class KmsSigner(Signer):
    """Signs with a key in the KMS."""

    def __init__(self, kms: Kms, uri: str, public_key: SSlibKey) -> None:
        self._kms = kms
        self._uri = uri
        self._public_key = public_key
        self._made: tuple[int, AWSSigner] | None = None

    @property
    def public_key(self) -> SSlibKey:
        """The public half."""
        return self._public_key

    def sign(self, payload: bytes) -> Signature:
        """Have ``payload`` signed.

        Raises:
            ConfigurationError: ``kms`` (rule 4).
            TransientError: ``kms_unavailable`` (rule 3).
        """
        with self._kms.asked(self._uri):
            signature = self._client().sign(payload)
        try:
            self._public_key.verify_signature(signature, payload)
        except UnverifiedSignatureError as e:
            raise ConfigurationError(
                f"The KMS signed with another key than {self._public_key.keyid[:12]}, or another "
                f"thing than it was asked to: see which key {self._uri[:200]} names.",
                reason="kms",
            ) from e
        return signature

    @classmethod
    def from_priv_key_uri(
        cls,
        priv_key_uri: str,
        public_key: Key,
        secrets_handler: SecretsHandler | None = None,
    ) -> KmsSigner:
        """For a key that shares nothing with others; no secret is asked for."""
        del secrets_handler
        _check_uri(priv_key_uri)
        return cls(Kms(), priv_key_uri, check_key(public_key))

    def _client(self) -> AWSSigner:
        """The client of this process (rule 5)."""
        if self._made is None or self._made[0] != os.getpid():
            client = AWSSigner(self._uri.removeprefix(f"{SCHEME}:"), self._public_key)
            self._made = (os.getpid(), client)
        return self._made[1]


def _check_uri(uri: str) -> None:
    if _URI.match(uri) is None:
        raise ConfigurationError(
            f"{uri[:200]!r} names no key in a KMS: write {SCHEME}:<key id, ARN or alias/…>.",
            reason="kms",
        )


def _why_waiting_helps(error: Exception) -> str | None:
    """What to say if waiting mends it, or None (rule 3)."""
    from botocore import exceptions  # noqa: PLC0415  # rule 1
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    away = (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.IncompleteReadError,
        exceptions.CredentialRetrievalError,
        ResponseParserError,
    )
    if isinstance(error, away):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, exceptions.ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _TRANSIENT or status == 429 or status >= 500:
            return f"it answered {code or status}"
    return None


def _unavailable(uri: str, why: str) -> TransientError:
    return TransientError(
        f"The KMS does not sign with {uri[:200]} now ({why[:400]}): what is published stays as it "
        "is; try again.",
        reason="kms_unavailable",
    )


def _to_mend(uri: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"The KMS does not do what is asked with {uri[:200]} ({type(error).__name__}: "
        f"{str(error)[:400]}): see that the key is there, enabled, for signing with P-256, and "
        "that this server's credentials and region may use it.",
        reason="kms",
    )
