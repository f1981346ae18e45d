"""What the gateway keeps: sealed, damaged, chained, and told to people."""

from __future__ import annotations

import errno
import json
import shutil
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_client import journal, memory, status
from interlock_client.explain import last
from interlock_client.journal import FROM, Decisions, Journal, State
from interlock_client.memory import Entitled, Memory
from interlock_client.sealed import MAX_RECORD, seal, unseal
from interlock_core import durable
from interlock_core.directive import MAX_STOPS
from interlock_core.errors import Exit, NotFoundError, RefusedError, WireError
from interlock_core.tuf_metadata import MAX_ROLE_KEYS
from interlock_core.wire import sha256_hex
from tests.client.bed import Bed
from tests.client.world import NOW, World

NEW = b"release one " * 100


@given(st.binary(max_size=300))
def test_a_record_is_whole_or_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        unseal(data, Memory)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_one_flipped_byte_is_found(position: int, flip: int) -> None:
    data = bytearray(seal(Memory(release_floor=7, versions={"image/root": 3})))
    data[position % len(data)] ^= flip
    try:
        assert unseal(bytes(data), Memory) == Memory(release_floor=7, versions={"image/root": 3})
    except WireError:
        return


class TestDamage:
    @pytest.mark.parametrize("name", ["memory.json", "journal.json"])
    @pytest.mark.parametrize("damage", [b"", b"{}", b"torn {"])
    def test_evidence_fails_closed(self, world: World, bed: Bed, name: str, damage: bytes) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.script("interlock.d/10-idle", "exit 1")
        bed.update()
        (bed.home / "state" / name).write_bytes(damage)
        for command in (bed.check, bed.update, bed.explain):
            outcome = command()
            assert (outcome.reason, outcome.exit_code) == ("damaged_state", Exit.REFUSED)
            assert name in outcome.detail
            assert "move it away" in outcome.detail.lower()
        assert (bed.home / "state" / name).read_bytes() == damage, "it is left for a person"
        # A journal goes by itself; a memory never alone: all that was kept beside it goes too, and
        # the marker that says that there was one.
        if name == "memory.json":
            assert "state-began" in bed.check().detail
            (bed.home / "boot/state-began").unlink()
        gone = bed.home / "state" if name == "memory.json" else bed.home / "state" / name
        gone.rename(bed.home / "away")
        bed.script("interlock.d/10-idle", "exit 0")
        assert bed.install().outcome == "confirmed"

    @pytest.mark.parametrize("left", ["decisions", "journal.json", "trusted", "seen.json"])
    def test_a_memory_that_was_lost_is_not_taken_for_none(
        self, world: World, bed: Bed, left: str
    ) -> None:
        """Or else the floors were lost with it, and older releases were accepted again."""
        for number in (1, 2):
            world.roll_out(world.release(f"{number}.0.0", NEW * number, raises_floor_to=number))
            assert bed.install().outcome == "confirmed"
        assert bed.check().reason == "already_installed"
        for path in (bed.home / "state").iterdir():
            if path.name != left and not (left == "trusted" and path.name.startswith("trusted-")):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        world.roll_out(world.releases[0], kind="recall")
        for command in (bed.check, bed.update, bed.explain, bed.rollback, bed.check):
            outcome = command()
            assert (outcome.reason, outcome.exit_code) == ("damaged_state", Exit.REFUSED), outcome
            assert "memory.json is missing" in outcome.detail
        with bed.context() as made, pytest.raises(RefusedError, match="missing"):
            status.status(made)
        assert bed.running == NEW * 2

    @pytest.mark.parametrize("how", ["emptied", "missing"])
    def test_a_state_that_is_not_mounted_is_not_taken_for_a_new_gateway(
        self, world: World, bed: Bed, how: str
    ) -> None:
        for number in (1, 2):
            world.roll_out(world.release(f"{number}.0.0", NEW * number, raises_floor_to=number))
            assert bed.install().outcome == "confirmed"
        (bed.home / "state").rename(bed.home / "away")
        if how == "emptied":
            (bed.home / "state").mkdir()
        world.roll_out(world.releases[0], kind="recall")
        for command in (bed.check, bed.update, bed.explain, bed.rollback, bed.confirm):
            outcome = command()
            if command != bed.confirm:
                assert (outcome.reason, outcome.exit_code) == ("damaged_state", Exit.REFUSED)
                assert "Mount its partition" in outcome.detail
        assert not (bed.home / "state/memory.json").exists()
        assert bed.running == NEW * 2
        shutil.rmtree(bed.home / "state")
        (bed.home / "away").rename(bed.home / "state")
        assert bed.check().reason == "below_floor"

    def test_a_marker_that_was_lost_is_made_again_and_needed_by_nobody(self, bed: Bed) -> None:
        bed.check()
        marker = bed.home / "boot/state-began"
        marker.unlink()
        assert bed.check().reason == "nothing_wanted"
        assert marker.exists()
        marker.unlink()
        marker.mkdir()
        assert bed.check().reason == "nothing_wanted"

    def test_a_gateway_that_never_decided_has_a_memory(self, world: World, bed: Bed) -> None:
        """A refusal before the first decision is recorded: that is no lost memory."""
        world.clock.pass_(days=400)
        assert bed.check().reason == "expired_metadata"
        assert (bed.home / "state" / "memory.json").exists()
        world.clock.pass_(days=-400)
        assert bed.check().reason == "nothing_wanted"

    @pytest.mark.parametrize("step", range(20))
    def test_a_cut_before_the_first_decision_loses_no_memory(self, bed: Bed, step: int) -> None:
        seen = 0

        def watch(_act: str, _path: Path) -> None:
            nonlocal seen
            seen += 1
            if seen > step:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), durable.watching(watch):
            bed.check()
        assert bed.check().reason == "nothing_wanted"

    def test_what_a_cut_left_of_a_write_is_swept(self, world: World, bed: Bed) -> None:
        bed.check()
        left = bed.home / "state" / f".interlock-{'0' * 16}.partial"
        left.write_bytes(b"half a bundle")
        world.roll_out(world.release("1.0.0", NEW))
        bed.check()
        assert not left.exists()

    def test_trusted_metadata_is_fetched_again(self, world: World, bed: Bed) -> None:
        bed.check()
        for path in (bed.home / "state" / "trusted").rglob("*.json"):
            path.write_bytes(b"rotten")
        world.roll_out(world.release("1.0.0", NEW))
        assert bed.check().outcome == "update_available"


History = list[tuple[frozenset[str], int, frozenset[str], list[int]]]
"""Of each version: the keys in force, their threshold, who signed, and what is shown then."""


@st.composite
def histories(draw: st.DrawFn) -> History:
    """People sign one version after another; a key that left never comes back (as ceremonies see
    to), and the gateway sees what an attacker chooses of all that was ever signed.
    """
    made: History = []
    keys = frozenset({"0", "1", "2"})
    names = 3
    for _ in range(draw(st.integers(min_value=1, max_value=8))):
        leaving = draw(st.sets(st.sampled_from(sorted(keys)), max_size=len(keys)))
        joining = draw(st.integers(min_value=0 if len(keys) > len(leaving) else 1, max_value=3))
        keys = (keys - leaving) | {str(names + n) for n in range(joining)}
        names += joining
        threshold = draw(st.integers(min_value=1, max_value=len(keys)))
        by = draw(st.sets(st.sampled_from(sorted(keys)), min_size=threshold))
        replays = draw(st.lists(st.integers(min_value=0, max_value=20), max_size=4))
        made.append((keys, threshold, frozenset(by), replays))
    return made


class TestFloors:
    def test_they_only_rise(self) -> None:
        start = Memory(clock_floor=NOW, versions={"image/root": 5, "image/targets": 9})
        later = start.accepting({"image/root": 4, "image/interlock": 1}, [NOW - timedelta(days=9)])
        assert later.clock_floor == NOW
        assert later.versions == {"image/root": 5, "image/targets": 9, "image/interlock": 1}
        assert start.below({"image/root": 4}) is not None
        assert start.below({"image/root": 5, "image/new": 1}) is None

    def test_of_a_role_whose_keys_were_replaced_it_falls(self) -> None:
        """A threshold of stolen keys drove it there."""
        old, new = Entitled(frozenset("abc")), Entitled(frozenset("de"))
        role, highest = "image/targets", 2**53 - 1
        start = Memory().accepting({role: highest}, [], {role: old})
        assert start.below({role: 9}, {role: old}) is not None
        assert start.below({role: 9}, {role: new}) is None
        later = start.accepting({role: 9}, [], {role: new})
        assert later.versions == {role: 9}
        assert later.below({role: 8}, {role: new}) is not None
        # Were the old ones named again, what they had signed would verify again.
        assert later.below({role: 8}, {role: old}) is not None

    @pytest.mark.parametrize("keys", ["abd", "abcd", "ade", "cdef", "abcdef"])
    def test_while_one_old_key_is_named_it_stands(self, keys: str) -> None:
        """One stolen new key could sign what is old, beside the signature of who stayed."""
        role = "image/targets"
        start = Memory().accepting({role: 40}, [], {role: Entitled(frozenset("abc"))})
        assert start.below({role: 39}, {role: Entitled(frozenset(keys))}) is not None

    def test_what_is_not_known_to_be_replaced_stands(self) -> None:
        """A memory of before keys were kept; and roots, which nobody delegates."""
        role = "image/targets"
        new = {role: Entitled(frozenset("de"))}
        assert Memory(versions={role: 40}).below({role: 39}, new) is not None
        start = Memory().accepting({"image/root": 5, role: 40}, [], new)
        assert start.below({"image/root": 4, role: 40}, new) is not None

    @given(histories())
    def test_nothing_that_was_signed_before_is_accepted_again(self, history: History) -> None:
        """Whatever is replayed under whichever keys are in force, no version goes back: not even
        where whoever replays it holds one key fewer than the threshold, and signs beside the rest.
        """
        memory, accepted, signed = Memory(), 0, list[tuple[int, frozenset[str]]]()
        for version, (keys, threshold, by, replays) in enumerate(history, 1):
            now = {"image/targets": Entitled(keys)}
            signed.append((version, by))
            for number in replays:
                shown, signers = signed[number % len(signed)]
                versions = {"image/targets": shown}
                stolen = min(threshold - 1, len(keys - signers))
                verifies = len(signers & keys) + stolen >= threshold
                if verifies and memory.below(versions, now) is None:
                    assert shown >= accepted
                    memory, accepted = memory.accepting(versions, [], now), shown

    @given(histories(), st.integers(min_value=1, max_value=9))
    def test_no_stolen_keys_block_for_ever(self, history: History, count: int) -> None:
        """After any history, metadata under wholly new keys is accepted, whatever its version."""
        memory = Memory()
        for keys, _, _, _ in history:
            entitled = {"image/targets": Entitled(keys)}
            memory = memory.accepting({"image/targets": 2**53 - 1}, [], entitled)
        new = Entitled(frozenset(f"new {n}" for n in range(count)))
        assert memory.below({"image/targets": 1}, {"image/targets": new}) is None

    def test_ten_years_of_rotations_fit_and_lose_no_floor(self, tmp_path: Path) -> None:
        """Monthly, every key of every role by another, as many as a role may hold; and permits, and
        a cohort's stops, as many as there may be.
        """
        path = tmp_path / "memory.json"
        kept, roles = Memory(), [f"image/{name}" for name in ("targets", "interlock", "gateway")]
        for month in range(120):
            keys = {sha256_hex(f"{month} {n}".encode()) for n in range(MAX_ROLE_KEYS)}
            entitled = dict.fromkeys(roles, Entitled(frozenset(keys)))
            versions = dict.fromkeys(roles, 1000 - month)
            assert all(len(names) <= memory.MAX_KEYS for names in kept.keys.values())
            full = bool(kept.keys) and len(kept.keys[roles[0]]) == memory.MAX_KEYS
            if full:
                assert kept.below(versions, entitled) is not None, "it stands, and falls no more"
            else:
                assert kept.below(versions, entitled) is None
            kept = kept.accepting(versions, [], entitled)
            content = memory.Content(length=1, sha256="0" * 64, counter=month)
            for number in range(40):
                permit = sha256_hex(f"permit {month} {number}".encode())
                kept = kept.confirming("a", content, raises_floor_to=month, permit=permit)
        stops = tuple(
            memory.RecordedStop(
                id=sha256_hex(f"{n}".encode()),
                order="0" * 64,
                cohort="c" * 63,
                site="s" * 63,
                author="p" * 63,
            )
            for n in range(MAX_STOPS)
        )
        for number in range(100):
            floor = memory.OrderFloor(seq=number, id="0" * 64, stops=stops)
            kept = kept.having_accepted("gateway", f"ward-{number}", floor)
        assert kept.stops("gateway") == stops
        assert kept.order_floor("gateway", "ward-7").seq == 7
        assert kept.spent_permits[-1] == sha256_hex(b"permit 119 39")
        memory.save(path, kept)
        assert memory.load(path) == kept
        assert path.stat().st_size < MAX_RECORD / 2

    def test_what_could_not_be_read_again_is_not_written(self, tmp_path: Path) -> None:
        path = tmp_path / "memory.json"
        memory.save(path, Memory(release_floor=7))
        with pytest.raises(RefusedError) as caught:
            memory.save(path, Memory(versions={f"{n:01000}": n for n in range(1100)}))
        assert caught.value.reason == "memory_full"
        assert memory.load(path).release_floor == 7

    def test_what_rolled_back_is_remembered_once(self) -> None:
        kept = Memory()
        for number in range(memory.MAX_ROLLED_BACK + 10):
            kept = kept.having_rolled_back(f"{number}", "x")
        kept = kept.having_rolled_back("300", "x").having_rolled_back("20", "x")
        assert len(kept.rolled_back) == memory.MAX_ROLLED_BACK
        assert kept.rolled_back[-1].order == "20"

    def test_a_memory_that_never_was_is_empty(self, tmp_path: Path) -> None:
        assert memory.load(tmp_path / "memory.json") == Memory()
        assert journal.load(tmp_path / "journal.json") == Journal()


class TestJournal:
    def test_states_are_entered_from_where_they_may_be(self) -> None:
        assert set(FROM) == set(State)
        for state in State:
            for then in State:
                at = msgspec.structs.replace(Journal(), state=state)
                if state in FROM[then]:
                    assert at.at(then).state is then
                else:
                    with pytest.raises(AssertionError):
                        at.at(then)

    def test_nothing_is_armed_but_by_way_of_the_last_moment(self) -> None:
        assert FROM[State.REBOOTING] == {State.LAST_MOMENT}

    def test_every_decision_is_recorded_and_chained(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.install()
        directory = bed.home / "state" / "decisions"
        entries = [path.read_bytes() for path in sorted(directory.iterdir())]
        decoded = [json.loads(entry) for entry in entries]
        assert [entry["phase"] for entry in decoded] == [
            "download",
            "install",
            "install",
            "reboot",
        ]
        for before, entry in zip(entries, decoded[1:], strict=False):
            assert entry["previous"] == sha256_hex(before)
        final = decoded[-1]
        assert final["verdict"]["outcome"] == "granted"
        assert final["inputs"]["bundle"] == sha256_hex(world.store.get("poll/wards"))
        assert final["inputs"]["metadata"]["image/ward-gateway"]["version"] == 1
        assert final["gateway"]["device"] == "GW-000001"
        assert final["local"]["interlock"]["clear"] is True
        assert final["floors"]["order_seq"] == 1

    def test_a_refusal_before_any_decision_is_recorded_too(self, world: World, bed: Bed) -> None:
        world.clock.pass_(days=400)
        assert bed.check().reason == "expired_metadata"
        with bed.context() as made:
            assert last(made)["verdict"]["reason"] == "expired_metadata"

    def test_old_decisions_go(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(journal, "MAX_DECISIONS", 3)
        decisions = Decisions(tmp_path / "decisions")
        assert decisions.newest() is None
        verdict = {"outcome": "refused", "reason": "stopped", "detail": "Stopped."}
        for number in range(1, 6):
            entry = {"at": f"{number}", "phase": "download", "verdict": verdict}
            assert decisions.record(entry) == number
        assert len(list((tmp_path / "decisions").iterdir())) == 3
        newest = decisions.newest()
        assert newest is not None
        assert newest["at"] == "5"


class TestTold:
    def test_status_of_a_new_gateway(self, bed: Bed) -> None:
        with bed.context() as made:
            found = status.status(made)
        assert found["state"] == "idle"
        assert found["running"] is None
        assert found["slots"]["booted"] == "a"

    def test_status_tells_since_when_it_waits_and_why(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.script("interlock.d/10-idle", "exit 1")
        bed.update()
        world.clock.pass_(hours=5)
        with bed.context() as made:
            found = status.status(made)
        assert found["state"] == "waiting"
        assert found["deferral"]["age_seconds"] == 5 * 3600
        assert found["deferral"]["reason"] == "interlock_not_clear"
        assert found["attempt"]["slot"] == "b"

    def test_status_tells_what_is_refused_at_every_poll(self, world: World, bed: Bed) -> None:
        bed.check()
        world.clock.pass_(days=11)
        for _ in range(3):
            bed.check()
            world.clock.pass_(hours=1)
        with bed.context() as made:
            trouble = status.status(made)["trouble"]
        assert trouble == {
            "reason": "expired_metadata",
            "since": "2030-01-12T12:00:00Z",
            "polls": 3,
        }
        world.refresh()
        bed.check()
        with bed.context() as made:
            assert status.status(made)["trouble"] is None

    def test_status_survives_an_unknown_slot(self, bed: Bed) -> None:
        (bed.home / "booted").unlink()
        with bed.context() as made:
            found = status.status(made)
        assert found["slots"]["booted"] is None
        assert "boot-select" in found["slots"]["trouble"]

    def test_status_shows_that_nothing_guards_patients(self, bed: Bed) -> None:
        bed.change(interlock="none")
        with bed.context() as made:
            assert status.status(made)["interlock"] == "none"

    def test_explain_of_another_image_than_waits_in_the_slot(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", b"one"))
        bed.script("interlock.d/10-idle", "exit 1")
        bed.update()
        world.roll_out(world.release("1.0.1", b"two"))
        told = bed.explain()
        assert (told.reason, told.more["phase"]) == ("granted", "download")
        assert "slot_mismatch" not in bed.status()["why"]

    def test_explain_tells_every_rule(self, world: World, bed: Bed) -> None:
        rollout = world.roll_out(world.release("1.0.0", NEW))
        granted = bed.explain()
        assert granted.exit_code is Exit.DONE
        assert all(item["passed"] for item in granted.more["checks"])
        bed.script("interlock.d/10-idle", "exit 1")
        bed.update()
        waiting = bed.explain()
        assert (waiting.reason, waiting.exit_code) == ("interlock_not_clear", Exit.DEFERRED)
        assert waiting.more["phase"] == "install"
        assert [item["passed"] for item in waiting.more["checks"]].count(False) == 1
        assert waiting.more["deferral"]["reason"] == "interlock_not_clear"
        world.stop(rollout)
        world.show("wards", rollout)
        stopped = bed.explain()
        assert stopped.reason == "stopped"
        assert [item["passed"] for item in stopped.more["checks"]][-1] is False
        assert bed.slot("b") == NEW

    def test_before_the_first_decision_there_is_nothing_to_show(self, bed: Bed) -> None:
        with bed.context() as made, pytest.raises(NotFoundError):
            last(made)


class TestFaults:
    @pytest.mark.parametrize("error", [28, 30, 5, 13])
    def test_a_fault_of_the_disk_is_named_and_nothing_is_lost(
        self, world: World, bed: Bed, error: int
    ) -> None:
        """No space, read-only, I/O error, no permission: at the first write of anything."""
        world.roll_out(world.release("1.0.0", NEW))

        def fail(_act: str, _path: Path) -> None:
            raise OSError(error, "as the test wants it")

        for command in (bed.check, bed.update):
            with durable.watching(fail):
                outcome = command()
            assert (outcome.outcome, outcome.reason) == ("transient", "disk"), outcome.detail
        assert bed.install().outcome == "confirmed"

    def test_a_slot_that_is_full(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("interlock_client.install.destination.os.pwrite", full)
            outcome = bed.update()
        assert (outcome.reason, outcome.exit_code) == ("disk", Exit.TRANSIENT)
        assert "the disk is full" in outcome.detail
        assert bed.environment.load().armed is None
        assert bed.install().outcome == "confirmed"

    def test_no_room_is_found_before_the_download(self, world: World, bed: Bed) -> None:
        release = world.release("1.0.0", NEW)
        world.roll_out(release)

        def tight(_self: object) -> int:
            return len(NEW) - 1

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("interlock_client.install.slots.SlotInstaller.room", tight)
            outcome = bed.update()
        assert (outcome.reason, outcome.exit_code) == ("no_space", Exit.TRANSIENT)
        assert bed.slot("b") == b""
