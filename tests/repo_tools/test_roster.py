"""The roster: who runs the fleet."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from tuf.api.metadata import Metadata, Targets

from interlock_core.bundle import Bundle, Roots
from interlock_core.clock import system_clock
from interlock_core.directive import Directive, ProductDirective
from interlock_core.keys import load_public_key
from interlock_core.order import Stop
from interlock_core.roster import Roster, read_roster
from interlock_core.statement import sign
from interlock_core.tuf_metadata import issued_of
from interlock_core.wire import encode, format_time
from tests.repo_tools.world import (
    KEY_HOLDERS,
    OPERATORS,
    PRODUCT,
    ROSTER_HOLDERS,
    Said,
    World,
    role,
    tool,
)

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
    "two rules for one pattern": (RULE.format(pattern="*", start="{}"), "pattern_tie"),
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


# Its monthly renewal


def renew(world: World, event: Path, *words: str) -> Said:
    return tool(
        "renew-roster", "--event", event, "--repository", world.store.root, "--root",
        world.root_file, *words,
    )  # fmt: skip


def test_a_renewal_changes_the_number_and_the_time_alone(delegated: World, tmp_path: Path) -> None:
    before = delegated.in_force("roster", delegated.roster(), ROSTER_HOLDERS)
    made = renew(delegated, tmp_path / "e")
    assert made.code == 0, made.err
    old, new = (
        read_roster((event / "targets/interlock/roster.json").read_bytes())
        for event in (before, tmp_path / "e")
    )
    assert msgspec.structs.replace(new, seq=old.seq, issued=old.issued) == old
    assert new.seq == 2
    assert new.issued >= old.issued
    assert "What runs out" not in made.out
    assert "Who leaves" not in made.out
    for person in ROSTER_HOLDERS:
        assert delegated.sign(tmp_path / "e", person).code == 0
    delegated.put_in_force(tmp_path / "e")


def test_before_the_first_roster_there_is_nothing_to_renew(
    delegated: World, tmp_path: Path
) -> None:
    made = renew(delegated, tmp_path / "e", "--json")
    assert (made.code, made.answer["reason"]) == (20, "no_roster")


def grant_until(world: World, name: str, until: datetime) -> Path:
    path = world.roster()
    old = f'[[persons]]\nname = "{name}"\nkeys = ["keys/{name}.pub.json"]\n'
    text = path.read_text()
    head, _, tail = text.partition(old)
    path.write_text(head + old + tail.replace("2036-01-01T00:00:00Z", format_time(until), 1))
    return path


def test_expired_grants_are_not_carried_on_in_silence(
    delegated: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = system_clock().replace(microsecond=0)
    spec = grant_until(delegated, "amir", now + timedelta(days=2))
    delegated.in_force("roster", spec, ROSTER_HOLDERS)
    soon = renew(delegated, tmp_path / "soon")
    assert "What runs out within 60 days\n  - amir: operator over * until" in soon.out
    later = now + timedelta(days=3)
    monkeypatch.setattr("interlock_repo.cli.making.system_clock", lambda: later)
    refused = renew(delegated, tmp_path / "e", "--json")
    assert (refused.code, refused.answer["reason"]) == (20, "expired_grants")
    assert "amir operator since" in refused.err
    assert not (tmp_path / "e").exists()
    made = renew(delegated, tmp_path / "e", "--drop-expired")
    assert made.code == 0, made.err
    assert "Removed: person amir" in made.out


# Ties, and who leaves


def test_two_rules_for_one_pattern_are_named_with_their_lines(
    delegated: World, tmp_path: Path
) -> None:
    tie = (
        '[[rules]]\npattern = "ward-*"\nstart = {}\nadvance = {}\nresume = {}\nstop = []\n'
        "assign = {}\n"
    )
    spec = delegated.roster(extra=tie + tie)
    lines = [n for n, line in enumerate(spec.read_text().splitlines(), 1) if "ward-*" in line]
    made = delegated.make("roster", tmp_path / "e", spec, "--json")
    assert (made.code, made.answer["reason"]) == (20, "pattern_tie")
    assert f"(lines {lines[0]} and {lines[1]})" in made.err
    assert not (tmp_path / "e").exists()


def stopped(world: World, *authors: str) -> str:
    """The server shows a stop by each of them; returns the order."""
    order = "ab" * 32
    stops = tuple(
        sign(
            Stop(
                fleet="test-fleet", author=author, at=system_clock().replace(microsecond=0),
                reason="bad", order=order, cohort=None, site=None,
            ),
            world.signer(author),
        )
        for author in authors
    )  # fmt: skip
    entry = ProductDirective(order=None, authorisations=(), chain=(), stops=stops, assignments=())
    directive = Directive(fleet="test-fleet", cohort="wards", products={PRODUCT: entry})
    bundle = Bundle(
        cohort="wards",
        roots=Roots(image=1, director=1),
        files={f"/director/wards/targets/{'0' * 64}.directive.json": encode(directive).decode()},
    )
    world.store.replace("poll/wards", encode(bundle))
    return order


def test_who_leaves_and_whose_stops_are_signed_again(delegated: World, tmp_path: Path) -> None:
    delegated.in_force("roster", delegated.roster(), ROSTER_HOLDERS)
    order = stopped(delegated, "olivia", "anna")
    spec = delegated.roster(operators=("amir", "anna"))
    made = delegated.make("roster", tmp_path / "e", spec)
    assert made.code == 0, made.err
    assert "Who leaves, and whose stops another must sign again first\n  - olivia: stop" in made.out
    assert f"of order {order}" in made.out
    assert "interlock-ops rollout pause ORDER" in made.out
    assert "- anna" not in made.out.partition("Who leaves")[2]


def test_who_leaves_and_has_stopped_nothing(delegated: World, tmp_path: Path) -> None:
    delegated.in_force("roster", delegated.roster(), ROSTER_HOLDERS)
    stopped(delegated, "amir")
    spec = delegated.roster(operators=("amir", "anna"))
    made = delegated.make("roster", tmp_path / "e", spec)
    assert "- olivia: no stop of this person is shown" in made.out
    assert "pause ORDER" not in made.out


def test_directives_that_cannot_be_read_are_said_to_be(delegated: World, tmp_path: Path) -> None:
    delegated.in_force("roster", delegated.roster(), ROSTER_HOLDERS)
    delegated.store.replace("poll/wards", b"{")
    spec = delegated.roster(operators=("amir", "anna"))
    made = delegated.make("roster", tmp_path / "e", spec)
    assert made.code == 0, made.err
    assert "- olivia: the directives could not be read" in made.out


def test_new_holders_of_the_roster_sign_it_again(delegated: World, tmp_path: Path) -> None:
    delegated.in_force("roster", delegated.roster(), ROSTER_HOLDERS)
    spec = delegated.delegations(role("interlock", 2, "tess", "erik"))
    delegations = tmp_path / "d"
    assert delegated.make("delegate", delegations, spec, "--with-renewal").code == 0
    for person in KEY_HOLDERS[:2]:
        assert delegated.sign(delegations, person).code == 0
    made = renew(delegated, tmp_path / "r", "--after", str(delegations))
    assert made.code == 0, made.err
    for person in ("tess", "erik"):
        assert delegated.sign(tmp_path / "r", person).code == 0
    delegated.put_in_force(delegations, tmp_path / "r")
    assert renew(delegated, tmp_path / "r2").code == 0
