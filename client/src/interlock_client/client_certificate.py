"""The certificate that this gateway shows to servers, and its key (I/O).

Rules:

1. The key is a PEM file, or lies in a PKCS#11 token and never leaves it. Passphrase and PIN come
   from a file or a systemd credential (``interlock_core.credentials``).
2. Certificate and key must belong together, and that is seen before anything is sent.
3. A key file that others than its owner can read is refused.
4. An end that is near is said early: from ``WARN_DAYS`` before it.

Servers are believed for what is signed, not for their certificate, and this one gives a gateway no
right to anything: it is for sites and servers that let nobody else connect.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from interlock_client.config import ClientCertificate
from interlock_client.tunnel import Tunnel
from interlock_core import durable
from interlock_core.credentials import Source, pin_of, service_handler
from interlock_core.errors import ConfigurationError, InterlockError, SecretError, WireError
from interlock_core.wire import format_time

WARN_DAYS: Final = 30
MAX_PEM: Final = 256 * 1024
_MISMATCH: Final = "KEY_VALUES_MISMATCH"


@dataclass(frozen=True)
class Validity:
    """What a certificate says of itself.

    Attributes:
        subject: whose it is, as RFC 4514 writes it.
        begins, ends: when it is valid.
    """

    subject: str
    begins: datetime
    ends: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days until it ends; negative after that."""
        return math.floor((self.ends - now).total_seconds() / 86_400)

    def warning(self, now: datetime) -> str | None:
        """A clause for people when the end is near or past (rule 4), or None."""
        days = self.days_left(now)
        if now >= self.ends:
            return f"its client certificate expired at {format_time(self.ends)}: renew it"
        if days < WARN_DAYS:
            return f"its client certificate expires in {days} days: renew it"
        return None


@dataclass(frozen=True)
class Own:
    """The gateway's certificate and where its key is.

    Attributes:
        settings: that name both.
        tunnel: speaks TLS if the key lies in a token.
    """

    settings: ClientCertificate
    tunnel: Tunnel | None

    def load_into(self, context: ssl.SSLContext) -> None:
        """Let ``context`` show the certificate (rules 1 to 3).

        Raises:
            ConfigurationError: the files are no certificate and key, do not belong together, or the
                key can be read by others.
            SecretError: the passphrase is missing or wrong.
            NotFoundError, TransientError: a file is missing or cannot be read.
        """
        certificate, key = self.settings.certificate, self.settings.key
        assert key is not None
        read(certificate)
        asked = False

        def passphrase() -> str:
            nonlocal asked
            asked = True
            return _secrets(self.settings)(f"passphrase of {key}")

        try:
            with _readable(key):
                context.load_cert_chain(certificate, key, passphrase)
        except ssl.SSLError as e:
            if e.reason == _MISMATCH:
                raise mismatch(self.settings) from e
            if asked:
                raise SecretError(f"The passphrase does not open the client key {key}.") from e
            raise ConfigurationError(
                f"{key} holds no private key that can be used ({e.reason or 'no PEM'}): name a PEM "
                "file as `client_certificate.key`."
            ) from e

    def expired(self) -> str | None:
        """A clause for people if it has expired by this machine's clock, or None."""
        try:
            ends = read(self.settings.certificate).ends
        except InterlockError:
            return None
        if datetime.now(UTC) < ends:
            return None
        return f", which expired at {format_time(ends)}: renew {self.settings.certificate}"


def own(
    settings: ClientCertificate,
    *,
    ca_file: Path | None,
    proxy: str | None,
    wrong_pin: Path,
    connect_seconds: float,
) -> Own:
    """The certificate that a configuration names. No token is asked yet.

    Args:
        settings: of the certificate.
        ca_file: certificates to trust instead of the system's, or None.
        proxy: URL of an HTTP proxy, or None.
        wrong_pin: where a PIN is remembered that a token refused.
        connect_seconds: for a connection.

    Raises:
        ConfigurationError: the token cannot be used with these settings.
    """
    if settings.module is None or settings.uri is None:
        return Own(settings, None)
    uri = settings.uri
    tunnel = Tunnel(
        settings.certificate,
        module=settings.module,
        uri=uri,
        pin=lambda: _secrets(settings)(pin_of(f"token of {uri}")),
        wrong_pin=wrong_pin,
        ca_file=ca_file,
        proxy=proxy,
        connect_seconds=connect_seconds,
        mismatch=mismatch(settings),
    )
    return Own(settings, tunnel)


def read(path: Path) -> Validity:
    """What the first certificate of a PEM file says of itself.

    Raises:
        ConfigurationError: it holds none.
        NotFoundError, TransientError: it is missing, or cannot be read.
    """
    # Most of a poll does without.
    from cryptography import x509  # noqa: PLC0415

    try:
        data = durable.read(path, limit=MAX_PEM, what="client certificate")
        first = x509.load_pem_x509_certificates(data)[0]
        return Validity(
            first.subject.rfc4514_string(), first.not_valid_before_utc, first.not_valid_after_utc
        )
    except (WireError, ValueError) as e:
        raise ConfigurationError(
            f"{path} holds no certificate that can be used: name a PEM file as "
            "`client_certificate.certificate`."
        ) from e


def standing(settings: ClientCertificate, now: datetime, wrong_pin: Path) -> dict[str, Any]:
    """How it stands, as plain values for ``status``."""
    told: dict[str, Any] = {
        "certificate": str(settings.certificate),
        "key": "file" if settings.module is None else "token",
        "subject": None,
        "not_before": None,
        "not_after": None,
        "days_left": None,
        "pin_refused": wrong_pin.exists(),
        "trouble": None,
    }
    try:
        validity = read(settings.certificate)
    except InterlockError as e:
        return told | {"trouble": str(e)}
    return told | {
        "subject": validity.subject,
        "not_before": validity.begins,
        "not_after": validity.ends,
        "days_left": validity.days_left(now),
        "trouble": validity.warning(now),
    }


def mismatch(settings: ClientCertificate) -> ConfigurationError:
    """Certificate and key do not belong together."""
    return ConfigurationError(
        f"The certificate {settings.certificate} does not belong to the key "
        f"{settings.key or settings.uri}: name the two that were made together."
    )


def _secrets(settings: ClientCertificate) -> Callable[[str], str]:
    return service_handler(
        Source(
            settings.passphrase_file,
            "client_certificate.passphrase_file",
            "interlock-client-passphrase",
        ),
        Source(settings.pin_file, "client_certificate.pin_file", "interlock-client-pin"),
    )


@contextmanager
def _readable(key: Path) -> Iterator[None]:
    """A key file that can be read, by its owner alone (rule 3)."""
    durable.read(key, limit=MAX_PEM, what="client key")
    with durable.translated("read", key):
        mode = key.stat().st_mode
    if mode & 0o077:
        raise ConfigurationError(
            f"{key} can be read by others than its owner: run 'chmod 600 {key}'.",
            reason="open_secret",
        )
    yield
