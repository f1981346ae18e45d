"""A directory of checks says yes only when every one of them does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from interlock_client import interlock, probes
from interlock_client.config import Checks
from tests.client.bed import Bed


@pytest.fixture
def checks(tmp_path: Path) -> Checks:
    (tmp_path / "d").mkdir()
    return Checks(checks=tmp_path / "d", timeout_seconds=5)


def put(checks: Checks, name: str, body: str, mode: int = 0o755) -> Path:
    path = checks.checks / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(mode)
    return path


def test_all_must_pass(checks: Checks) -> None:
    put(checks, "10-a", "exit 0")
    put(checks, "20-b", "echo fine; exit 0")
    verdict = probes.ask(checks, "interlock")
    assert verdict.passed
    assert [probe.detail for probe in verdict.probes] == ["passed", "fine"]
    put(checks, "15-c", "echo infusion running; exit 3")
    verdict = probes.ask(checks, "interlock")
    assert not verdict.passed
    assert verdict.detail == "the interlock check 15-c exited with 3: infusion running"
    assert len(verdict.probes) == 2, "the rest is not asked"


def test_a_check_that_the_disk_does_not_give_means_no(checks: Checks) -> None:
    """Not an error that leaves new firmware unjudged for ever."""
    put(checks, "10-a", "exit 0")
    (checks.checks / "20-b").symlink_to("x" * 300)
    verdict = probes.ask(checks, "health", cannot_tell=True)
    assert (verdict.passed, verdict.unknown) == (False, False)
    assert verdict.detail == "the health check 20-b cannot be run: File name too long"
    assert [probe.passed for probe in probes.advise(checks)] == [True, False]


def test_nobody_to_ask_means_no(checks: Checks) -> None:
    assert "no interlock check" in probes.ask(checks, "interlock").detail
    put(checks, ".hidden", "exit 0")
    assert not probes.ask(checks, "interlock").passed
    missing = Checks(checks=checks.checks / "none")
    assert "cannot be read" in probes.ask(missing, "interlock").detail
    assert not probes.ask(Checks(checks=put(checks, "file", "exit 0")), "interlock").passed


@pytest.mark.parametrize(
    ("body", "mode", "why"),
    [
        ("exit 0", 0o644, "is not an executable file"),
        ("kill -9 $$", 0o755, "was ended by signal 9"),
        ("exit 1", 0o755, "exited with 1"),
    ],
)
def test_anything_else_means_no(checks: Checks, body: str, mode: int, why: str) -> None:
    put(checks, "10-ok", "exit 0")
    put(checks, "20-odd", body, mode)
    verdict = probes.ask(checks, "interlock")
    assert not verdict.passed
    assert why in verdict.detail


def test_what_cannot_be_run_means_no(checks: Checks) -> None:
    (checks.checks / "10-x").write_text("#!/no/such/interpreter\n")
    (checks.checks / "10-x").chmod(0o755)
    assert "cannot be run" in probes.ask(checks, "interlock").detail
    (checks.checks / "10-x").unlink()
    (checks.checks / "10-d").mkdir()
    assert "is not an executable file" in probes.ask(checks, "interlock").detail
    (checks.checks / "10-d").rmdir()
    (checks.checks / "10-l").symlink_to("nowhere")
    assert not probes.ask(checks, "interlock").passed


def test_a_hang_means_no_and_leaves_nothing_running(tmp_path: Path, checks: Checks) -> None:
    checks = Checks(checks=checks.checks, timeout_seconds=1)
    put(checks, "10-hang", f'sleep 600 & echo $! > "{tmp_path}/pid"; wait')
    began = time.monotonic()
    verdict = probes.ask(checks, "interlock")
    assert verdict.detail == "the interlock check 10-hang did not answer in time"
    assert time.monotonic() - began < 60
    child = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    assert not child.exists() or child.read_text().split()[2] == "Z"


def test_a_child_that_stays_does_not_hold_the_answer_up(checks: Checks) -> None:
    put(checks, "10-daemon", "sleep 600 & echo started; exit 0")
    verdict = probes.ask(checks, "interlock")
    assert verdict.passed
    assert verdict.probes[0].detail == "started"


def test_what_anybody_may_write_means_no(checks: Checks) -> None:
    """Or else anybody on the machine says that now is safe."""
    put(checks, "10-ok", "exit 0")
    path = put(checks, "20-open", "exit 0", 0o757)
    verdict = probes.ask(checks, "interlock")
    assert verdict.detail == "the interlock check 20-open may be written by anybody"
    path.chmod(0o755)
    checks.checks.chmod(0o1777)
    assert "anybody may write into" in probes.ask(checks, "interlock").detail
    checks.checks.chmod(0o775)
    assert probes.ask(checks, "interlock").passed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it is left alone
def test_a_check_that_cannot_be_ended_does_not_hold_the_answer_up(
    checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that waits in the kernel for a dead disk, whatever signal it is sent."""
    checks = Checks(checks=checks.checks, timeout_seconds=1)
    path = put(checks, "10-hang", "exec sleep 600")
    ended: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _: ended.append(group))
    monkeypatch.setattr(probes, "_END_SECONDS", 0.1)
    verdict = probes.ask(checks, "interlock")
    monkeypatch.undo()
    os.killpg(ended[0], signal.SIGKILL)
    assert not verdict.passed
    assert verdict.detail == (
        f"the interlock check {path.name} did not answer in time, and cannot be ended"
    )


def test_an_agent_that_cannot_watch_its_checks_hears_no(checks: Checks) -> None:
    """Where SIGCHLD is ignored the kernel forgets how a process ended, and zero is reported."""
    put(checks, "10-no", "exit 1")
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        verdict = probes.ask(checks, "interlock")
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert not verdict.passed


def test_a_name_that_is_no_text_can_be_told(checks: Checks) -> None:
    path = checks.checks / os.fsdecode(b"10-\xff")
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    verdict = probes.ask(checks, "interlock")
    assert not verdict.passed
    assert verdict.detail.encode().decode() == "the interlock check 10-? exited with 1"


def test_output_is_bounded_and_made_printable(checks: Checks) -> None:
    put(checks, "10-loud", "head -c 5000000 /dev/zero | tr '\\0' x; printf '\\nred \\033[31m end'")
    verdict = probes.ask(checks, "interlock")
    assert verdict.passed
    assert verdict.probes[0].detail == "red ?[31m end"
    put(checks, "10-loud", "yes xxxxxxxxxxxxxxxxxxxxx")
    assert not probes.ask(Checks(checks=checks.checks, timeout_seconds=1), "interlock").passed


def test_they_see_nothing_of_the_agents_environment(
    checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    put(checks, "10-env", '[ -z "$SECRET" ] && [ "$PWD" = / ] && ! read -r line')
    assert probes.ask(checks, "interlock").passed
    assert os.environ["SECRET"] == "x"


def test_the_interlock_fails_closed(bed: Bed) -> None:
    modes = {}
    for configured in (bed.settings.interlock, "none", None):
        settings = Bed.changed(bed.settings, interlock=configured)
        modes[interlock.mode(settings)] = interlock.ask(settings).passed
    assert modes == {"checks": True, "none": True, "missing": False}
