"""A gateway's settings, from one TOML file (I/O: reads it).

Rules:

1. Everything is checked when the file is read; an unknown key is an error. Nothing that protects a
   patient has a silent default: health checks are a directory or, in so many words, ``"none"``.
2. Paths are relative to the directory of the file.
3. Sizes are bytes, durations carry their unit in the name, times of day are local.
4. ``boot-select`` reads the table ``installer`` alone, so that a mistake elsewhere in the file
   cannot keep the machine from booting.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from interlock_client import DEFAULT_CONFIG
from interlock_client.installers import AnyInstaller
from interlock_client.tables import Table, from_toml, to_plain
from interlock_core import durable
from interlock_core.errors import ConfigurationError, InterlockError, WireError
from interlock_core.names import (
    CohortPattern,
    DeviceId,
    HardwareId,
    Market,
    Name,
    check_product,
)
from interlock_core.urls import check_proxy, check_url
from interlock_core.wire import sha256_hex

DEFAULT_PATH: Final = Path(DEFAULT_CONFIG)
MAX_CONFIG: Final = 64 * 1024

TimeOfDay = Annotated[str, Meta(pattern=r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]\Z")]


class Checks(Table, frozen=True, kw_only=True):
    """A directory of executables that must all exit with 0.

    Attributes:
        checks: the directory.
        timeout_seconds: for all of them together.
    """

    checks: Path
    timeout_seconds: Annotated[int, Meta(ge=1, le=3600)] = 30


class ClientCertificate(Table, frozen=True, kw_only=True):
    """A certificate to show to servers that ask for one, and its key: in a file or in a token.

    Attributes:
        certificate: PEM file, with what stands between it and the authority.
        key: PEM file of the private key.
        passphrase_file: of the key file, if it is encrypted; else the systemd credential
            ``interlock-client-passphrase``.
        module: PKCS#11 library of the token that holds the key.
        uri: of the key in the token (RFC 7512), without a PIN.
        pin_file: of the token; else the systemd credential ``interlock-client-pin``.
    """

    certificate: Path
    key: Path | None = None
    passphrase_file: Path | None = None
    module: Path | None = None
    uri: Annotated[str, Meta(pattern=r"^pkcs11:[!-~]{1,500}\Z")] | None = None
    pin_file: Path | None = None

    def __post_init__(self) -> None:
        in_token = self.module is not None and self.uri is not None
        if (self.key is None) != in_token or (self.module is None) != (self.uri is None):
            raise ValueError("name either `key`, or `module` and `uri`")
        if in_token and self.passphrase_file is not None:
            raise ValueError("a key in a token has a `pin_file` and no `passphrase_file`")
        if not in_token and self.pin_file is not None:
            raise ValueError("a key in a file has a `passphrase_file` and no `pin_file`")
        if self.uri is not None:
            if "pin-value" in self.uri or "pin-source" in self.uri:
                raise ValueError("`uri` must hold no PIN: name a `pin_file`")
            if "object=" not in self.uri and "id=" not in self.uri:
                raise ValueError("`uri` must name the key: object= or id=")


class Download(Table, frozen=True, kw_only=True):
    """What a download may cost, and how slow it may be.

    Attributes:
        budget_bytes: what arrives of one order's image, tries that failed included; left out,
            whatever it takes. It is what keeps a gateway from fetching a whole image where only a
            delta can be afforded.
        min_bytes_per_second: within any ``min_rate_window_seconds``; a server that is slower is
            left for the next.
        run_seconds: after so long the directive is looked at again, and the download goes on.
    """

    budget_bytes: Annotated[int, Meta(ge=1, le=2**50)] | None = None
    min_bytes_per_second: Annotated[int, Meta(ge=1, le=2**30)] = 4096
    min_rate_window_seconds: Annotated[int, Meta(ge=5, le=3600)] = 60
    run_seconds: Annotated[int, Meta(ge=60, le=7 * 86_400)] = 3600


class Health(Checks, frozen=True, kw_only=True):
    """What judges new firmware after its first boot.

    Attributes:
        patience_seconds: how long checks may say that they cannot tell, before the old firmware is
            booted again.
        advisory: a directory of executables whose answers are only reported and shown.
    """

    patience_seconds: Annotated[int, Meta(ge=0, le=7 * 86_400)] = 3600
    advisory: Path | None = None


class Tpm(Table, frozen=True, kw_only=True):
    """A counter in a TPM that the gateway's memory belongs to (``tpm provision`` makes it).

    Attributes:
        tcti: how to reach the TPM, as tpm2-tss writes it.
        index: of the counter, in the range that TCG leaves to owners.
    """

    tcti: Annotated[str, Meta(min_length=1, max_length=255)] = "device:/dev/tpmrm0"
    index: Annotated[int, Meta(ge=0x01800000, le=0x01BFFFFF)] = 0x0180494C


class LocalWindow(Table, frozen=True, kw_only=True):
    """Local time in which the gateway may change; ``opens`` after ``closes`` spans midnight."""

    opens: TimeOfDay
    closes: TimeOfDay

    def __post_init__(self) -> None:
        if self.opens == self.closes:
            raise ValueError("a window that opens and closes at the same minute is never open")


class Settings(Table, frozen=True, kw_only=True):
    """Everything that is configured.

    Attributes:
        fleet: the fleet id that the ceremony fixed.
        device: factory device id, as on the label.
        market: the country in which the gateway stands.
        tpm: a counter in the TPM, so that an older copy of the state is noticed.
        site: the hospital, where stops for one site shall be told apart; needed to enrol.
        cohort_patterns: cohorts that a signed assignment may move this gateway to.
        servers: base URLs in order of preference; plain HTTP on loopback only.
        image_root, director_root: the embedded first root of either repository.
        state: directory for all that the agent keeps, outside the slots.
        state_marker: file that says that there was a memory, on another file system than ``state``;
            left out, it lies in ``boot_environment``.
        reboot_command: program and arguments.
        interlock: who answers "safe now?"; left out, nobody does, and it never is.
        health: checks after a boot into new firmware.
        window: when the gateway may change; left out, always.
        hold_file: while it exists, nothing is installed; its first line says why.
        lease_file: locked (``flock``) from the last moment on; clinical software may hold it too.
        last_moment_timeout_seconds: how long it may be held until the reboot is commanded: the
            freshest directive is fetched, the slots are read back, the interlock is asked.
        proxy: URL of an HTTP proxy.
        ca_file: PEM certificates to trust instead of the system's.
        client_certificate: to show to servers that ask for one.
        rate_limit_bytes_per_second: of image downloads.
        download: what they may cost, and how slow they may be.
        poll_interval_seconds, poll_jitter_seconds: how often ``run`` looks.
        deferral_retry_seconds: how often ``run`` looks while an installation waits for this place:
            the clinical interlock, a hold, the window, the lease.
        report_interval_seconds: the longest silence of an enrolled gateway that has nothing new.
    """

    fleet: Name
    device: DeviceId
    market: Market
    product: Name
    hardware: HardwareId
    cohort: Name
    servers: Annotated[tuple[str, ...], Meta(min_length=1, max_length=16)]
    image_root: Path
    director_root: Path
    state: Path
    installer: AnyInstaller
    reboot_command: Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)]
    health: Literal["none"] | Health
    interlock: Literal["none"] | Checks | None = None
    state_marker: Path | None = None
    tpm: Tpm | None = None
    site: Name | None = None
    cohort_patterns: Annotated[tuple[CohortPattern, ...], Meta(max_length=64)] = ()
    window: LocalWindow | None = None
    hold_file: Path | None = None
    lease_file: Path | None = None
    last_moment_timeout_seconds: Annotated[int, Meta(ge=10, le=14_400)] = 900
    proxy: str | None = None
    ca_file: Path | None = None
    client_certificate: ClientCertificate | None = None
    rate_limit_bytes_per_second: Annotated[int, Meta(ge=1024, le=2**40)] | None = None
    download: Download = Download()
    poll_interval_seconds: Annotated[int, Meta(ge=1, le=7 * 86_400)] = 900
    poll_jitter_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 300
    deferral_retry_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 60
    report_interval_seconds: Annotated[int, Meta(ge=60, le=7 * 86_400)] = 86_400

    @property
    def lease(self) -> Path:
        """The lease that clinical software sees."""
        return self.lease_file or self.state / "updating"

    def digest(self) -> str:
        """SHA-256 of all settings in force, for the journal."""
        return sha256_hex(msgspec.json.encode(self, enc_hook=to_plain, order="sorted"))


def load(path: Path) -> Settings:
    """Read and check a configuration.

    Raises:
        ConfigurationError: what is wrong with it, and where.
        NotFoundError: there is none.
        TransientError: it cannot be read.
    """
    tree = _parse(path)
    if "health" not in tree:
        raise ConfigurationError(
            f"{path} names no health checks: add a table [health] with checks = a directory, or "
            'health = "none" if nothing shall judge new firmware after its first boot.'
        )
    settings: Settings = _convert(tree, Settings, path)
    try:
        check_product(settings.product)
        servers = tuple(check_url(url) for url in settings.servers)
        if settings.proxy is not None:
            check_proxy(settings.proxy)
    except InterlockError as e:
        raise ConfigurationError(f"{path}: {e}") from e
    if not settings.reboot_command[0]:
        raise ConfigurationError(f"{path}: `reboot_command` names no program.")
    return msgspec.structs.replace(settings, servers=servers)


def load_installer(path: Path) -> AnyInstaller:
    """Read the installer's settings alone (rule 4).

    Raises:
        As ``load`` does.
    """
    table = _parse(path).get("installer")
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path} has no table [installer].")
    made: AnyInstaller = _convert(table, AnyInstaller, path)
    return made


def _parse(path: Path) -> dict[str, Any]:
    try:
        data = durable.read(path, limit=MAX_CONFIG, what="configuration")
        return tomllib.loads(data.decode())
    except WireError as e:
        raise ConfigurationError(str(e)) from e
    except UnicodeDecodeError as e:
        raise ConfigurationError(f"{path} is not UTF-8 (byte {e.start}).") from e
    except RecursionError as e:
        raise ConfigurationError(f"{path} is nested too deeply.") from e
    except ValueError as e:
        # tomllib's own error, or an integer of more digits than Python reads.
        raise ConfigurationError(f"{path} is not TOML: {e}.") from e


def _convert(tree: Any, type_: Any, path: Path) -> Any:
    base = path.absolute().parent

    def hook(wanted: type, value: object) -> object:
        return from_toml(wanted, value, base)

    try:
        return msgspec.convert(tree, type_, dec_hook=hook)
    except msgspec.ValidationError as e:
        raise ConfigurationError(
            f"{path}: {str(e).rstrip('.')}. 'interlock-client sample' prints a configuration."
        ) from e
