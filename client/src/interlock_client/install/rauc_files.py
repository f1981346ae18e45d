"""The files with which RAUC is run: written by the agent for one installation. Pure.

Rules:

1. RAUC arms nothing: ``activate-installed`` is off and the boot loader is none of its business
   (``noop``). Which slot runs is said to it; it guesses nothing from the kernel's command line.
2. Slots are written raw, so that what must stand in them afterwards can be signed and read back.
   Nothing else is offered: what RAUC formats, unpacks or switches itself nobody can compare.
3. Its own check of the signature is on, with the integrator's keyring; nothing turns it off.
4. Before anything is written it asks the guard, which agrees only while the agent installs this
   very bundle.
5. Whatever it mounts, and its bus, lie in the private file system of ``apart``.
6. A text that cannot be said in these files is an error, and never something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import join, quote
from typing import Final
from xml.sax.saxutils import escape

from interlock_core.errors import ConfigurationError

SERVICE: Final = "de.pengutronix.rauc"
_BOTH: Final = ("a", "b")


@dataclass(frozen=True)
class Keyring:
    """What RAUC asks of a bundle's signature, beside that it is right.

    Attributes:
        path: PEM certificates of those who may sign bundles.
        check_crl: ask for revocation lists in the keyring too.
        check_purpose: what the signer's certificate must be for; None for RAUC's own default.
        use_bundle_signing_time: judge certificates at the time that the signature states.
    """

    path: Path
    check_crl: bool = False
    check_purpose: str | None = None
    use_bundle_signing_time: bool = False


def system_conf(
    *,
    compatible: str,
    keyring: Keyring,
    slots: Mapping[str, Mapping[str, Path]],
    scratch: Path,
    guard: Path,
) -> str:
    """RAUC's ``system.conf``.

    Args:
        compatible: of the bundles that are for this gateway.
        keyring: see there.
        slots: paths by slot name, for ``a`` and ``b``; both name the same slots.
        scratch: the private file system.
        guard: the executable of rule 4.

    Raises:
        ConfigurationError: rule 6.
    """
    names = sorted(slots["a"])
    lines = [
        "[system]",
        _line("compatible", compatible),
        "bootloader=noop",
        "activate-installed=false",
        _line("mountprefix", scratch / "mount"),
        _line("statusfile", scratch / "status"),
        "",
        "[keyring]",
        _line("path", keyring.path),
        f"check-crl={_truth(keyring.check_crl)}",
        f"use-bundle-signing-time={_truth(keyring.use_bundle_signing_time)}",
    ]
    if keyring.check_purpose is not None:
        lines.append(_line("check-purpose", keyring.check_purpose))
    lines += ["", "[handlers]", _line("pre-install", guard)]
    for number, side in enumerate(_BOTH):
        for name in names:
            # One slot is the one that boots; the others belong to it.
            which = f"bootname={side}" if name == names[0] else f"parent={names[0]}.{number}"
            device = _line("device", slots[side][name])
            lines += ["", f"[slot.{name}.{number}]", device, "type=raw", which]
    return "\n".join(lines) + "\n"


def bus_conf(*, socket: str, services: Path) -> str:
    """The configuration of a message bus for this one purpose: for this user alone.

    Args:
        socket: where it listens.
        services: directory of the service file.

    Raises:
        ConfigurationError: rule 6.
    """
    return f"""\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={escape(socket)}</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{escape(_text(services))}</servicedir>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="{SERVICE}"/>
  </policy>
</busconfig>
"""


def service_file(*, program: str, configuration: Path, booted: str) -> str:
    """How the bus starts RAUC's service.

    Args:
        program: RAUC.
        configuration: the file of ``system_conf``.
        booted: the slot that runs (rule 1).

    Raises:
        ConfigurationError: rule 6.
    """
    command = [program, f"--conf={_text(configuration)}", "service"]
    command.append(f"--override-boot-slot={booted}")
    return f"[D-BUS Service]\nName={SERVICE}\nExec={join(command)}\n"


def guard_script(command: list[str]) -> str:
    """The executable that RAUC calls before it writes anything (rule 4)."""
    return f"#!/bin/sh\nexec {' '.join(quote(part) for part in command)}\n"


def _line(key: str, value: object) -> str:
    """A line of a GLib key file, where a backslash and a space at an end are special."""
    text = _text(value)
    if text != text.strip():
        raise ConfigurationError(f"{text!r} begins or ends with a space: RAUC cannot be told so.")
    return f"{key}=" + text.replace("\\", "\\\\")


def _text(value: object) -> str:
    text = str(value)
    if not text.isprintable():
        raise ConfigurationError(f"{text!r} holds what cannot be printed: RAUC cannot be told so.")
    return text


def _truth(value: bool) -> str:
    return "true" if value else "false"
