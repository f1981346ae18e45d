"""Passphrases: from files and from people, and never a key before all of them are good."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock_core import keys
from tests.keys_ceremony.stage import PEOPLE, Stage, answers, passphrase, secret

TYPED = tuple(words for holder in PEOPLE for words in (passphrase(holder),) * 2)


def asked(stage: Stage, *typed: str, files: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run with these answers at the prompt; nothing may have been made on failure."""
    before = stage.listing()
    result = stage.at(prompt=answers(*typed)).call("run", stage.script, *files)
    if result.exit_code:
        assert stage.listing() == before
        assert result.stderr.count("\n") == 1
    return result.exit_code, result.stderr


def test_every_holder_types_twice(stage: Stage) -> None:
    assert asked(stage, *TYPED) == (0, "")
    for holder in ("alice", "carol"):
        path = stage.output / "keys" / f"{holder}-image-root.key.json"
        keys.load_signer(path, secret(passphrase(holder)))


def test_files_and_people_mix(stage: Stage) -> None:
    files = ("--passphrase-file", f"bob={stage.home / 'bob.txt'}")
    people = ("alice", "carol", "dana")
    typed = tuple(words for holder in people for words in (passphrase(holder),) * 2)
    assert asked(stage, *typed, files=files) == (0, "")


def test_a_slip_is_found(stage: Stage) -> None:
    code, error = asked(stage, *TYPED[:3], "another passphrase")
    assert code == 2
    assert "The two passphrases differ" in error


@pytest.mark.parametrize(("typed", "says"), [("short", "too short"), ("", "is empty")])
def test_too_short(stage: Stage, typed: str, says: str) -> None:
    code, error = asked(stage, *TYPED[:4], typed, typed)
    assert code == 2
    assert says in error
    assert "carol" in error


def test_nobody_to_ask(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock_core.credentials.os.open", _no_terminal)
    before = stage.listing()
    result = stage.call("run", stage.script, *stage.files[:4])
    assert result.exit_code == 2
    assert "carol gave no passphrase" in result.stderr
    assert "--passphrase-file carol=FILE" in result.stderr
    assert stage.listing() == before


def _no_terminal(*_: object) -> int:
    raise OSError


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("alice", "must read HOLDER=FILE"),
        ("=a.txt", "must read HOLDER=FILE"),
        ("alice=", "must read HOLDER=FILE"),
        ("Alice=a.txt", "must read HOLDER=FILE"),
        ("zoe=a.txt", "'zoe', who holds no key in this script"),
        ("erik=a.txt", "the holders are alice, bob, carol, dana"),
        ("alice=nothing.txt", "There is no passphrase file"),
    ],
)
def test_options_that_make_no_sense(stage: Stage, option: str, says: str) -> None:
    before = stage.listing()
    result = stage.call("run", stage.script, "--passphrase-file", option)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
    assert stage.listing() == before


def test_a_holder_twice(stage: Stage) -> None:
    result = stage.run("--passphrase-file", "alice=b.txt")
    assert result.exit_code == 2
    assert "alice stands twice" in result.stderr


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "is empty"), (b"short\n", "too short"), (b"\xff\xff", "look like")]
)
def test_files_that_hold_no_passphrase(stage: Stage, content: bytes, says: str) -> None:
    (stage.home / "carol.txt").write_bytes(content)
    error = stage.refused()
    assert says in error
    assert error.count("\n") == 1


def test_a_file_that_others_can_read(stage: Stage) -> None:
    (stage.home / "carol.txt").chmod(0o644)
    assert "chmod 600" in stage.refused()


def test_no_error_shows_a_passphrase(stage: Stage) -> None:
    (stage.home / "carol.txt").write_text("sh0rt")
    assert "sh0rt" not in stage.refused()


def test_the_script_is_checked_before_anybody_is_asked(stage: Stage, tmp_path: Path) -> None:
    stage.edit("threshold = 2", "threshold = 9")

    def never(_: str) -> str:
        raise AssertionError("asked for a passphrase")

    result = stage.at(prompt=never).call("run", stage.script)
    assert result.exit_code == 2
    assert "image.root.threshold" in result.stderr
    assert tmp_path.exists()
