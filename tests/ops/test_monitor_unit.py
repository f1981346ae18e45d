"""The monitor as a service: its unit, its settings, and what systemd is told."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from interlock_core.errors import ConfigurationError
from interlock_ops.cli import main
from interlock_ops.monitor.alerts import ALERTS
from interlock_ops.monitor.config import CREDENTIAL, PIN_CREDENTIAL, _Own, load
from interlock_ops.monitor.notify import notify

TOP = Path(__file__).parents[2]
UNIT = TOP / "infra" / "systemd" / "interlock-monitor.service"
SAMPLE = TOP / "server" / "ops" / "src" / "interlock_ops" / "samples" / "monitor.toml"
GUIDE = TOP / "docs" / "monitor.md"


def test_the_unit_runs_it_as_somebody_else_than_the_server() -> None:
    text = UNIT.read_text()
    (called,) = re.findall(r"^ExecStart=/\S+/interlock-ops (\S+) --config ", text, re.MULTILINE)
    assert called in main.commands
    server = (UNIT.parent / "interlock-server.service").read_text()
    (user,), (other,) = (re.findall(r"^User=(\S+)", one, re.MULTILINE) for one in (text, server))
    assert user != other
    assert f"LoadCredentialEncrypted={CREDENTIAL}" in text
    assert PIN_CREDENTIAL in text
    for line in ("Type=notify", "NoNewPrivileges=yes", "ProtectSystem=strict", "Restart=always"):
        assert line in text.splitlines()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_it(tmp_path: Path) -> None:
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/opt/interlock/bin/interlock-ops", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_sample_holds_every_setting_of_its_own(tmp_path: Path) -> None:
    config = tmp_path / "monitor.toml"
    config.write_text(SAMPLE.read_text())
    assert load(config).stops == Path("/var/lib/interlock-stops")
    every = config.read_text().replace("# ", "")
    for name in _Own.__struct_fields__:
        assert re.search(rf"^{name} = |^\[monitor\.{name}\]", every, re.MULTILINE), name


@pytest.mark.parametrize("name", ["server", "fleet", "image_root", "log_key", "key"])
def test_nothing_that_it_needs_is_guessed(tmp_path: Path, name: str) -> None:
    config = tmp_path / "monitor.toml"
    lines = SAMPLE.read_text().splitlines()
    config.write_text("\n".join(line for line in lines if not line.startswith(f"{name} =")))
    with pytest.raises(ConfigurationError, match=name):
        load(config)


def test_every_alert_is_documented() -> None:
    text = GUIDE.read_text()
    documented = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", text, re.MULTILINE))
    assert documented.keys() == ALERTS.keys()


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify(READY="1", STATUS="reading")
        assert listening.recv(1000) == b"READY=1\nSTATUS=reading"
    notify(WATCHDOG="1")  # nobody listens any more, and nothing fails
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify(WATCHDOG="1")
