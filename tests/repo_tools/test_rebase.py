"""A stale event becomes a new one by one command; what changed after a signature is explained."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Targets

from interlock_core import wire
from interlock_core.clock import system_clock
from interlock_core.released import permits
from interlock_core.tuf_metadata import serialise
from interlock_repo.event import event_files
from tests.repo_tools.test_event import edited, files
from tests.repo_tools.world import (
    KEY_HOLDERS,
    PRODUCT,
    ROSTER_HOLDERS,
    Said,
    World,
    role,
    tool,
)

MANAGERS = ("rosa", "raul")


def rebase(world: World, old: Path, new: Path, *words: str) -> Said:
    return tool(
        "rebase", old, "--event", new, "--repository", world.store.root, "--root",
        world.root_file, *words,
    )  # fmt: skip


def exchanged(event: Path, changes: dict[str, object]) -> None:
    """Change the specification in an event, and whatever says that it is the one."""
    for folder in ("signatures", "signed"):
        shutil.rmtree(event / folder, ignore_errors=True)
    spec = json.loads((event / "spec.json").read_bytes())
    spec["spec"] |= changes
    (event / "spec.json").write_bytes(wire.encode(spec))
    file = json.loads((event / "event.json").read_bytes())
    file["spec_sha256"] = wire.sha256_hex((event / "spec.json").read_bytes())
    (event / "event.json").write_bytes(wire.encode(file))


@pytest.fixture
def stale(delegated: World, tmp_path: Path) -> Path:
    """Version 1 of the product, signed once, after another version 1 was published."""
    event = tmp_path / "stale"
    images = '[{ file = "fw.img", name = "a.img" }]'
    spec = delegated.release("1.1.0", 2, {"notes": None, "images": images})
    assert delegated.make("stage", event, spec, "--lifetime-days", "100").code == 0
    assert delegated.sign(event, "rosa", "--reason", "run 118").code == 0
    delegated.in_force("stage", delegated.release(), MANAGERS)
    return event


class TestRebase:
    def test_the_same_release_follows_what_is_in_force(
        self, stale: Path, delegated: World, tmp_path: Path
    ) -> None:
        before = {name: (stale / name).read_bytes() for name in files(stale)}
        shutil.rmtree(delegated.place / "release-1.1.0")  # the event carries all that it needs
        said = rebase(delegated, stale, tmp_path / "new", "--json")
        assert said.code == 0, said.err
        assert (said.answer["version"], said.answer["needed"]) == (2, 2)
        metadata = Metadata[Targets].from_file(str(tmp_path / f"new/metadata/2.{PRODUCT}.json"))
        assert f"{PRODUCT}/1.1.0/a.img" in metadata.signed.targets
        assert f"{PRODUCT}/1.0.0/fw.img" in metadata.signed.targets
        assert not list((tmp_path / "new" / "signatures").iterdir())
        assert {name: (stale / name).read_bytes() for name in files(stale)} == before
        for name in MANAGERS:
            assert delegated.sign(tmp_path / "new", name).code == 0
        delegated.put_in_force(tmp_path / "new")

    def test_it_says_what_changed_and_whose_signature_is_void(
        self, stale: Path, delegated: World, tmp_path: Path
    ) -> None:
        said = rebase(delegated, stale, tmp_path / "new")
        assert f"makes: {PRODUCT} 1 -> {PRODUCT} 2" in said.out
        assert f"base/1.{PRODUCT}.json" in said.out
        assert f"Added: {PRODUCT}/1.0.0/fw.img" in said.out
        assert "Void signatures" in said.out
        assert "rosa approved at " in said.out
        assert "run 118: void" in said.out

    def test_the_lifetime_is_the_one_that_was_asked_for(
        self, stale: Path, delegated: World, tmp_path: Path
    ) -> None:
        def days(said: Said) -> int:
            return (datetime.fromisoformat(said.answer["expires"]) - system_clock()).days

        assert days(rebase(delegated, stale, tmp_path / "new", "--json")) in {99, 100}
        words = ("--json", "--lifetime-days", "10")
        assert days(rebase(delegated, stale, tmp_path / "other", *words)) in {9, 10}

    def test_what_rests_on_what_is_in_force_needs_none(
        self, staged: Path, delegated: World, tmp_path: Path
    ) -> None:
        said = rebase(delegated, staged, tmp_path / "new", "--json")
        assert (said.code, said.answer["reason"]) == (20, "not_stale")
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize(
        ("version", "counter", "reason"),
        [("1.1.0", 1, "target_changed"), ("1.2.0", 2, "counter_not_raised")],
    )
    def test_an_intent_that_no_longer_applies(
        self, delegated: World, tmp_path: Path, version: str, counter: int, reason: str
    ) -> None:
        delegated.make("stage", tmp_path / "old", delegated.release("1.1.0", 2))
        delegated.in_force("stage", delegated.release(version, counter), MANAGERS)
        said = rebase(delegated, tmp_path / "old", tmp_path / "new", "--json")
        assert (said.code, said.answer["reason"]) == (20, reason)
        assert not (tmp_path / "new").exists()

    def test_an_older_copy_of_the_repository_is_refused(
        self, delegated: World, tmp_path: Path, people: Path
    ) -> None:
        old = delegated.copied(tmp_path / "old-world")
        delegated.in_force("stage", delegated.release(), MANAGERS)
        delegated.make("stage", tmp_path / "e", delegated.release("1.1.0", 2))
        said = rebase(old, tmp_path / "e", tmp_path / "new", "--json")
        assert (said.code, said.answer["reason"]) == (20, "rollback")

    def test_a_specification_that_was_exchanged_is_refused(
        self, stale: Path, delegated: World, tmp_path: Path
    ) -> None:
        """Nobody signs it, so it must give what people were shown."""
        exchanged(stale, {"raises_floor_to": 2})
        assert tool("review", stale).code == 0
        said = rebase(delegated, stale, tmp_path / "new", "--json")
        assert (said.code, said.answer["reason"]) == (20, "event_damaged")
        assert "spec.json" in said.err

    def test_delegations_of_other_roles_stand_side_by_side(
        self, delegated: World, tmp_path: Path
    ) -> None:
        text = role("products.bridge", 1, "sven")
        delegated.make("delegate", tmp_path / "old", delegated.delegations(text))
        other = role("products.pump", 1, "erik")
        delegated.in_force("delegate", delegated.delegations(other), KEY_HOLDERS[:2])
        delegated.public("sven").unlink()  # it travels in the event
        said = rebase(delegated, tmp_path / "old", tmp_path / "new", "--json")
        assert said.code == 0, said.err
        made = Metadata[Targets].from_file(str(tmp_path / "new" / "metadata" / "4.targets.json"))
        assert made.signed.delegations is not None
        assert {"bridge", "pump"} <= (made.signed.delegations.roles or {}).keys()

    def test_a_role_that_somebody_changed_meanwhile(self, delegated: World, tmp_path: Path) -> None:
        text = role(f"products.{PRODUCT}", 2, "rosa", "raul")
        delegated.make("delegate", tmp_path / "old", delegated.delegations(text))
        other = role(f"products.{PRODUCT}", 3, "rosa", "raul", "rita")
        delegated.in_force("delegate", delegated.delegations(other), KEY_HOLDERS[:2])
        said = rebase(delegated, tmp_path / "old", tmp_path / "new", "--json")
        assert (said.code, said.answer["reason"]) == (20, "intent_overtaken")
        assert PRODUCT in said.err

    def test_a_roster_that_somebody_changed_meanwhile(
        self, delegated: World, tmp_path: Path
    ) -> None:
        delegated.in_force("roster", delegated.roster(), ROSTER_HOLDERS)
        delegated.make("roster", tmp_path / "old", delegated.roster(operators=("olivia", "amir")))
        # The same again, with a new number only: nothing is undone.
        delegated.in_force("roster", delegated.roster(), ROSTER_HOLDERS)
        said = rebase(delegated, tmp_path / "old", tmp_path / "new")
        assert said.code == 0, said.err
        assert "number: 2 -> 3" in said.out
        delegated.in_force("roster", delegated.roster(operators=("olivia",)), ROSTER_HOLDERS)
        said = rebase(delegated, tmp_path / "old", tmp_path / "newer", "--json")
        assert (said.code, said.answer["reason"]) == (20, "intent_overtaken")

    def test_an_event_that_changed_after_it_was_signed_has_no_intent(
        self, stale: Path, delegated: World, tmp_path: Path
    ) -> None:
        edited(stale, lambda _: None)
        event = json.loads((stale / "event.json").read_bytes())
        event["spec_sha256"] = "0" * 64
        (stale / "event.json").write_bytes(wire.encode(event))
        said = rebase(delegated, stale, tmp_path / "new", "--json")
        assert (said.code, said.answer["reason"]) == (20, "event_changed")


def _floor(targets: Targets) -> None:
    custom = targets.targets[f"{PRODUCT}/1.0.0/fw.img"].custom
    assert custom is not None
    custom["release_counter"] = 7
    targets.unrecognized_fields["side"] = "channel"


class TestChanged:
    def everybody_is_told(self, world: World, event: Path, *words: str) -> None:
        """By every command that looks at the event; nobody's signature counts, none is added."""
        server = ("--server", "http://127.0.0.1:9")
        before = files(event)
        for said in (
            tool("review", event),
            tool("status", event),
            world.sign(event, "raul"),
            tool("publish", event, *server),
        ):
            assert said.code == 20, said.err
            assert "[event_changed]" in said.err
            for word in words:
                assert word in said.err, (word, said.err)
        assert files(event) == before

    def test_a_fact_from_what_to_what(self, staged: Path, delegated: World) -> None:
        delegated.sign(staged, "rosa", "--meaning", "reviewed", "--reason", "run 118")
        edited(staged, _floor)
        self.everybody_is_told(
            delegated,
            staged,
            f"Changed: {PRODUCT}/1.0.0/fw.img",
            "release_counter: 1 -> 7",
            'signed field side: "channel"',
            "rosa reviewed at ",
            "run 118: void",
        )

    def test_metadata_that_was_edited_and_nothing_else(
        self, staged: Path, delegated: World
    ) -> None:
        delegated.sign(staged, "rosa", "--reason", "run 118")
        file = staged / "metadata" / f"1.{PRODUCT}.json"
        file.write_bytes(file.read_bytes().replace(b"cg-200", b"cg-999"))
        self.everybody_is_told(delegated, staged, "hardware_ids: cg-200 -> cg-999", "run 118: void")

    def test_machines_are_told_the_same(self, staged: Path, delegated: World) -> None:
        delegated.sign(staged, "rosa", "--reason", "run 118")
        edited(staged, _floor)
        answer = tool("status", staged, "--json").answer
        assert answer["reason"] == "event_changed"
        assert [(one["person"], one["reason"]) for one in answer["void"]] == [("rosa", "run 118")]
        lines = [line for section in answer["changes"] for line in section["lines"]]
        assert {"mark": "~", "what": "release_counter", "old": "1", "new": "7"} in lines

    def test_the_base_counts_too(self, staged: Path, delegated: World) -> None:
        """Not only what TUF signs: a signature is for all that the person was shown."""
        delegated.sign(staged, "rosa")
        name = "2.targets.json"
        base = staged / "base" / name
        metadata = Metadata[Targets].from_bytes(base.read_bytes())
        metadata.signatures.popitem()
        metadata.sign(delegated.signer("cleo"), append=True)
        base.write_bytes(serialise(metadata))
        event = json.loads((staged / "event.json").read_bytes())
        event["base"][name] = wire.sha256_hex(base.read_bytes())
        (staged / "event.json").write_bytes(wire.encode(event))
        self.everybody_is_told(delegated, staged, f"base/{name}: ")

    def test_a_person_of_the_roster(self, delegated: World, tmp_path: Path) -> None:
        event, other = tmp_path / "e", tmp_path / "other"
        delegated.make("roster", event, delegated.roster())
        delegated.sign(event, "tom")
        delegated.make("roster", other, delegated.roster(operators=("olivia", "amir", "erik")))
        for folder in ("signatures", "signed"):
            shutil.copytree(event / folder, other / folder, dirs_exist_ok=True)
        self.everybody_is_told(
            delegated, other, "Added: person erik", "Removed: person anna", "tom approved"
        )

    def test_facts_that_cannot_be_read_are_told_all_the_same(
        self, staged: Path, delegated: World
    ) -> None:
        def spoil(targets: Targets) -> None:
            custom = targets.targets[f"{PRODUCT}/1.0.0/fw.img"].custom
            assert custom is not None
            custom["markets"] = 5

        delegated.sign(staged, "rosa")
        edited(staged, spoil)
        self.everybody_is_told(delegated, staged, "custom.markets: 5")

    def test_without_the_copy_one_is_told_as_much_as_is_known(
        self, staged: Path, delegated: World
    ) -> None:
        delegated.sign(staged, "rosa", "--reason", "run 118")
        shutil.rmtree(staged / "signed")
        edited(staged, _floor)
        self.everybody_is_told(delegated, staged, "rosa approved at ", "run 118: void")

    def test_a_copy_that_comes_while_one_reads_is_there(
        self, staged: Path, delegated: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another person signs at this moment: her signature was listed, the copy not yet."""
        delegated.sign(staged, "rosa")
        listed = {name for name in event_files(staged) if not name.startswith("signed/")}
        monkeypatch.setattr("interlock_repo.reading.event_files", lambda _: listed)
        assert tool("review", staged).code == 0

    def test_a_copy_that_lies_is_named(self, staged: Path, delegated: World) -> None:
        delegated.sign(staged, "rosa")
        [copy] = (staged / "signed").iterdir()
        stated = json.loads(copy.read_bytes())
        stated["metadata"] = stated["metadata"].replace(
            '"release_counter":1', '"release_counter":2'
        )
        copy.write_bytes(wire.encode(stated))
        said = tool("review", staged, "--json")
        assert (said.code, said.answer["reason"]) == (20, "event_damaged")
        assert copy.name in said.err

    def test_copies_of_two_versions_are_told_apart(
        self, staged: Path, delegated: World, tmp_path: Path
    ) -> None:
        delegated.make("stage", tmp_path / "other", delegated.release("1.0.0", 9))
        delegated.sign(staged, "rosa")
        delegated.sign(tmp_path / "other", "raul", "--reason", "mine")
        said = tool("status", staged, tmp_path / "other", "--merge")
        assert (said.code, "[different_events]" in said.err) == (20, True)
        assert "release_counter: 1 -> 9" in said.err
        assert "raul approved at " in said.err
        assert "mine: void" in said.err
        assert len(list((staged / "signatures").iterdir())) == 1


class TestAmending:
    """Withdrawals, permits and renewals are made again like everything else."""

    @pytest.fixture
    def released(self, delegated: World) -> World:
        """Three releases, each with a floor below it, and a roster."""
        delegated.in_force("roster", delegated.roster(), ROSTER_HOLDERS)
        for version, counter in (("1.0.0", 1), ("1.1.0", 2), ("1.2.0", 3)):
            delegated.in_force("stage", delegated.release(version, counter), MANAGERS)
        return delegated

    def moved_on(self, world: World) -> None:
        world.in_force("stage", world.release("1.3.0", 4), MANAGERS)

    def made(self, world: World, event: Path, act: str, *words: str | Path) -> None:
        said = tool(
            act, "--event", event, "--repository", world.store.root, "--root", world.root_file,
            *words,
        )  # fmt: skip
        assert said.code == 0, said.err

    def test_a_withdrawal(self, released: World, tmp_path: Path) -> None:
        self.made(released, tmp_path / "old", "withdraw", "--reason", "it is bad", PRODUCT, "1.1.0")
        self.moved_on(released)
        said = rebase(released, tmp_path / "old", tmp_path / "new")
        assert said.code == 0, said.err
        assert "it is bad" in said.out
        assert f"makes: {PRODUCT} 4 -> {PRODUCT} 5" in said.out
        assert rebase(released, tmp_path / "old", tmp_path / "again").code == 0
        for name in MANAGERS:
            assert released.sign(tmp_path / "new", name).code == 0
        released.put_in_force(tmp_path / "new")
        said = rebase(released, tmp_path / "old", tmp_path / "third", "--json")
        assert (said.code, said.answer["outcome"]) == (20, "refused")

    def test_a_renewal(self, released: World, tmp_path: Path) -> None:
        self.made(released, tmp_path / "old", "renew", PRODUCT)
        self.moved_on(released)
        said = rebase(released, tmp_path / "old", tmp_path / "new", "--json")
        assert (said.code, said.answer["kind"], said.answer["version"]) == (0, "renewal", 5)

    def test_what_a_permit_event_revokes_is_what_people_were_shown(
        self, released: World, tmp_path: Path
    ) -> None:
        spec = released.place / "permit.toml"
        head = f'product = "{PRODUCT}"\n'
        move = (
            '[[permits]]\nfrom = "1.2.0"\nto = "1.0.0"\norder = "{}"\n'
            'cohorts = ["wards"]\nexpires = 2035-01-01T00:00:00Z\n'
        )
        spec.write_text(head + move.format("ab" * 32) + move.format("cd" * 32))
        released.in_force("permit", spec, MANAGERS)
        text = released.store.get(f"image/metadata/4.{PRODUCT}.json")
        one, other = sorted(permits(Metadata[Targets].from_bytes(text).signed))
        spec.write_text(f'{head}revoke = ["{one}"]\n')
        self.made(released, tmp_path / "old", "permit", spec)
        self.moved_on(released)
        assert rebase(released, tmp_path / "old", tmp_path / "new").code == 0
        for revoke in ([other], [one, other]):
            exchanged(tmp_path / "old", {"revoke": revoke})
            said = rebase(released, tmp_path / "old", tmp_path / "third", "--json")
            assert (said.code, said.answer["reason"]) == (20, "event_damaged")
            assert other in said.err
            assert not (tmp_path / "third").exists()

    def test_a_permit(self, released: World, tmp_path: Path) -> None:
        spec = released.place / "permit.toml"
        spec.write_text(
            f'product = "{PRODUCT}"\n[[permits]]\nfrom = "1.2.0"\nto = "1.0.0"\n'
            f'order = "{"a" * 64}"\ndevices = ["GW-1"]\nexpires = 2036-01-01T00:00:00Z\n'
        )
        self.made(released, tmp_path / "old", "permit", spec)
        assert released.sign(tmp_path / "old", "rosa").code == 0
        self.moved_on(released)
        said = rebase(released, tmp_path / "old", tmp_path / "new")
        assert said.code == 0, said.err
        assert "rosa approved at " in said.out
        old = sorted(name for name in files(tmp_path / "old") if name.startswith("targets/"))
        assert old == [name for name in files(tmp_path / "new") if name.startswith("targets/")]
