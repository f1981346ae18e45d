"""Keys of roles that are made inside a token (SoftHSM2, a real PKCS#11 token in software)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from interlock_core import keys
from interlock_core.durable import watching
from tests.keys_ceremony.chain import Chain
from tests.keys_ceremony.stage import Stage, told
from tests.keys_ceremony.test_media import PowerCut
from tests.support.tokens import PIN, Shelf, shelf_at, use


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = use(shelf_at(tmp_path / "shelf"), monkeypatch)
    shelf.add("carol")
    return shelf


def in_tokens(stage: Stage) -> None:
    stage.edit(
        '[director.root]\nholders = ["bob", "carol"]\nthreshold = 2\n',
        '[director.root]\nholders = ["bob", "carol"]\nthreshold = 2\n'
        'tokens = { carol = "hsm:1?label=carol" }\n',
    )


class Asked:
    """Answers for the token, and counts how often it was asked."""

    def __init__(self, pin: str = PIN) -> None:
        self.pin = pin
        self.words: list[str] = []

    def __call__(self, what: str) -> str:
        self.words.append(what)
        return self.pin


@pytest.mark.usefixtures("shelf")
def test_a_key_is_made_in_a_token_and_signs_again_later(stage: Stage) -> None:
    in_tokens(stage)
    asked = Asked()
    held = stage.at(prompt=asked)
    result = held.run("--json")
    assert result.exit_code == 0, result.output
    assert asked.words == ["PIN of the token 'carol'"]
    handle = stage.output / "keys" / "carol-director-root.key.json"
    assert json.loads(handle.read_bytes())["format"] == "interlock token key v1"
    told_of = (stage.output / "transcript.json").read_text()
    assert told_of.count('"in_token":true') == 1
    assert not any(PIN in path.read_text() for path in stage.output.rglob("*.json"))
    assert PIN not in result.output
    assert stage.verify().exit_code == 0
    chain = Chain(held)
    result = chain.change({"do": "renew", "role": "director.root"})
    assert result.exit_code == 0, result.output
    assert chain.newest("director") == 2


@pytest.mark.usefixtures("shelf")
def test_a_wrong_pin_ends_it_before_anything_was_made(stage: Stage) -> None:
    in_tokens(stage)
    before = stage.listing()
    result = stage.at(prompt=Asked("0000")).run("--json")
    assert (result.exit_code, told(result)["reason"]) == (2, "wrong_pin")
    assert stage.listing() == before


def test_a_token_that_is_not_there_is_named(stage: Stage, shelf: Shelf) -> None:
    in_tokens(stage)
    shelf.take_out()
    before = stage.listing()
    result = stage.at(prompt=Asked()).run()
    assert result.exit_code == 2
    assert "carol" in result.stderr
    assert stage.listing() == before


def cut_off_at(held: Stage, act: str, name: str) -> None:
    """Begin a ceremony, and let the power go at one write."""

    def cut(found: str, path: Path) -> None:
        if (found, path.name) == (act, name):
            raise PowerCut

    with watching(cut), pytest.raises(PowerCut):
        held.run()


@pytest.mark.usefixtures("shelf")
def test_an_interrupted_ceremony_makes_no_second_key_in_the_token(stage: Stage) -> None:
    in_tokens(stage)
    held = stage.at(prompt=Asked())
    cut_off_at(held, "link", "image-online.pub.json")
    partial = stage.home / ".out.partial" / "keys" / "carol-director-root.pub.json"
    made = partial.read_bytes()
    assert held.run().exit_code == 0
    assert (stage.output / "keys" / "carol-director-root.pub.json").read_bytes() == made


@pytest.mark.usefixtures("shelf")
def test_a_key_that_a_given_up_attempt_left_in_the_token_is_not_taken(
    stage: Stage, shelf: Shelf
) -> None:
    """Whoever had the token since may have used it."""
    in_tokens(stage)
    held = stage.at(prompt=Asked())
    cut_off_at(held, "link", "1.root.json")
    shutil.rmtree(stage.home / ".out.partial")
    result = held.run("--json")
    assert (result.exit_code, told(result)["reason"]) == (20, "token_key_exists")
    assert "carol-director-root already, under the number 1" in result.stderr
    assert "Destroy it with the token's own tool" in result.stderr
    assert not stage.output.exists()
    again = held.run("--json")  # nothing was written down that would make it this one's
    assert told(again)["reason"] == "token_key_exists"
    with shelf.inside("carol") as (_, session):
        for found in list(session.get_objects({})):
            found.destroy()
    assert held.run().exit_code == 0
    assert stage.verify().exit_code == 0


@pytest.mark.usefixtures("shelf")
def test_a_key_that_this_ceremony_began_is_taken_though_its_files_were_lost(stage: Stage) -> None:
    in_tokens(stage)
    held = stage.at(prompt=Asked())
    cut_off_at(held, "link", "carol-director-root.key.json")
    assert '"act":"token_checked"' in (stage.home / ".out.partial" / "journal").read_text()
    result = held.run()
    assert result.exit_code == 0, result.output
    assert stage.verify().exit_code == 0


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("at", ["carol-director-root.key.json", "1.targets.json"])
def test_whoever_gives_a_ceremony_up_is_told_of_the_keys_in_tokens(stage: Stage, at: str) -> None:
    """Of one too that the token was asked for, and whose handle nobody wrote."""
    in_tokens(stage)
    held = stage.at(prompt=Asked())
    cut_off_at(held, "link", at)
    result = held.call(
        *("abandon", held.script, "--by", "dana", "--reason", "Carol fell ill", "--json"),
        *("--absent", "carol", *held.files),
    )
    assert result.exit_code == 0, result.output
    token = {"key": "carol-director-root", "token": "hsm:1?label=carol"}
    assert told(result)["destroy_in_tokens"] == [token]
    assert "keys/carol-director-root.key.json" not in told(result)["destroy_files"]


@pytest.mark.usefixtures("shelf")
def test_a_rehearsal_leaves_nothing_in_a_token(stage: Stage, shelf: Shelf) -> None:
    in_tokens(stage)
    result = stage.call("rehearse", stage.script)
    assert result.exit_code == 0, result.output
    with shelf.inside("carol") as (_, session):
        assert list(session.get_objects({})) == []


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        ('{ carol = "hsm:x" }', "tokens.carol: "),
        ('{ dana = "hsm:1" }', "tokens.dana: this is no holder of the role"),
        (
            '{ carol = "hsm:1" }\nschemes = { carol = "ml-dsa-65/1" }',
            "schemes.carol: a key of kind 'ml-dsa-65/1' is not made in a token",
        ),
    ],
)
def test_what_makes_no_sense_is_said_by_line(stage: Stage, tokens: str, says: str) -> None:
    old = '[director.root]\nholders = ["bob", "carol"]\nthreshold = 2\n'
    assert says in stage.refused(old, f"{old}tokens = {tokens}\n")


def test_one_number_keeps_one_key(stage: Stage) -> None:
    stage.edit("lifetime_days = 200", 'tokens = { alice = "hsm:1", bob = "hsm:2" }')
    old = '[director.root]\nholders = ["bob", "carol"]\nthreshold = 2\n'
    said = stage.refused(old, f'{old}tokens = {{ bob = "hsm:2" }}\n')
    assert "holds another key of this script; use another number" in said


def test_keys_new_makes_a_pair_for_a_witness(stage: Stage) -> None:
    home = stage.home / "attending"
    words = ("key", "new", "dana", "--directory", home)
    made = stage.call(*words, "--passphrase-file", stage.home / "dana.txt", "--json")
    assert made.exit_code == 0, made.output
    assert keys.load_public_key(home / "dana.pub.json").name == "dana"
    stage.edit("[persons]", '[attendance]\ndana = "attending/dana.pub.json"\n\n[persons]')
    assert "dana.key.json. Pass --key" in stage.refused()
    result = stage.run("--key", str(home))
    assert result.exit_code == 0, result.output
    assert not (stage.output / "keys" / "dana.key.json").exists()
    (signed,) = [key for key in told(stage.verify("--json"))["keys"] if key["came"] == "attends"]
    assert (signed["name"], signed["fingerprint"]) == ("dana", told(made)["fingerprint"])
