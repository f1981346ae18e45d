"""The output appears whole or not at all, whatever cuts a ceremony off."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from interlock_ceremony import media
from interlock_core.durable import watching
from interlock_core.errors import ConflictError, TransientError
from tests.keys_ceremony.stage import SCRIPT, Stage, told

SMALL = (
    SCRIPT.replace('["alice", "bob", "carol"]', '["alice", "bob"]')
    .replace('["bob", "carol"]', '["alice", "bob"]')
    .replace('carol = "Carol Cui"\n', "")
    .replace('"dana"', '"alice"')
    .replace('dana = "Dana Dorn"\n', "")
    + '"image.root" = "A test may lose its roots."\n'
)
"""A script with two holders, for ceremonies by the hundred."""


class PowerCut(BaseException):
    """What a test raises in place of the power going away."""


@pytest.fixture
def small(stage: Stage) -> Stage:
    stage.script.write_text(SMALL)
    return stage


def partial(stage: Stage) -> Path:
    return stage.home / ".out.partial"


def hold(stage: Stage) -> int:
    return stage.call("run", stage.script, *stage.files[:4]).exit_code


def acts_of(stage: Stage) -> list[tuple[str, Path]]:
    """Every change of the file system in one ceremony, in order."""
    acts: list[tuple[str, Path]] = []
    with watching(lambda act, path: acts.append((act, path))):
        assert hold(stage) == 0
    return acts


# What stands at the output


def test_an_empty_directory_is_taken(small: Stage) -> None:
    small.output.mkdir()
    assert hold(small) == 0
    assert small.verify().exit_code == 0


def test_an_output_that_exists_is_never_touched(held: Stage) -> None:
    before = {path: path.read_bytes() for path in held.output.rglob("*") if path.is_file()}
    assert "exists and is not empty; name a new one: nothing is overwritten" in held.refused()
    assert {path: path.read_bytes() for path in held.output.rglob("*") if path.is_file()} == before


def test_a_file_at_the_output(stage: Stage) -> None:
    stage.output.write_text("evidence")
    assert "is a file; name a directory that is new" in stage.refused()


@pytest.mark.parametrize("target", ["online", "nothing"])
def test_a_link_at_the_output(stage: Stage, target: str) -> None:
    stage.output.symlink_to(target)
    assert "is a symbolic link" in stage.refused()


def test_a_mounted_medium(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.output.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == stage.output)
    assert "is where a medium is mounted; name a directory on it" in stage.refused()


def test_what_appears_during_the_ceremony_is_not_overwritten(small: Stage) -> None:
    def appear(act: str, path: Path) -> None:
        if (act, path) == ("rename", small.output):
            path.mkdir()
            (path / "evidence").write_text("of another")

    with watching(appear):
        result = small.call("run", small.script, *small.files[:4], "--json")
    assert result.exit_code == 20
    assert told(result)["reason"] == "conflict"
    assert [path.name for path in small.output.iterdir()] == ["evidence"]
    assert not partial(small).exists()


@pytest.mark.usefixtures("hasty")
def test_what_the_disk_garbled_is_not_given_to_anybody(small: Stage) -> None:
    """The output passes the audit before it gets its name."""
    before = small.listing()

    def garble(act: str, path: Path) -> None:
        if act == "link" and path.name == "transcript.json":
            root = path.parent / "director" / "1.root.json"
            root.write_bytes(root.read_bytes().replace(b"2027", b"2037"))

    with watching(garble):
        result = small.call("run", small.script, *small.files[:4])
    assert result.exit_code == 20
    assert "director/1.root.json" in result.stderr
    assert small.listing() == before


# Interruptions


@pytest.mark.usefixtures("hasty")
def test_whatever_step_fails_there_is_no_output_or_all_of_it(small: Stage) -> None:
    count = len(acts_of(small))
    assert count > 60
    shutil.rmtree(small.output)
    before = small.listing()
    for number in range(count):
        left = iter(range(number))

        def fail(_act: str, _path: Path, left: object = left) -> None:
            if next(left, None) is None:  # type: ignore[call-overload]
                raise PowerCut

        with watching(fail), pytest.raises(PowerCut):
            small.call("run", small.script, *small.files[:4])
        if small.output.exists():
            assert small.verify().exit_code == 0
            shutil.rmtree(small.output)
        assert small.listing() == before, number


@pytest.mark.usefixtures("hasty")
def test_whenever_the_power_fails_the_next_ceremony_succeeds(small: Stage, tmp_path: Path) -> None:
    """Keep what a power cut before each step would leave, and go on from there."""
    worlds: list[Path] = []

    def keep(_act: str, _path: Path) -> None:
        world = tmp_path / "worlds" / str(len(worlds))
        shutil.copytree(small.home, world)
        worlds.append(world)

    with watching(keep):
        assert hold(small) == 0
    seen = {"nothing": 0, "partial": 0, "whole": 0}
    for world in worlds:
        after = Stage(world)
        if after.output.exists():
            seen["whole"] += 1
        else:
            seen["partial" if partial(after).exists() else "nothing"] += 1
            assert hold(after) == 0
        assert not partial(after).exists()
        assert after.verify().exit_code == 0
    assert all(seen.values()), seen


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("act", ["mkdir", "make", "write", "sync", "link", "rename"])
def test_a_disk_that_fails_is_named(small: Stage, act: str, number: int) -> None:
    def fail(found: str, _path: Path) -> None:
        if found == act:
            raise OSError(number, os.strerror(number))

    before = small.listing()
    with watching(fail):
        result = small.call("run", small.script, *small.files[:4], "--json")
    assert result.exit_code == 30
    assert told(result)["outcome"] == "transient"
    assert result.stderr.count("\n") == 1
    assert small.listing() == before


def test_two_ceremonies_do_not_meet_in_one_directory(small: Stage) -> None:
    partial(small).mkdir()
    (partial(small) / "at work").write_text("")
    other = os.open(partial(small), os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        result = small.call("run", small.script, *small.files[:4])
        assert result.exit_code == 30
        assert "Another ceremony is at work" in result.stderr
        assert (partial(small) / "at work").exists()
    finally:
        os.close(other)
    assert hold(small) == 0
    assert not (small.output / "at work").exists()


def test_a_ceremony_that_finished_meanwhile_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other renames its directory after we opened it and before we lock it."""
    output = tmp_path / "out"
    lock = fcntl.flock

    def finish(descriptor: int, how: int) -> None:
        (tmp_path / ".out.partial").rename(output)
        (output / "theirs").write_text("")
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", finish)
    with pytest.raises(TransientError, match="Another ceremony"), media.assembled(output):
        raise AssertionError("entered")
    assert [path.name for path in output.iterdir()] == ["theirs"]


def test_a_link_in_place_of_the_working_directory_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("")
    (tmp_path / ".out.partial").symlink_to(elsewhere)
    with pytest.raises(TransientError), media.assembled(tmp_path / "out"):
        raise AssertionError("entered")
    assert (elsewhere / "file").exists()


def test_the_output_is_flushed_before_success_is_said(small: Stage) -> None:
    """Each file's bytes, then its name; the output's name last, and then its directory."""
    acts = acts_of(small)
    assert acts[-2:] == [("rename", small.output), ("sync_directory", small.home)]
    linked = [path for act, path in acts if act == "link"]
    made = {path for path in small.output.rglob("*") if path.is_file()}
    assert {small.output / path.relative_to(partial(small)) for path in linked} == made


def test_an_error_in_the_work_is_not_taken_for_the_disks(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), media.assembled(tmp_path / "out"):
        raise BrokenPipeError
    assert list(tmp_path.iterdir()) == []


def test_conflicts_name_what_to_do(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(ConflictError, match="name another output"), media.assembled(output):
        output.write_text("")
