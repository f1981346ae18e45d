"""A signing event signed with keys in PKCS#11 tokens, by people at real terminals (SoftHSM2)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interlock_core.keys import load_public_key
from interlock_repo.copies import open_copies
from tests.repo_tools.world import MEANT, World, role, tool
from tests.support.tokens import PIN, Shelf, Typed, at_terminal, shelf_at

REPO = Path(sys.executable).with_name("interlock-repo")
ASKED = "PIN of the token '"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    made = shelf_at(tmp_path / "shelf")
    for person in ("kim", "kay"):
        made.add(person)
    return made


def environment(shelf: Shelf) -> dict[str, str]:
    return {**os.environ, **shelf.environment, "COLUMNS": "200", "TERM": "dumb"}


def typed(shelf: Shelf, *words: str | Path, pin: str = PIN) -> Typed:
    return at_terminal([REPO, *words], [(ASKED, pin)], env=environment(shelf))


def alone(shelf: Shelf, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Without a terminal."""
    return subprocess.run(
        [str(REPO), *map(str, words)],
        env=environment(shelf),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )


def new(person: str, directory: Path) -> tuple[str | Path, ...]:
    return ("key", "new", person, "--directory", directory, "--token", f"hsm:2?label={person}")


def test_a_release_is_signed_with_two_tokens(
    delegated: World, shelf: Shelf, tmp_path: Path
) -> None:
    for person in ("kim", "kay"):
        made = typed(shelf, *new(person, delegated.keys))
        assert made.code == 0, made.screen
        assert PIN not in made.screen
        assert f"lives in     token '{person}', number 2" in made.screen
        assert load_public_key(delegated.public(person)).key.scheme == "ecdsa-sha2-nistp256"
    text = role("products.bridge", 2, "kim", "kay")
    delegated.in_force("delegate", delegated.delegations(text), ("ada", "ben"))
    event = tmp_path / "event"
    assert delegated.make("stage", event, delegated.release(product='"bridge"')).code == 0
    for person in ("kim", "kay"):
        key = delegated.private(person)
        said = typed(shelf, "sign", event, "--key", key, *MEANT, "--yes")
        assert said.code == 0, said.screen
        assert PIN not in said.screen
    _, tally = open_copies([event])
    assert (tally.needed, {one.file.person for one in tally.signed}) == (0, {"kim", "kay"})
    for path in event.rglob("*"):
        assert not path.is_file() or PIN.encode() not in path.read_bytes()
    shown = tool("key", "show", delegated.private("kim"), "--json").answer
    assert shown["lives_in"].startswith("token 'kim', number 2 (hsm:2?label=kim)")


def test_a_wrong_pin_makes_nothing(delegated: World, shelf: Shelf) -> None:
    wrong = typed(shelf, *new("kim", delegated.keys), pin="000000")
    assert wrong.code == 2
    assert "[wrong_pin]" in wrong.screen
    assert "000000" not in wrong.screen
    assert not delegated.private("kim").exists()
    assert wrong.screen.count("'kim': ") == 1  # nobody is asked again
    assert typed(shelf, *new("kim", delegated.keys)).code == 0


def test_nobody_at_a_terminal_is_no_pin_whatever_else_is_given(
    shelf: Shelf, tmp_path: Path
) -> None:
    """Not from a file, an argument or a variable: a PIN is typed."""
    secret = tmp_path / "pin"
    secret.write_text(PIN + "\n")
    secret.chmod(0o600)
    for more in ((), ("--passphrase-file", secret)):
        done = alone(shelf, *new("kim", tmp_path / "keys"), *more, "--json")
        assert done.returncode == 2
        assert json.loads(done.stdout)["reason"] == "no_passphrase"
        assert "typed by whoever holds the token" in done.stderr
    assert not (tmp_path / "keys" / "kim.key.json").exists()


def test_a_token_that_is_out_is_named(shelf: Shelf, tmp_path: Path) -> None:
    shelf.take_out()
    done = alone(shelf, *new("kim", tmp_path / "keys"), "--json")
    assert (done.returncode, json.loads(done.stdout)["reason"]) == (2, "no_token")
    assert "token 'kim'" in done.stderr
