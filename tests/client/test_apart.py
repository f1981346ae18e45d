"""A program that runs apart cannot be reached, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interlock_client.install import apart
from interlock_client.install.apart import Ended
from interlock_core.errors import ConfigurationError
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces here")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "scratch"
    path.mkdir()
    return path


@contextmanager
def reading(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def run(scratch: Path, script: str, seconds: float = 60) -> Ended:
    with reading(Path(os.devnull)) as descriptor:
        return apart.run(["sh", "-c", script], stdin=descriptor, scratch=scratch, seconds=seconds)


def processes(mark: str) -> list[str]:
    """Command lines of whatever runs anywhere and names ``mark``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in text:
            found.append(text)
    return found


def test_it_gets_its_descriptor_whatever_becomes_of_the_name(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "bundle"
    path.write_text("verified")
    with reading(path) as descriptor:
        path.unlink()
        path.write_text("swapped")
        ended = apart.run(
            ["sh", "-c", f"cat {apart.BUNDLE}"], stdin=descriptor, scratch=scratch, seconds=60
        )
    assert ended == Ended(0, "verified")


def test_what_it_makes_and_mounts_is_seen_by_nobody_and_goes_with_it(scratch: Path) -> None:
    script = (
        f"echo secret > {apart.SCRATCH}/file && mkdir {apart.SCRATCH}/m && "
        f"mount -t tmpfs tmpfs {scratch}/m && grep -c {scratch} /proc/mounts"
    )
    assert run(scratch, script) == Ended(0, "2\n")
    assert list(scratch.iterdir()) == []
    assert str(scratch) not in Path("/proc/mounts").read_text()


def test_it_sees_no_process_of_the_machine_and_little_of_its_environment(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "s")
    ended = run(scratch, f"kill -0 {os.getpid()} || echo none; env")
    assert "none\n" in ended.output
    assert "SECRET" not in ended.output


def test_how_it_ended_is_told(scratch: Path) -> None:
    assert run(scratch, "echo out; echo err >&2; exit 3") == Ended(3, "out\nerr\n")
    assert run(scratch, "exec /no/such/program").code == 127


def test_what_it_prints_is_bounded(scratch: Path) -> None:
    ended = run(scratch, "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo the end")
    assert ended.code == 0
    assert ended.output.endswith("xx\nthe end\n")
    assert len(ended.output) == apart.KEPT_OUTPUT


@pytest.mark.parametrize("script", ["{0}", "{0} & {0}", "setsid {0} & exec >&- 2>&-; {0}"])
def test_when_its_time_is_up_nothing_of_it_is_left(scratch: Path, script: str) -> None:
    mark = f"sleep 7{os.getpid()}"
    assert run(scratch, script.format(mark), seconds=0.3).code is None
    assert processes(mark) == []


def test_what_it_started_ends_with_it(scratch: Path) -> None:
    mark = f"sleep 8{os.getpid()}"
    assert run(scratch, f"setsid {mark} >/dev/null 2>&1 & echo started") == Ended(0, "started\n")
    wait_for(lambda: not processes(mark))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_whoever_started_it(scratch: Path, how: signal.Signals) -> None:
    mark = f"sleep 9{os.getpid()}"
    code = (
        "import pathlib, sys\nfrom interlock_client.install import apart\n"
        "apart.run(['sh', '-c', sys.argv[2]], stdin=0, scratch=pathlib.Path(sys.argv[1]), "
        "seconds=60)"
    )
    agent = subprocess.Popen(
        [sys.executable, "-c", code, scratch, f"touch {scratch.parent}/up; {mark} & {mark}"],
        stdin=subprocess.DEVNULL,
    )
    wait_for((scratch.parent / "up").exists)
    assert processes(mark)
    agent.send_signal(how)
    agent.wait(60)
    wait_for(lambda: not processes(mark))


def test_what_is_missing_is_named_before_it_is_needed(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart.require("sh")
    with pytest.raises(ConfigurationError, match="no program no-such-installer"):
        apart.require("sh", "no-such-installer")
    apart.require_right(scratch)
    # As for a user who may not make namespaces, or under a unit that does not let it.
    nobody = ("setpriv", "--reuid=65534", "--clear-groups")
    monkeypatch.setattr(apart, "_PREFIX", (*nobody, *apart._PREFIX))
    with pytest.raises(ConfigurationError, match=r"Operation not permitted.*run the agent as root"):
        apart.require_right(scratch)
