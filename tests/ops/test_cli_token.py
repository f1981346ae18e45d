"""An operator whose key lives in a PKCS#11 token (SoftHSM2) signs a statement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from interlock_core import tokens
from interlock_core.keybytes import PublicKey
from interlock_core.keys import load_public_key
from interlock_core.order import Order
from interlock_core.statement import open_as, read_envelope
from interlock_ops.cli import main
from interlock_ops.cli.edge import Edge
from interlock_ops.settings import CONFIG_VARIABLE
from tests.ops.world import OPS_ROSTER, Place, Served, StandIn, Ticking, build
from tests.support.tokens import PIN, Shelf, shelf_at, typing, use

URI = "hsm:2?label=olga"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(tokens, "_known_wrong", set())
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    made = use(shelf_at(tmp_path / "shelf"), monkeypatch)
    made.add("olga")
    return made


def run(*words: str | Path, prompt: typing, clock: Ticking | None = None) -> Result:
    edge = Edge(clock or Ticking(), at_terminal=lambda: False, prompt=prompt)
    return CliRunner().invoke(main, [str(word) for word in words], obj=edge)


def new(directory: Path, prompt: typing, *more: str | Path) -> Result:
    return run(
        "key", "new", "olga", "--directory", directory, "--token", URI, *more, "--json",
        prompt=prompt,
    )  # fmt: skip


@pytest.fixture
def place(shelf: Shelf, tmp_path: Path) -> Iterator[Place]:
    """A fleet whose roster knows olga by the key in her token."""
    made = new(tmp_path / "hers", typing(PIN))
    assert made.exit_code == 0, made.output
    public = load_public_key(tmp_path / "hers" / "olga.pub.json").key
    hers = tuple(
        msgspec.structs.replace(person, keys=(PublicKey.of(public),))
        if person.name == "olga"
        else person
        for person in OPS_ROSTER.persons
    )
    roster = msgspec.structs.replace(OPS_ROSTER, persons=hers)
    original = build(tmp_path / "fleet", roster)
    for half in ("key", "pub"):
        (tmp_path / "hers" / f"olga.{half}.json").replace(original.home / f"olga.{half}.json")
    clock = Ticking()
    stand_in = StandIn(roster, clock, original.store)
    served = Served(stand_in)
    try:
        yield Place(original.home, clock, stand_in, served.url)
    finally:
        served.close()


def propose(place: Place, prompt: typing) -> Result:
    return run(
        "rollout", "propose", place.order_file(), "--config", place.config("olga"),
        "--reason", "a good one", "--yes", "--output", place.home / "out.json", "--json",
        prompt=prompt, clock=place.clock,
    )  # fmt: skip


def test_a_statement_is_signed_in_the_token(place: Place) -> None:
    asked = typing(PIN)
    done = propose(place, asked)
    assert done.exit_code == 0, done.output
    # Once, though a challenge was answered too; and the passphrase file of the settings is no PIN.
    assert asked.asked == ["PIN of the token 'olga'"]
    envelope = read_envelope((place.home / "out.json").read_bytes().rstrip())
    opened = open_as(envelope, Order)
    assert opened.said.author == "olga"
    assert json.loads(done.stdout)["id"] == opened.id
    assert PIN not in done.output


def test_a_wrong_pin_signs_nothing(place: Place) -> None:
    asked = typing("000000")
    done = propose(place, asked)
    assert (done.exit_code, json.loads(done.stdout)["reason"]) == (2, "wrong_pin")
    assert len(asked.asked) == 1
    assert not (place.home / "out.json").exists()
    assert "000000" not in done.output


def test_the_token_is_out(place: Place, shelf: Shelf) -> None:
    shelf.take_out()
    done = propose(place, typing())
    assert (done.exit_code, json.loads(done.stdout)["reason"]) == (2, "no_token")


def test_where_the_key_lives_is_shown_and_no_passphrase_file_is_its_pin(
    shelf: Shelf, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not the PIN\n")
    secret.chmod(0o600)
    asked = typing(PIN)
    made = new(tmp_path / "keys", asked, "--passphrase-file", secret)
    assert made.exit_code == 0, made.output
    assert len(asked.asked) == 1
    shown = run("key", "show", tmp_path / "keys" / "olga.key.json", prompt=typing())
    assert "token 'olga', number 2 (hsm:2?label=olga)" in shown.output
