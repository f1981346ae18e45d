"""The command line as a person, a boot script and a machine meet it; in real time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from interlock_client.cli import COMMANDS, edge, group
from interlock_client.state import exclusive
from tests.client.bed import FACTORY, Bed
from tests.client.web import Web
from tests.client.world import Clock, World

CLIENT = Path(sys.executable).parent / "interlock-client"
NEW = b"release one " * 5000


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.out)
        assert {"outcome", "reason"} <= set(answer)
        return answer


def client(*words: str | Path) -> Said:
    done = subprocess.run(
        [str(CLIENT), *map(str, words)], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr + done.stdout
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, Clock(datetime.now(UTC).replace(microsecond=0)))


@pytest.fixture
def machine(tmp_path: Path, world: World) -> Iterator[Path]:
    """The configuration of a gateway whose reboot is its boot script."""
    with Web(world.store) as web:
        bed = Bed(tmp_path / "gateway", world, web)
        path = bed.write_config()
        bed.script("reboot.sh", f'exec "{CLIENT}" boot-select --config "{path}" > "{path}.slot"')
        assert client("boot-select", "--config", path).out == "a\n"
        yield path


def test_the_whole_way(world: World, machine: Path) -> None:
    nothing = client("check", "--config", machine, "--json")
    assert (nothing.code, nothing.json()["reason"]) == (0, "nothing_wanted")
    world.roll_out(world.release("1.0.0", NEW))
    found = client("check", "--config", machine)
    assert (found.code, found.out.split(":")[0]) == (0, "update_available")

    check = machine.parent / "interlock.d" / "10-idle"
    check.write_text("#!/bin/sh\necho infusion running\nexit 1\n")
    waiting = client("update", "--config", machine, "--json")
    assert (waiting.code, waiting.json()["outcome"]) == (10, "deferred")
    assert waiting.json()["reason"] == "interlock_not_clear"
    told = client("explain", "--config", machine)
    assert told.code == 10
    assert "FAIL  the clinical interlock is clear: " in told.out
    assert "infusion running" in told.out
    status = client("--config", machine, "status")
    assert status.code == 0
    assert "state      waiting" in status.out
    assert "infusion running" in status.out

    check.write_text("#!/bin/sh\nexit 0\n")
    done = client("update", "--config", machine, "--json")
    assert (done.code, done.json()["outcome"]) == (0, "rebooting")
    assert Path(f"{machine}.slot").read_text() == "b\n"
    confirmed = client("confirm", "--config", machine, "--json")
    assert (confirmed.code, confirmed.json()["outcome"]) == (0, "confirmed")
    assert (machine.parent / "slots" / "b").read_bytes() == NEW
    assert client("check", "--config", machine, "--json").json()["reason"] == "already_installed"
    status = client("status", "--config", machine, "--json")
    assert status.json()["state"] == "confirmed"
    assert status.json()["running"]["counter"] == 1


def test_health_decides(world: World, machine: Path) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    (machine.parent / "health.d" / "10-up").write_text("#!/bin/sh\nexit 1\n")
    assert client("update", "--config", machine).code == 0
    rolled_back = client("confirm", "--config", machine, "--json")
    assert (rolled_back.code, rolled_back.json()["outcome"]) == (40, "rolled_back")
    assert Path(f"{machine}.slot").read_text() == "a\n", "it rebooted into the old slot"
    assert (machine.parent / "slots" / "a").read_bytes() == FACTORY
    refused = client("update", "--config", machine, "--json")
    assert (refused.code, refused.json()["reason"]) == (20, "rolled_back_here")
    last = client("explain", "--last", "--config", machine, "--json").json()
    assert (last["reason"], last["phase"]) == ("rolled_back_here", "download")


def test_rollback_by_hand(world: World, machine: Path) -> None:
    nothing = client("rollback", "--config", machine)
    assert (nothing.code, nothing.out) == (20, "")
    assert nothing.err.startswith("refused (nothing_good): ")
    world.roll_out(world.release("1.0.0", NEW))
    client("update", "--config", machine)
    client("confirm", "--config", machine)
    assert client("rollback", "--config", machine, "--json").json()["outcome"] == "rolling_back"
    assert Path(f"{machine}.slot").read_text() == "a\n"
    assert client("confirm", "--config", machine).code == 0


def test_boot_select_for_machines(machine: Path) -> None:
    said = client("boot-select", "--config", machine, "--json")
    assert (said.code, said.json()["slot"]) == (0, "a")


def test_boot_select_survives_a_mistake_elsewhere(machine: Path) -> None:
    machine.write_text(machine.read_text().replace('market = "DE"', 'market = "?"'))
    assert client("check", "--config", machine).code == 2
    assert client("boot-select", "--config", machine).out == "a\n"


def test_boot_select_says_when_it_could_not_be_recorded(machine: Path) -> None:
    booted = machine.parent / "booted"
    booted.unlink()
    booted.mkdir()
    said = client("boot-select", "--config", machine)
    assert (said.code, said.out) == (30, "a\n")
    assert said.err.startswith("boot-select: Cannot write")


def test_configuration_errors_are_usage(tmp_path: Path) -> None:
    missing = client("check", "--config", tmp_path / "none.toml", "--json")
    assert (missing.code, missing.json()["outcome"]) == (2, "error")
    assert str(tmp_path / "none.toml") in missing.json()["detail"]
    (tmp_path / "x.toml").write_text("nonsense = ")
    wrong = client("check", "--config", tmp_path / "x.toml")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.count("\n") == 1


@pytest.mark.parametrize("words", [["install"], ["check", "--now"], ["status", "extra"]])
def test_words_that_nobody_knows_are_usage(words: list[str]) -> None:
    said = client(*words)
    assert (said.code, said.out) == (2, "")
    assert "Usage:" in said.err
    as_json = client(*words, "--json")
    assert (as_json.code, as_json.json()["reason"]) == (2, "usage")


def test_somebody_else_at_work_is_transient(machine: Path) -> None:
    client("check", "--config", machine)
    with exclusive(machine.parent / "state" / "lock", "A test is at work"):
        said = client("update", "--config", machine, "--json")
    assert (said.code, said.json()["reason"]) == (30, "busy")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_directory_that_may_not_be_written(machine: Path) -> None:
    (machine.parent / "state").mkdir(mode=0o500)
    said = client("check", "--config", machine)
    assert said.code == 30
    assert "permission is denied" in said.err


def test_a_state_directory_that_is_a_file(machine: Path) -> None:
    (machine.parent / "state").write_text("x")
    said = client("check", "--config", machine)
    assert (said.code, said.out) == (20, "")
    assert said.err.startswith("refused (conflict): ")


def test_the_sample_is_printed(tmp_path: Path) -> None:
    said = client("sample")
    assert said.code == 0
    (tmp_path / "gateway.toml").write_text(said.out)
    status = client("status", "--config", tmp_path / "gateway.toml", "--json")
    assert (status.code, status.json()["device"]) == (0, "GW-000123")
    assert client("sample", "--json").json()["text"] == said.out


def test_help_shows_examples() -> None:
    whole = client("--help")
    assert "Exit codes" in whole.out
    for name in COMMANDS:
        assert name in whole.out
        said = client(name, "--help")
        assert said.code == 0
        assert "Examples:" in said.out
        assert f"interlock-client {name}" in said.out
    assert client("--version").out.strip().endswith("0.1.0")


def test_a_server_cannot_write_on_the_terminal(world: World, machine: Path) -> None:
    world.show("wards", fleet="staging")
    said = client("check", "--config", machine)
    assert (said.code, said.err.count("\n")) == (20, 1)
    assert edge.plain("a\x1b[2Jb\nc") == "a [2Jb c"


def test_an_error_that_nobody_foresaw_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_path: Path) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("interlock_client.context.build", broken)
    with pytest.raises(SystemExit) as caught:
        edge.run(group, ["check"])
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error (internal): internal error: KeyError: 'surprise'\n"
