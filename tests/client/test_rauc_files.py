"""What RAUC is told: every text as it is meant, or an error."""

from __future__ import annotations

import configparser
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from interlock_client.install import rauc_files
from interlock_client.install.rauc_files import Keyring
from interlock_core.errors import ConfigurationError


def conf(**changes: Any) -> configparser.ConfigParser:
    said: dict[str, Any] = {
        "compatible": "Ward Gateway (cg-200)",
        "keyring": Keyring(Path("/etc/k.pem")),
        "slots": {"a": {"rootfs": Path("/dev/a")}, "b": {"rootfs": Path("/dev/b")}},
        "scratch": Path("/s"),
        "guard": Path("/g"),
    }
    read = configparser.ConfigParser(interpolation=None)
    read.read_string(rauc_files.system_conf(**(said | changes)))
    return read


def test_rauc_arms_nothing_and_asks_before_it_writes() -> None:
    read = conf()
    assert read["system"]["activate-installed"] == "false"
    assert read["system"]["bootloader"] == "noop"
    assert read["system"]["compatible"] == "Ward Gateway (cg-200)"
    assert read["handlers"]["pre-install"] == "/g"
    assert read["keyring"]["path"] == "/etc/k.pem"
    assert dict(read["slot.rootfs.0"]) == {"device": "/dev/a", "type": "raw", "bootname": "a"}
    assert dict(read["slot.rootfs.1"]) == {"device": "/dev/b", "type": "raw", "bootname": "b"}


def test_slots_of_one_side_belong_together() -> None:
    slots = {
        side: {name: Path(f"/dev/{name}-{side}") for name in ("rootfs", "appfs", "logo")}
        for side in "ab"
    }
    read = conf(slots=slots)
    assert read["slot.appfs.1"]["bootname"] == "b"
    for name in ("logo", "rootfs"):
        assert dict(read[f"slot.{name}.1"]) == {
            "device": f"/dev/{name}-b",
            "type": "raw",
            "parent": "appfs.1",
        }


def test_what_is_asked_of_the_signature() -> None:
    assert dict(conf()["keyring"]) == {
        "path": "/etc/k.pem",
        "check-crl": "false",
        "use-bundle-signing-time": "false",
    }
    strict = Keyring(Path("/k"), True, "codesign", True)
    assert dict(conf(keyring=strict)["keyring"]) == {
        "path": "/k",
        "check-crl": "true",
        "use-bundle-signing-time": "true",
        "check-purpose": "codesign",
    }


@pytest.mark.parametrize("bad", ["x\ny", "x\n[handlers]", "\tx", "x ", " x", "x\x00", "x\u2028y"])
def test_a_text_that_would_be_read_as_another_is_an_error(bad: str) -> None:
    with pytest.raises(ConfigurationError, match="RAUC cannot be told"):
        conf(compatible=bad)
    with pytest.raises(ConfigurationError, match="RAUC cannot be told"):
        conf(slots={"a": {"rootfs": Path(f"/dev/x\n{bad}")}, "b": {"rootfs": Path("/dev/b")}})


def test_a_backslash_stays_one() -> None:
    # GLib's key files read \\ as one backslash.
    assert conf(compatible=r"a\sb")["system"]["compatible"] == r"a\\sb"


def test_the_bus_is_for_this_user_and_this_service() -> None:
    text = rauc_files.bus_conf(socket="/s/bus", services=Path("/state/a & b<c>"))
    read = ET.fromstring(text)  # noqa: S314  # our own
    assert read.findtext("type") == "session"
    assert read.findtext("listen") == "unix:path=/s/bus"
    assert read.findtext("auth") == "EXTERNAL"
    assert read.findtext("servicedir") == "/state/a & b<c>"
    assert [rule.attrib for rule in read.iter("allow") if "own" in rule.attrib] == [
        {"own": "de.pengutronix.rauc"}
    ]


def test_the_slot_that_runs_is_said_and_not_guessed() -> None:
    text = rauc_files.service_file(
        program="/usr/bin/rauc", configuration=Path("/my state/c"), booted="a"
    )
    (line,) = [line for line in text.splitlines() if line.startswith("Exec=")]
    assert shlex.split(line.removeprefix("Exec=")) == [
        "/usr/bin/rauc",
        "--conf=/my state/c",
        "service",
        "--override-boot-slot=a",
    ]


def test_the_guard_is_called_as_it_was_meant() -> None:
    text = rauc_files.guard_script(["/p/python", "it's", "$HOME"])
    assert text.startswith("#!/bin/sh\nexec ")
    assert shlex.split(text.splitlines()[1]) == ["exec", "/p/python", "it's", "$HOME"]
