"""The agent's unit: systemd takes it, and it calls a command that exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from interlock_client.cli import COMMANDS

UNIT = Path(__file__).parents[2] / "infra" / "systemd" / "interlock-client.service"
RAUC = UNIT.with_name("interlock-client-rauc.conf")
SWUPDATE = UNIT.with_name("interlock-client-swupdate.conf")


def test_it_runs_the_daemon_and_breaks_off_no_reboot() -> None:
    text = UNIT.read_text()
    (called,) = re.findall(r"^ExecStart=/\S+/interlock-client (\S+) --config ", text, re.MULTILINE)
    assert called == "run"
    assert called in COMMANDS
    for line in ("Restart=always", "KillMode=mixed", "NoNewPrivileges=yes"):
        assert line in text.splitlines()


def test_slots_and_a_tpm_may_be_opened() -> None:
    lines = UNIT.read_text().splitlines()
    assert {"ProtectClock=yes", "DeviceAllow=block-* rw", "DeviceAllow=char-tpm rw"} <= set(lines)


@pytest.mark.parametrize(
    ("drop_in", "devices"), [(RAUC, "/dev/loop-control rw"), (SWUPDATE, "block-* rwm")]
)
def test_what_installers_need_is_let_through_where_they_are_used(
    drop_in: Path, devices: str
) -> None:
    text = drop_in.read_text()
    # What was forbidden whole is named anew: without the empty line nothing would be allowed.
    assert "RestrictNamespaces=\nRestrictNamespaces=mnt pid net ipc uts\n" in text
    assert "SystemCallFilter=@mount\n" in text
    # ``ProtectClock`` in the unit forbids whatever device is not named.
    assert f"DeviceAllow={devices}\n" in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("drop_in", [(), (RAUC,), (SWUPDATE,)])
def test_systemd_accepts_it(tmp_path: Path, drop_in: tuple[Path, ...]) -> None:
    # The program lies where the machine's owner put it.
    text = UNIT.read_text().replace("/opt/interlock/bin/interlock-client", "/bin/true")
    text = "\n".join([text, *(path.read_text() for path in drop_in)])
    path = tmp_path / UNIT.name
    path.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
