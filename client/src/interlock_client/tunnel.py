"""TLS by stunnel, for a client key that lies in a PKCS#11 token (I/O: processes).

Python's ``ssl`` takes keys from files alone. So each connection gets a ``stunnel`` of its own,
which speaks TLS and uses the key through OpenSSL's engine ``pkcs11``.

Rules:

1. The two are joined by a socket pair: nothing listens, and no other process of the machine can use
   the gateway's certificate through it. It ends with its connection.
2. stunnel verifies the server: its chain against ``ca_file`` or the system's certificates, and its
   name. It resolves that name and, where one is set, asks the proxy.
3. Its configuration, with the PIN, goes through a pipe: it is in no file and no argument.
4. Tokens lock after a few wrong PINs. Each process logs in once. A PIN that the token refused is
   remembered, salted and stretched, beside what the agent keeps, and not shown to a token again
   until it changes: not at the next server, not at the next poll, not after a restart.
5. What it prints is bounded by a pipe that nobody empties before it has ended. Only complaints are
   passed on: what it says of its configuration holds the PIN.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from interlock_client.alerts import refused
from interlock_core import durable
from interlock_core.errors import (
    ConfigurationError,
    InterlockError,
    SecretError,
    TransientError,
)

PROGRAM: Final = "stunnel"
MAX_SAID: Final = 64 * 1024
END_SECONDS: Final = 2.0
_SALT: Final = 16
_refused_here: Final[set[tuple[Path, str]]] = set()
"""PINs that this process knows to be wrong, for when the disk does not take a record (rule 4)."""
_PIN: Final = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?\Z")
_LINE: Final = re.compile(r"[^\x00-\x1f\x7f]+\Z")
_VAGUE: Final = ("No such file", "Configuration failed", "Failed to initialize")
_QUOTED: Final = re.compile(r'"(\w+) = .*"')
"""What it did not like of its configuration: the value may be the PIN, or a proxy's password."""
_LOGGED: Final = re.compile(r"(?:LOG[0-3]\[[^\]]*\]: |\[!\] )(.*)")


@dataclass(frozen=True)
class _Child:
    process: subprocess.Popen[bytes]
    said: int


class Tunnel:
    """Connections with the token's key.

    Args:
        certificate: PEM file of the client certificate.
        module: the token's PKCS#11 library.
        uri: of the key, as RFC 7512 writes it.
        pin: gives the PIN; asked for each connection.
        wrong_pin: where a refused PIN is remembered (rule 4).
        ca_file: certificates to trust instead of the system's, or None.
        proxy: URL of an HTTP proxy, or None.
        connect_seconds: for a connection.
        mismatch: what to raise if certificate and key do not belong together.

    Raises:
        ConfigurationError: stunnel or the library is missing, or the proxy is not spoken to.
    """

    def __init__(
        self,
        certificate: Path,
        *,
        module: Path,
        uri: str,
        pin: Callable[[], str],
        wrong_pin: Path,
        ca_file: Path | None,
        proxy: str | None,
        connect_seconds: float,
        mismatch: ConfigurationError,
    ) -> None:
        self._program = _program()
        if not module.is_file():
            raise ConfigurationError(
                f"There is no PKCS#11 library at {module}: mend `client_certificate.module`."
            )
        self._module = module
        self._uri = uri
        self._pin = pin
        self._wrong_pin = wrong_pin
        self._mismatch = mismatch
        self._children: list[_Child] = []
        self._common = [
            ("client", "yes"),
            ("cert", str(certificate)),
            ("key", uri),
            *_trusted(ca_file),
            ("verifyChain", "yes"),
            ("sslVersionMin", "TLSv1.2"),
            ("libwrap", "no"),
            ("TIMEOUTconnect", str(max(1, round(connect_seconds)))),
            ("TIMEOUTbusy", str(max(1, round(connect_seconds)))),
            ("TIMEOUTclose", "0"),
        ]
        self._proxy = _proxy(proxy) if proxy is not None else None

    def open(self, host: str, port: int) -> socket.socket:
        """A socket that leads to ``host``, in the clear at this end.

        Whether it arrives shows when it is used; ``fault`` tells why it did not.

        Raises:
            SecretError: the PIN is missing, or was refused before (rule 4).
            ConfigurationError: it has a character that cannot be passed on.
            TransientError: stunnel cannot be started.
        """
        self._reap()
        pin = self._pin()
        if _PIN.match(pin) is None:
            raise SecretError(
                "The PIN of the client key holds what stunnel cannot be told: it must be visible "
                "ASCII.",
                reason="wrong_passphrase",
            )
        if self._known_wrong(pin):
            raise self._refused_pin()
        text = _written([*self._engine(pin), *self._common, *self._to(host, port)])
        ours, theirs = socket.socketpair()
        try:
            self._start(text, theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    def fault(self) -> InterlockError | str | None:
        """Why the newest connection failed: an error, or words about the server, or None.

        Returns:
            None if stunnel said nothing that explains it.
        """
        if not self._children:
            return None
        child = self._children.pop()
        text = _end(child)
        if "PKCS#11 module::PIN" in text or "CKR_PIN" in text:
            self._remember_wrong()
            return self._refused_pin()
        if "does not match the certificate" in text or "key values mismatch" in text:
            return self._mismatch
        if "object not found" in text:
            return TransientError(
                f"The key {self._uri} is not there: see that the token is plugged in, and that "
                "`client_certificate.uri` names a key in it.",
                reason="no_token",
            )
        if "failed loading private key" in text or "engine routines" in text:
            return ConfigurationError(
                f"stunnel cannot use the key {self._uri}: {_last(text)}. It needs OpenSSL's engine "
                "pkcs11 (Debian: libengine-pkcs11-openssl).",
            )
        if "certificate verify failed" in text:
            return f"the server's certificate is not trusted ({_untrusted(text)})"
        alert = re.search(r"alert ([a-z ]+)", text)
        if alert is not None:
            return refused(alert[1].strip())
        return _last(text)

    def close(self) -> None:
        """End every stunnel."""
        while self._children:
            _end(self._children.pop())

    def _engine(self, pin: str) -> list[tuple[str, str]]:
        return [
            ("debug", "warning"),
            ("foreground", "yes"),
            ("syslog", "no"),
            ("engine", "pkcs11"),
            ("engineCtrl", f"MODULE_PATH:{self._module}"),
            ("engineCtrl", f"PIN:{pin}"),
            ("engineId", "pkcs11"),
        ]

    def _to(self, host: str, port: int) -> list[tuple[str, str]]:
        there = f"{host}:{port}"
        name = [("checkIP", host)] if _is_address(host) else [("checkHost", host), ("sni", host)]
        if self._proxy is None:
            return [("connect", there), *name]
        at, named = self._proxy
        bracketed = f"[{host}]:{port}" if ":" in host else there
        return [
            ("connect", at),
            ("protocol", "connect"),
            ("protocolHost", bracketed),
            *named,
            *name,
        ]

    def _start(self, text: str, theirs: socket.socket) -> None:
        config, write = os.pipe()
        try:
            # A pipe holds more than this; nobody has to read for the write to end.
            os.write(write, text.encode())
            os.close(write)
            said, stderr = os.pipe()
            try:
                process = subprocess.Popen(  # noqa: S603  # found on the path, told what to do by us
                    [self._program, "-fd", str(config)],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=stderr,
                    pass_fds=(config,),
                    start_new_session=True,
                )
            except OSError as e:
                os.close(said)
                raise TransientError(
                    f"{self._program} cannot be started ({e.strerror}): try again later.",
                    reason="network",
                ) from e
            finally:
                os.close(stderr)
        finally:
            os.close(config)
        os.set_blocking(said, False)
        self._children.append(_Child(process, said))

    def _reap(self) -> None:
        for child in [child for child in self._children if child.process.poll() is not None]:
            self._children.remove(child)
            _end(child)

    # PINs that the token refused (rule 4)

    def _known_wrong(self, pin: str) -> bool:
        if (self._wrong_pin, pin) in _refused_here:
            return True
        try:
            record = self._wrong_pin.read_bytes()
        except FileNotFoundError:
            return False
        except OSError:
            # What cannot be read may name this one.
            return True
        salt = record[:_SALT]
        return len(record) <= _SALT or secrets.compare_digest(record[_SALT:], _stretch(pin, salt))

    def _remember_wrong(self) -> None:
        pin, salt = self._pin(), secrets.token_bytes(_SALT)
        try:
            durable.mkdir(self._wrong_pin.parent)
            durable.replace(self._wrong_pin, salt + _stretch(pin, salt), 0o600)
        except TransientError:
            _refused_here.add((self._wrong_pin, pin))

    def _refused_pin(self) -> SecretError:
        return SecretError(
            f"The token refused the PIN for {self._uri}. It is not tried again before it changes, "
            "so that the token does not lock: put the right one into the PIN file. If this one is "
            f"right, because the token was given it since, remove {self._wrong_pin}.",
            reason="wrong_pin",
        )


def _stretch(pin: str, salt: bytes) -> bytes:
    return hashlib.scrypt(pin.encode(), salt=salt, n=2**14, r=8, p=1)


def _program() -> str:
    found = shutil.which(PROGRAM)
    if found is None:
        raise ConfigurationError(
            "A client key in a token needs stunnel, which is not installed here (Debian: stunnel4 "
            "and libengine-pkcs11-openssl)."
        )
    return found


def _trusted(ca_file: Path | None) -> list[tuple[str, str]]:
    if ca_file is not None:
        return [("CAfile", str(ca_file))]
    system = ssl.get_default_verify_paths()
    found = [("CAfile", system.openssl_cafile), ("CApath", system.openssl_capath)]
    known = [(name, path) for name, path in found if Path(path).exists()]
    if not known:
        raise ConfigurationError(
            "This machine has no certificates to verify servers with: set `ca_file`."
        )
    return known


def _proxy(url: str) -> tuple[str, list[tuple[str, str]]]:
    parts = urlsplit(url)
    if parts.scheme != "http":
        raise ConfigurationError(
            "This `proxy` cannot be used with a client key in a token: write http://."
        )
    named = []
    if parts.username is not None:
        named.append(("protocolUsername", unquote(parts.username)))
        named.append(("protocolPassword", unquote(parts.password or "")))
    return f"{parts.hostname}:{parts.port or 80}", named


def _written(settings: list[tuple[str, str]]) -> str:
    for name, value in settings:
        if _LINE.match(value) is None:
            raise ConfigurationError(
                f"{value!r} cannot be passed to stunnel as {name}: it must be one line."
            )
    return "".join(f"{name} = {value}\n" for name, value in settings)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _end(child: _Child) -> str:
    """End a stunnel, and return what it printed."""
    process = child.process
    try:
        # The other end is closed: it ends by itself, and what it has to say comes first.
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(BlockingIOError):
        text = os.read(child.said, MAX_SAID)
        os.close(child.said)
        return text.decode(errors="replace")
    os.close(child.said)
    return ""


def _last(text: str) -> str | None:
    """Its last complaint that is not about how it looks for the certificate."""
    lines = [line for line in _LOGGED.findall(text) if "invalid id" not in line]
    known = [line for line in lines if not any(words in line for words in _VAGUE)]
    return (
        _QUOTED.sub(r'"\1"', re.sub(r"[^ -~]", "?", (known or lines)[-1]))[:200] if lines else None
    )


def _untrusted(text: str) -> str:
    found = re.search(r"(?:CERT: |Pre-verification error: )+([ -~]+)", text)
    return found[1][:200] if found else "it cannot be verified"
