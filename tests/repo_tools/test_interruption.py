"""Killed, or out of disk, at every change of the file system: whole or not there, then finished."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interlock_core import durable
from interlock_repo.sbom import sbom_format
from tests.repo_tools.world import CYCLONEDX, Said, World, tool

KILLED = 77
ACTS = ("delegate", "stage", "roster", "rebase")


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process leaves of its scratch space goes with the test."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    """Loaded here once, and not again by each process that is killed."""
    sbom_format(json.dumps(CYCLONEDX).encode(), what="x")


def killed_at(step: int, act: Callable[[], Said]) -> bool:
    """Whether ``act``, in a process of its own, was killed just before change ``step``."""
    child = os.fork()
    if child == 0:
        steps = iter(range(step + 1))

        def die(_act: str, _path: Path) -> None:
            if next(steps) == step:
                os._exit(KILLED)

        try:
            with durable.watching(die):
                act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def spec_of(world: World, act: str) -> Path:
    if act == "delegate":
        return world.delegations()
    if act == "rebase":
        # An event that something was published after.
        old = world.place / "stale"
        assert world.make("stage", old, world.release()).code == 0
        world.in_force("delegate", world.delegations(""), ("ada", "ben"))
        return old
    return world.release() if act == "stage" else world.roster()


@pytest.mark.parametrize("act", ACTS)
def test_an_event_is_there_whole_or_not_at_all(delegated: World, tmp_path: Path, act: str) -> None:
    event, spec, steps = tmp_path / "e", spec_of(delegated, act), 0
    while killed_at(steps, lambda: delegated.make(act, event, spec)):
        steps += 1
        if event.exists():
            # Only the very end: the name is given, and not flushed yet.
            assert tool("review", event).code == 0
            event.rename(tmp_path / f"whole-{steps}")
    assert steps > 15
    assert tool("review", event).code == 0
    assert not (tmp_path / ".e.partial").exists()


def test_after_a_kill_the_same_command_finishes(delegated: World, tmp_path: Path) -> None:
    spec, step = delegated.release(), 0
    while killed_at(step, lambda: delegated.make("stage", tmp_path / "e", spec)):
        if not (tmp_path / "e").exists():
            again = delegated.make("stage", tmp_path / "e", spec)
            assert again.code == 0, again.err
        assert tool("review", tmp_path / "e").code == 0
        assert not (tmp_path / ".e.partial").exists()
        (tmp_path / "e").rename(tmp_path / f"e-{step}")
        step += 3


def test_a_signature_is_there_whole_or_not_at_all(staged: Path, delegated: World) -> None:
    step = 0
    while killed_at(step, lambda: delegated.sign(staged, "rosa")):
        step += 1
        status = tool("status", staged, "--json")
        assert status.code == 10, status.err
        for one in (staged / "signatures").glob("*.json"):
            assert status.answer["needed"] == 1
            one.unlink()
    assert step >= 4
    assert tool("status", staged, "--json").answer["needed"] == 1


def full_disk(step: int) -> Callable[[str, Path], None]:
    steps = iter(range(10_000))

    def fail(_act: str, path: Path) -> None:
        if next(steps) == step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    return fail


def failures(act: Callable[[], Said]) -> Iterator[Said]:
    """How ``act`` ends with the disk full at each change in turn."""
    for step in range(1000):
        with durable.watching(full_disk(step)):
            said = act()
        if said.code == 0:
            return
        yield said


@pytest.mark.parametrize("act", ACTS)
def test_a_full_disk_is_said_and_leaves_nothing(delegated: World, tmp_path: Path, act: str) -> None:
    event, spec, seen = tmp_path / "e", spec_of(delegated, act), 0
    for said in failures(lambda: delegated.make(act, event, spec, "--json")):
        assert (said.code, said.answer["reason"]) == (30, "disk"), said.err
        assert "disk is full" in said.err
        # Where only its own making could not be flushed, an empty directory stays.
        assert not list(tmp_path.glob(".e.partial/*"))
        if event.exists():
            assert tool("review", event).code == 0
            event.rename(tmp_path / f"whole-{seen}")
        seen += 1
    assert seen > 15


def test_a_full_disk_while_signing(staged: Path, delegated: World) -> None:
    for said in failures(lambda: delegated.sign(staged, "rosa", "--json")):
        assert (said.code, said.answer["reason"]) == (30, "disk"), said.err
        for one in (staged / "signatures").glob("*.json"):
            one.unlink()
        assert tool("status", staged).code == 10


def test_two_processes_do_not_make_one_event(delegated: World, tmp_path: Path) -> None:
    inner: list[Said] = []

    def meanwhile(act: str, path: Path) -> None:
        if act == "rename" and not inner:
            inner.append(delegated.make("stage", tmp_path / "e", delegated.release(), "--json"))

    with durable.watching(meanwhile):
        outer = delegated.make("stage", tmp_path / "e", delegated.release())
    assert outer.code == 0, outer.err
    assert (inner[0].code, inner[0].answer["reason"]) == (20, "conflict")
    assert "making" in inner[0].err
    assert tool("review", tmp_path / "e").code == 0
