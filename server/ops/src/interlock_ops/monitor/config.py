"""monitor.toml: the settings of one monitor (I/O: reads the file).

Rules:

1. What stands outside ``[monitor]`` is as in ops.toml (``settings``), and there is no flag and no
   variable for any of it: a service has one file.
2. Nothing is guessed: server, fleet, root, log key, key and state directory must be set. The state
   directory is this monitor's alone.
3. Nobody is asked: the passphrase or PIN comes from a file or a systemd credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from interlock_core.errors import ConfigurationError
from interlock_core.names import Name
from interlock_core.order import DEFAULT_GO, MAX_GO
from interlock_ops import settings
from interlock_ops.monitor.judging import Terms
from interlock_ops.settings import Settings
from interlock_ops.units import parse_duration

CREDENTIAL: Final = "interlock-monitor"
PIN_CREDENTIAL: Final = "interlock-monitor-pin"
NEEDED: Final = ("server", "fleet", "image_root", "log_key", "key", "state_directory")

_Duration = Annotated[str, Meta(min_length=2, max_length=16)]
_Text = Annotated[str, Meta(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class _Own(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    stops_directory: _Text | None = None
    pin_file: _Text | None = None
    interval: _Duration = "1m"
    stagger: _Duration = "2m"
    valid_for: _Duration = f"{DEFAULT_GO.days}d"
    renew_before: _Duration = "3d"
    alert_command: Annotated[tuple[_Text, ...], Meta(max_length=32)] = ()
    least_devices: Annotated[
        dict[Name, Annotated[int, Meta(ge=1, le=1_000_000)]], Meta(max_length=4096)
    ] = {}


@dataclass(frozen=True)
class MonitorSettings:
    """Frozen settings of one monitor.

    Attributes:
        ops: server, repository, log and key, as every command of interlock-ops has them.
        state: the monitor's own directory.
        stops: where people deliver stops; None for nowhere.
        pin_file: the PIN of a token; None for the systemd credential.
        interval: from the end of one round to the next.
        stagger: how much longer each further monitor waits.
        terms: how long what is signed lasts, and when it is renewed.
        alert_command: run for each alert.
        least_devices: by cohort, how many devices there are at least.
    """

    ops: Settings
    state: Path
    stops: Path | None
    pin_file: Path | None
    interval: timedelta
    stagger: timedelta
    terms: Terms
    alert_command: tuple[str, ...] = ()
    least_devices: Mapping[str, int] = field(default_factory=dict)


def load(path: Path) -> MonitorSettings:
    """Read monitor.toml.

    Raises:
        ConfigurationError: ``bad_settings`` or ``missing_setting``: the message names it.
        NotFoundError: it is missing, or a file that it names is.
        TransientError: it cannot be read.
    """
    tree = settings.read_tree(path)
    try:
        own = msgspec.convert(tree.pop("monitor", {}), _Own)
        durations = {
            name: _duration(name, getattr(own, name))
            for name in ("interval", "stagger", "valid_for", "renew_before")
        }
    except ValueError as e:
        raise settings.bad_settings(path, e) from e
    ops = settings.of_tree(path, tree)
    for name in NEEDED:
        if getattr(ops, name) is None:
            raise ConfigurationError(
                f"The setting {name!r} is needed in {path} ('interlock-ops sample monitor' prints "
                "a file with all).",
                reason="missing_setting",
            )
    assert ops.state_directory is not None
    return MonitorSettings(
        ops=ops,
        state=ops.state_directory,
        stops=_path(path, "stops_directory", own.stops_directory),
        pin_file=_path(path, "pin_file", own.pin_file),
        interval=durations["interval"],
        stagger=durations["stagger"],
        terms=_terms(path, durations),
        alert_command=own.alert_command,
        least_devices=own.least_devices,
    )


def _duration(name: str, text: str) -> timedelta:
    try:
        return timedelta(seconds=parse_duration(text))
    except ValueError as e:
        raise ValueError(f"`monitor.{name}`: {e}") from e


def _terms(path: Path, durations: Mapping[str, timedelta]) -> Terms:
    terms = Terms(durations["valid_for"], durations["renew_before"])
    if not timedelta(0) < terms.valid_for <= MAX_GO:
        raise ConfigurationError(
            f"{path}: `monitor.valid_for` must be longer than nothing and at most 30d.",
            reason="bad_settings",
        )
    if not timedelta(0) < terms.renew_before < terms.valid_for:
        raise ConfigurationError(
            f"{path}: `monitor.renew_before` must be shorter than `monitor.valid_for`, or every "
            "round would renew.",
            reason="bad_settings",
        )
    if durations["interval"] <= timedelta(0):
        raise ConfigurationError(
            f"{path}: `monitor.interval` must be longer than nothing.", reason="bad_settings"
        )
    return terms


def _path(beside: Path, name: str, text: str | None) -> Path | None:
    return None if text is None else beside.parent / settings.expanded(text, f"monitor.{name}")
