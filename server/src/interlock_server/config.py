"""The server's settings: one TOML file, frozen and typed.

Rules:

1. An unknown, missing, half-set or misspelt setting is an error that names it. Nothing is guessed.
2. Units stand in the names. A relative path starts at the directory of the settings file.
3. Plain HTTP is allowed on loopback alone; anywhere else a certificate and its key are needed.
   The health listener is on loopback always.
4. No secret stands in the file: only where to find it.
5. Of an online key that is rotated two are held at once, the old one and the new one. Each role is
   signed by those that the roots name for it, in whatever order they are listed.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from interlock_core import durable
from interlock_core.checkpoint import LOG_KEY
from interlock_core.errors import ConfigurationError, NotFoundError, WireError
from interlock_core.genesis import DIRECTOR_ONLINE, DIRECTOR_TARGETS, IMAGE_ONLINE
from interlock_core.names import NAME_PATTERN
from interlock_core.urls import check_url

MAX_SETTINGS: Final = 64 * 1024
MAX_KEYS: Final = 4
"""How many private keys of one online role are held at once, at most."""
CREDENTIAL: Final = "interlock-online"
"""The systemd credential that holds the passphrase of the online keys."""
PIN_CREDENTIAL: Final = "interlock-pin"
"""The systemd credential that holds the PIN of the token in which online keys live."""

_KEY: Final = re.compile(r"[^\x00-\x1f\x7f]{1,4096}\Z")

Text = Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*\Z")]


@dataclass(frozen=True)
class Address:
    """Where to listen: a literal IP address, or ``localhost``, and a port (0: any free one)."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(text: str, what: str) -> Address:
    """Read ``host:port`` or ``[host]:port``.

    Raises:
        ConfigurationError: anything else.
    """
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        if bare != "localhost":
            ipaddress.ip_address(bare)
        number = int(port) if port.isascii() and port.isdigit() else -1
    except ValueError:
        number = -1
    if not 0 <= number <= 65_535 or (":" in bare) != host.startswith("["):
        raise ConfigurationError(
            f"{what} is {text!r}: write an address and a port, for instance 127.0.0.1:8080."
        )
    return Address(bare, number)


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class ServerSection(_Section, frozen=True, kw_only=True):
    """``[server]``: listeners and processes."""

    listen: Text
    health_listen: Text
    workers: Annotated[int, Meta(ge=1, le=256)] = 2
    threads_per_worker: Annotated[int, Meta(ge=1, le=256)] = 8
    stop_within_seconds: Annotated[int, Meta(ge=1, le=3600)] = 30
    engine_interval_seconds: Annotated[int, Meta(ge=1, le=300)] = 10
    log_format: Literal["text", "json"] = "text"
    tls_certificate_file: Text | None = None
    tls_key_file: Text | None = None


class StorageSection(_Section, frozen=True, kw_only=True):
    """``[storage]``: what is kept, and where."""

    store_directory: Text
    pending_directory: Text
    database: Text
    largest_target_bytes: Annotated[int, Meta(ge=1, le=2**40)] = 4 * 2**30
    oldest_supported_root: Annotated[int, Meta(ge=1, le=10**15 - 1)] = 1


class LimitsSection(_Section, frozen=True, kw_only=True):
    """``[limits]``: how often an address may call without a token (``web.limits``).

    Attributes:
        logins_per_minute: challenges and tokens.
        calls_per_minute: everything else that needs no token.
        trusted_proxies: addresses whose ``X-Forwarded-For`` is believed.
    """

    logins_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 120
    calls_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 6_000
    trusted_proxies: Annotated[tuple[Text, ...], Meta(max_length=64)] = ("127.0.0.1", "::1")


class WebhookSection(_Section, frozen=True, kw_only=True):
    """``[[webhooks]]``: who is told of events (``webhooks``)."""

    name: Annotated[str, Meta(pattern=NAME_PATTERN)]
    url: Text
    secret_file: Text
    events: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=64)] = ("*",)
    ca_file: Text | None = None


@dataclass(frozen=True)
class Webhook:
    """A checked webhook.

    Attributes:
        events: names of events, or beginnings of names followed by ``*``.
        ca_file: whose certificates are trusted; None for the machine's.
    """

    name: str
    url: str
    secret_file: Path
    events: tuple[str, ...]
    ca_file: Path | None


NO_SETTING: Final = LimitsSection()
"""What holds where nothing is set."""

Keys = str | list[str]
"""Where one online key is; while it is rotated, where the old and the new one are (rule 5).

Checked by ``_keys``: a union of constrained types makes msgspec 0.22.0 crash when Python ends.
"""


class KeysSection(_Section, frozen=True, kw_only=True):
    """``[keys]``: key files of the online keys, or handles of keys in a token or a KMS."""

    image_online: Keys
    director_targets: Keys
    director_online: Keys
    log: Keys | None = None
    passphrase_file: Text | None = None
    pin_file: Text | None = None


class _File(_Section, frozen=True, kw_only=True):
    server: ServerSection
    storage: StorageSection
    keys: KeysSection
    limits: LimitsSection = NO_SETTING
    webhooks: Annotated[tuple[WebhookSection, ...], Meta(max_length=16)] = ()


@dataclass(frozen=True)
class Settings:
    """Checked settings, with every path made whole.

    Attributes:
        database_url: an SQLAlchemy URL, or None for SQLite.
        database_file: where SQLite keeps it, or None for another database.
        limits: how often an address may call without a token.
        webhooks: who is told of events.
        log_format: of the lines on standard error.
        engine_interval_seconds: how long rollouts wait between two looks at them.
        key_uris: by the name of the online key, one or more (rule 5); the log's among them.
        oldest_supported_root: version of the oldest image root in any firmware that is supported.
        passphrase_file: None means the systemd credential ``interlock-online``.
        pin_file: None means the systemd credential ``interlock-pin``.
        tls: certificate and key, or None for plain HTTP on loopback.
    """

    source: Path
    listen: Address
    health_listen: Address
    workers: int
    threads_per_worker: int
    stop_within_seconds: int
    engine_interval_seconds: int
    tls: tuple[Path, Path] | None
    store_directory: Path
    pending_directory: Path
    database_url: str | None
    database_file: Path | None
    largest_target_bytes: int
    oldest_supported_root: int
    key_uris: dict[str, tuple[str, ...]]
    passphrase_file: Path | None
    pin_file: Path | None
    log_format: Literal["text", "json"] = "text"
    limits: LimitsSection = NO_SETTING
    webhooks: tuple[Webhook, ...] = ()


def sample() -> str:
    """The settings file that ships with the server."""
    return resources.files("interlock_server").joinpath("samples/server.toml").read_text("utf-8")


def load_settings(path: Path) -> Settings:
    """Read and check the settings file.

    Raises:
        ConfigurationError: a setting is unknown, missing or wrong (rules 1 and 3).
        NotFoundError: there is no such file.
        TransientError: it cannot be read.
    """
    try:
        data = durable.read(path, limit=MAX_SETTINGS, what="settings file")
        file = msgspec.toml.decode(data, type=_File)
    except NotFoundError as e:
        raise NotFoundError(f"{e} 'interlock-server sample' prints one to begin with.") from e
    except RecursionError as e:
        raise ConfigurationError(f"The settings in {path} are nested too deeply.") from e
    except (WireError, ValueError) as e:
        # msgspec's errors, or an integer of more digits than Python reads.
        raise ConfigurationError(
            f"The settings in {path} are not usable: {str(e).rstrip('.')}."
        ) from e
    return _checked(path, file)


def _checked(path: Path, file: _File) -> Settings:
    base = path.absolute().parent
    listen = read_address(file.server.listen, "server.listen")
    health = read_address(file.server.health_listen, "server.health_listen")
    if not health.is_loopback:
        raise ConfigurationError(f"server.health_listen is {health}: it must be on loopback.")
    if listen == health and listen.port != 0:
        raise ConfigurationError(f"server.listen and server.health_listen are both {listen}.")
    store = base / file.storage.store_directory
    database_file = None if "://" in file.storage.database else base / file.storage.database
    if database_file is None and file.storage.database.startswith("sqlite"):
        raise ConfigurationError("storage.database is a URL of SQLite: name its file instead.")
    for name, private in (
        ("pending_directory", base / file.storage.pending_directory),
        ("database", database_file),
    ):
        if private is not None and _real(private).is_relative_to(_real(store)):
            raise ConfigurationError(
                f"storage.{name} lies inside storage.store_directory, which everybody may read: "
                "move it elsewhere."
            )
    if file.keys.log is None:
        raise ConfigurationError(
            "keys.log is not set: this program keeps a signed log, with a key of its own. Make it "
            "with 'interlock-server keys new DIRECTORY --for log', in the directory of the other "
            'online keys, set keys.log = "DIRECTORY/log.key.json", and run '
            "'interlock-server migrate'.",
            reason="no_log_key",
        )
    return Settings(
        source=path,
        listen=listen,
        health_listen=health,
        workers=file.server.workers,
        threads_per_worker=file.server.threads_per_worker,
        stop_within_seconds=file.server.stop_within_seconds,
        engine_interval_seconds=file.server.engine_interval_seconds,
        tls=_tls(base, file.server, listen),
        store_directory=store,
        pending_directory=base / file.storage.pending_directory,
        database_url=file.storage.database if database_file is None else None,
        database_file=database_file,
        largest_target_bytes=file.storage.largest_target_bytes,
        oldest_supported_root=file.storage.oldest_supported_root,
        key_uris={
            IMAGE_ONLINE: _keys(base, "image_online", file.keys.image_online),
            DIRECTOR_TARGETS: _keys(base, "director_targets", file.keys.director_targets),
            DIRECTOR_ONLINE: _keys(base, "director_online", file.keys.director_online),
            LOG_KEY: _keys(base, "log", file.keys.log),
        },
        passphrase_file=base / file.keys.passphrase_file if file.keys.passphrase_file else None,
        pin_file=base / file.keys.pin_file if file.keys.pin_file else None,
        log_format=file.server.log_format,
        limits=_limits(file.limits),
        webhooks=_webhooks(base, file.webhooks),
    )


def _webhooks(base: Path, sections: tuple[WebhookSection, ...]) -> tuple[Webhook, ...]:
    names = [section.name for section in sections]
    if len(set(names)) < len(names):
        raise ConfigurationError("Two webhooks have one name: give each its own.")
    return tuple(
        Webhook(
            section.name,
            check_url(section.url),
            base / section.secret_file,
            section.events,
            base / section.ca_file if section.ca_file else None,
        )
        for section in sections
    )


def _limits(limits: LimitsSection) -> LimitsSection:
    for text in limits.trusted_proxies:
        try:
            ipaddress.ip_address(text)
        except ValueError as e:
            raise ConfigurationError(
                f"limits.trusted_proxies holds {text!r}: write addresses, for instance 127.0.0.1."
            ) from e
    return limits


def _tls(base: Path, server: ServerSection, listen: Address) -> tuple[Path, Path] | None:
    certificate, key = server.tls_certificate_file, server.tls_key_file
    if (certificate is None) != (key is None):
        raise ConfigurationError(
            "server.tls_certificate_file and server.tls_key_file belong together: set both."
        )
    if certificate is None or key is None:
        if not listen.is_loopback:
            raise ConfigurationError(
                f"server.listen is {listen}, which is not loopback, and plain HTTP is for "
                "loopback alone: set tls_certificate_file and tls_key_file, or put nginx before it."
            )
        return None
    return base / certificate, base / key


def _real(path: Path) -> Path:
    # Of links that lead nowhere, ``Path.resolve`` makes an error of Python's own.
    return Path(os.path.realpath(path))


def _keys(base: Path, setting: str, keys: Keys) -> tuple[str, ...]:
    texts = [keys] if isinstance(keys, str) else keys
    if not 1 <= len(texts) <= MAX_KEYS or not all(map(_KEY.match, texts)):
        raise ConfigurationError(
            f"keys.{setting} must be a key file or key URI, or a list of 1 to {MAX_KEYS} of them."
        )
    # A path may not hold a colon, so that a URI is never mistaken for one.
    uris = [text if ":" in text else str(base / text) for text in texts]
    if len(set(uris)) < len(uris):
        raise ConfigurationError(f"keys.{setting} names one key twice: list each once.")
    return tuple(uris)
