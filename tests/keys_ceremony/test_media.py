"""The output appears whole or not at all, whatever cuts a ceremony off."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from interlock_ceremony import media
from interlock_core.durable import watching
from interlock_core.errors import ConflictError, TransientError
from tests.keys_ceremony.stage import NOW, SCRIPT, Stage, told

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
    result = stage.call("run", stage.script, *stage.files[:4])
    assert not result.stderr, result.stderr
    return result.exit_code


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
    shutil.move(small.output, small.home / "theirs")
    made = {path.name: path.read_bytes() for path in (partial(small) / "keys").iterdir()}
    result = small.call("run", small.script)  # it is signed: nobody types anything again
    assert result.exit_code == 0, result.output
    assert {path.name: path.read_bytes() for path in (small.output / "keys").iterdir()} == made


@pytest.mark.usefixtures("hasty")
def test_what_the_disk_garbled_is_not_given_to_anybody(small: Stage) -> None:
    """The output passes the audit before it gets its name."""

    def garble(act: str, path: Path) -> None:
        if act == "link" and path.name == "transcript.json":
            root = path.parent / "director" / "1.root.json"
            root.write_bytes(root.read_bytes().replace(b"2027", b"2037"))

    with watching(garble):
        result = small.call("run", small.script, *small.files[:4])
    assert result.exit_code == 20
    assert "director/1.root.json" in result.stderr
    assert not small.output.exists()


# Interruptions


def keys_of(directory: Path) -> dict[str, bytes]:
    """The private keys that were made so far, by name."""
    return {path.name: path.read_bytes() for path in directory.glob("keys/*.key.json")}


@pytest.mark.usefixtures("hasty")
def test_whenever_the_power_fails_the_same_command_finishes_with_the_same_keys(
    small: Stage, tmp_path: Path
) -> None:
    """Keep what a power cut before each step would leave, and go on from there."""
    worlds: list[Path] = []

    cuts, states = 0, set()

    def keep(_act: str, _path: Path) -> None:
        nonlocal cuts
        cuts += 1
        state = hash(tuple((p, p.is_file() and p.read_bytes()) for p in small.home.rglob("*")))
        if state not in states:  # a cut that leaves the same as another needs no second look
            states.add(state)
            worlds.append(Path(shutil.copytree(small.home, tmp_path / "worlds" / str(cuts))))

    with watching(keep):
        assert hold(small) == 0
    assert cuts > 150
    seen = {"nothing": 0, "begun": 0, "signed": 0, "whole": 0}
    for world in worlds:
        after = Stage(world)
        made = keys_of(partial(after)) or keys_of(after.output)
        if after.output.exists():
            seen["whole"] += 1
        else:
            began = (partial(after) / "journal").exists()
            signed = (partial(after) / "transcript.json").exists()
            seen["signed" if signed else "begun" if began else "nothing"] += 1
            assert hold(after) == 0
        assert not partial(after).exists()
        assert made.items() <= keys_of(after.output).items()
        # Every output was audited before it got its name. The transcript tells of interruptions.
        told = (after.output / "transcript.json").read_text()
        assert told.count('"resumed"') == (seen["begun"] > 0 and not seen["signed"])
    assert all(seen.values()), seen


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("act", ["mkdir", "make", "write", "sync", "link", "rename"])
def test_a_disk_that_fails_is_named_and_the_ceremony_goes_on(
    small: Stage, act: str, number: int
) -> None:
    def fail(found: str, _path: Path) -> None:
        if found == act:
            raise OSError(number, os.strerror(number))

    with watching(fail):
        result = small.call("run", small.script, *small.files[:4], "--json")
    assert result.exit_code == 30
    assert told(result)["outcome"] == "transient"
    assert result.stderr.count("\n") == 1
    assert not small.output.exists()
    made = keys_of(partial(small))
    assert hold(small) == 0
    assert made.items() <= keys_of(small.output).items()
    assert small.verify().exit_code == 0


@pytest.mark.usefixtures("hasty")
def test_a_journal_with_a_torn_line_goes_on_from_the_line_before(small: Stage) -> None:
    def cut(act: str, path: Path) -> None:
        if act == "link" and path.name == "transcript.json":
            raise PowerCut

    with watching(cut), pytest.raises(PowerCut):
        hold(small)
    journal = partial(small) / "journal"
    with journal.open("ab") as file:
        file.write(b'{"act":{"act":"confir')
    assert hold(small) == 0
    said = told(small.verify("--json"))
    assert [aside["by"] for aside in said["asides"]] == [None]


@pytest.mark.usefixtures("hasty")
def test_a_clock_that_went_back_is_mended_first(small: Stage) -> None:
    """Nothing is told under an earlier time; once the clock is right, it goes on."""
    times = iter([NOW] * 40)
    back = NOW - timedelta(seconds=1)
    slipping = small.at(clock=lambda: next(times, back))
    result = slipping.call("run", small.script, *small.files[:4], "--json")
    assert (result.exit_code, told(result)["reason"]) == (2, "clock_back"), result.output
    assert "set the clock by a watch in the room, and run this again" in result.stderr
    assert not small.output.exists()
    made = keys_of(partial(small))
    journal = (partial(small) / "journal").read_bytes()
    again = small.at(clock=lambda: back).call("run", small.script, *small.files[:4], "--json")
    assert told(again)["reason"] == "clock_back"
    assert (partial(small) / "journal").read_bytes() == journal
    assert hold(small) == 0
    assert made
    assert made.items() <= keys_of(small.output).items()
    assert small.verify().exit_code == 0


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("change", ["script", "passphrase", "journal"])
def test_a_ceremony_under_way_is_not_turned_into_another(small: Stage, change: str) -> None:
    def cut(act: str, path: Path) -> None:
        if act == "link" and path.name == "1.targets.json":
            raise PowerCut

    with watching(cut), pytest.raises(PowerCut):
        hold(small)
    made = keys_of(partial(small))
    if change == "script":
        small.edit('"A test may lose its roots."', '"Another thought."')
    elif change == "passphrase":
        (small.home / "bob.txt").write_text("another passphrase\n")
    else:
        text = (partial(small) / "journal").read_text()
        (partial(small) / "journal").write_text(text.replace("Bob Bach", "Eve Eder"))
    result = small.call("run", small.script, *small.files[:4], "--json")
    reasons = {"script": "other_ceremony", "passphrase": "wrong_passphrase"}
    assert told(result)["reason"] == reasons.get(change, "broken_chain"), result.output
    assert result.exit_code == (2 if change == "passphrase" else 20)
    assert keys_of(partial(small)) == made
    assert not small.output.exists()


@pytest.mark.usefixtures("hasty")
def test_a_ceremony_that_is_signed_is_not_finished_as_another(small: Stage) -> None:
    def cut(act: str, path: Path) -> None:
        if act == "rename" and path == small.output:
            raise PowerCut

    with watching(cut), pytest.raises(PowerCut):
        hold(small)
    assert (partial(small) / "transcript.json").exists()
    small.edit('"A test may lose its roots."', '"Another thought."')
    result = small.call("run", small.script, *small.files[:4], "--json")
    assert told(result)["reason"] == "other_ceremony", result.output
    assert not small.output.exists()


@pytest.mark.usefixtures("hasty")
def test_a_file_that_somebody_put_beside_the_work_is_not_given_to_anybody(small: Stage) -> None:
    partial(small).mkdir()
    (partial(small) / "notes.txt").write_text("theirs")
    result = small.call("run", small.script, *small.files[:4], "--json")
    assert (result.exit_code, told(result)["reason"]) == (20, "extra_file")
    assert "notes.txt" in result.stderr
    assert not small.output.exists()
    (partial(small) / "notes.txt").unlink()
    assert hold(small) == 0


def test_two_ceremonies_do_not_meet_in_one_directory(small: Stage) -> None:
    partial(small).mkdir()
    (partial(small) / "at work").write_text("")  # no ceremony makes such a file
    other = os.open(partial(small), os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        result = small.call("run", small.script, *small.files[:4])
        assert result.exit_code == 30
        assert "Another ceremony is at work" in result.stderr
        assert (partial(small) / "at work").exists()
    finally:
        os.close(other)
    (partial(small) / "at work").unlink()
    assert hold(small) == 0


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
    with pytest.raises(TransientError, match="Another ceremony"), media.under_way(output):
        raise AssertionError("entered")
    assert [path.name for path in output.iterdir()] == ["theirs"]


def test_a_link_in_place_of_the_working_directory_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("")
    (tmp_path / ".out.partial").symlink_to(elsewhere)
    with pytest.raises(TransientError), media.under_way(tmp_path / "out"):
        raise AssertionError("entered")
    assert (elsewhere / "file").exists()


def test_the_output_is_flushed_before_success_is_said(small: Stage) -> None:
    """Each file's bytes, then its name; the output's name last, and then its directory."""
    acts = acts_of(small)
    assert acts[-2:] == [("rename", small.output), ("sync_directory", small.home)]
    assert acts[-4:-2] == [
        ("link", partial(small) / "manifest.json"),
        ("sync_directory", partial(small)),
    ]
    linked = [path for act, path in acts if act == "link"]
    made = {path for path in small.output.rglob("*") if path.is_file()}
    assert {small.output / path.relative_to(partial(small)) for path in linked} == made


def test_an_error_in_the_work_is_not_taken_for_the_disks(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), media.under_way(tmp_path / "out"):
        raise BrokenPipeError
    assert list(tmp_path.iterdir()) == []


def test_conflicts_name_what_to_do(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with media.under_way(output) as directory:
        output.write_text("")
        with pytest.raises(ConflictError, match="Move it away"):
            media.finish(directory, output)
