"""The roster: who runs the fleet."""

from __future__ import annotations

from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Targets

from interlock_core.keys import load_public_key
from interlock_core.roster import Roster, read_roster
from interlock_core.tuf_metadata import issued_of
from tests.repo_tools.world import OPERATORS, ROSTER_HOLDERS, World

PERSON = (
    '[[persons]]\nname = "{name}"\nkeys = ["keys/{file}.pub.json"]\n'
    'grants = [{{ role = "operator", cohorts = ["*"], expires = "2036-01-01T00:00:00Z" }}]\n'
)
RULE = (
    '[[rules]]\npattern = "{pattern}"\nstart = {start}\nadvance = {{}}\nresume = {{}}\n'
    "stop = []\nassign = {{}}\n"
)


def roster(event: Path) -> Roster:
    return read_roster((event / "targets" / "interlock" / "roster.json").read_bytes())


def test_the_first_roster(delegated: World, tmp_path: Path) -> None:
    made = delegated.make("roster", tmp_path / "r", delegated.roster())
    assert made.code == 0, made.err
    first = roster(tmp_path / "r")
    assert (first.seq, first.fleet) == (1, "test-fleet")
    assert [person.name for person in first.persons] == list(OPERATORS)
    key = load_public_key(delegated.public("olivia")).key
    assert first.persons[0].keys[0].keyid == key.keyid
    metadata = Metadata[Targets].from_file(str(tmp_path / "r" / "metadata" / "1.interlock.json"))
    assert issued_of(metadata.signed) == first.issued
    assert (metadata.signed.expires - first.issued).days == 35


def test_the_next_roster_says_what_changes(delegated: World, tmp_path: Path) -> None:
    delegated.in_force("roster", delegated.roster(), ROSTER_HOLDERS)
    spec = delegated.roster(
        operators=("olivia", "amir"), extra="[min_order_seq]\nward-gateway = 5\n"
    )
    spec.write_text(spec.read_text().replace("advance = {}", "advance = { approver = 2 }"))
    made = delegated.make("roster", tmp_path / "r", spec)
    assert made.code == 0, made.err
    assert roster(tmp_path / "r").seq == 2
    assert "~ number: 1 -> 2" in made.out
    assert "Removed: person anna" in made.out
    assert "+ orders of ward-gateway: refused below number 5" in made.out
    assert "~ advance: the author alone -> the author and 2 other approver" in made.out
    assert "person olivia" not in made.out
    for holder in ROSTER_HOLDERS:
        assert delegated.sign(tmp_path / "r", holder).code == 0
    delegated.put_in_force(tmp_path / "r")
    assert delegated.make("roster", tmp_path / "again", spec).code == 0
    assert roster(tmp_path / "again").seq == 3


def test_a_grant_for_one_site_is_shown_as_no_wider(delegated: World, tmp_path: Path) -> None:
    spec = delegated.roster()
    wide, narrow = 'cohorts = ["*"], expires', 'cohorts = ["*"], sites = ["st-mary"], expires'
    spec.write_text(spec.read_text().replace(wide, narrow, 1))
    made = delegated.make("roster", tmp_path / "r", spec)
    assert made.code == 0, made.err
    assert made.out.count("operator over * at st-mary only until") == 1
    assert roster(tmp_path / "r").persons[0].grants[0].sites == ("st-mary",)


REFUSED = {
    "two persons, one key": (PERSON.format(name="amir", file="olivia"), "wrong_person"),
    "one person twice": (PERSON.format(name="olivia", file="amir"), "wrong_person"),
    "a person listed twice": (PERSON.format(name="anna", file="anna"), "malformed"),
    "two rules for one pattern": (RULE.format(pattern="*", start="{}"), "malformed"),
    "the monitor authorises": (
        RULE.format(pattern="x", start="{ monitor = 1 }"),
        "malformed",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name_and_nothing_is_made(delegated: World, tmp_path: Path, case: str) -> None:
    extra, reason = REFUSED[case]
    made = delegated.make("roster", tmp_path / "r", delegated.roster(extra=extra), "--json")
    assert (made.code, made.answer["reason"]) == (20, reason), made.err
    assert not (tmp_path / "r").exists()


def test_the_fleet_never_changes(delegated: World, tmp_path: Path) -> None:
    delegated.in_force("roster", delegated.roster(), ROSTER_HOLDERS)
    spec = delegated.roster()
    spec.write_text(spec.read_text().replace("test-fleet", "other-fleet"))
    made = delegated.make("roster", tmp_path / "r", spec, "--json")
    assert (made.code, made.answer["reason"]) == (20, "wrong_fleet")


def test_without_holders_there_is_no_roster(world: World, tmp_path: Path) -> None:
    made = world.make("roster", tmp_path / "r", world.roster(), "--json")
    assert (made.code, made.answer["reason"]) == (20, "unknown_role")


def test_a_time_must_be_in_utc(delegated: World, tmp_path: Path) -> None:
    spec = delegated.roster()
    spec.write_text(spec.read_text().replace("00:00:00Z", "00:00:00+02:00"))
    made = delegated.make("roster", tmp_path / "r", spec)
    assert made.code == 2
    assert "UTC" in made.err
