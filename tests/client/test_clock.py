"""Time on a gateway: what may push it ahead, what is told, what a person may reset, and how a
gateway that was off for years comes back.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from interlock_client import timekeeping
from interlock_client.outcome import Outcome
from interlock_client.poll import load_trouble
from interlock_client.state import StateDir
from interlock_core.clock import EPOCH
from interlock_core.errors import Exit
from tests.client.bed import Bed
from tests.client.world import NOW, World

DAY = 86_400
IMAGE = b"release one " * 100


def reset(bed: Bed, reason: str = "ticket 4711") -> Outcome:
    with bed.context() as made:
        return timekeeping.reset(made, reason)


def clock(bed: Bed) -> dict[str, Any]:
    found: dict[str, Any] = bed.status()["clock"]
    return found


def acts(bed: Bed) -> list[dict[str, Any]]:
    records = sorted((bed.home / "state/decisions").iterdir())
    entries = [json.loads(path.read_bytes()) for path in records]
    return [entry for entry in entries if "act" in entry]


def daily(world: World, bed: Bed) -> None:
    """Twelve days in one boot, with a server that refreshes every evening."""
    for _ in range(12):
        assert bed.check().exit_code is Exit.DONE, bed.check().detail
        world.clock.pass_(days=1)
        bed.seconds += DAY
        assert bed.check().exit_code is Exit.DONE, bed.check().detail
        world.refresh()


def signed_at(world: World, when: datetime, *, roster: bool) -> None:
    """Somebody signs offline, with a clock that says ``when``; the server's is right."""
    right, world.clock.now = world.clock.now, when
    world.put_roster() if roster else world.put_targets()
    world.clock.now = right
    world.image.publish()
    world.refresh()


class TestIssuedAhead:
    """A holder's clock was wrong. ``issue_time_ahead`` is told, and nothing is stranded."""

    @pytest.mark.parametrize("roster", [True, False], ids=["the roster", "targets"])
    @pytest.mark.parametrize("days", [12, 3650])
    def test_counts_for_nothing(self, world: World, bed: Bed, days: int, *, roster: bool) -> None:
        assert bed.check().exit_code is Exit.DONE
        ahead = NOW + timedelta(days=days)
        signed_at(world, ahead, roster=roster)
        assert bed.check().reason == "nothing_wanted"
        assert bed.memory.clock_floor == NOW
        assert clock(bed)["issued_ahead"] == ahead
        assert clock(bed)["alarms"] == ["issue_time_ahead"]
        world.roll_out(world.release("1.0.0", IMAGE))
        assert bed.install().outcome == "confirmed"
        # Signed again with a right clock: the alarm is over.
        world.clock.pass_(days=1)
        world.put_roster() if roster else world.put_targets()
        world.image.publish()
        world.show("wards", world.rollouts[-1])
        assert bed.check().reason == "already_installed"
        assert clock(bed)["alarms"] == []
        assert bed.memory.clock_floor == world.clock()

    @pytest.mark.parametrize("days", [4, 9])
    def test_a_little_ahead_strands_nobody_while_heads_are_signed(
        self, world: World, bed: Bed, days: int
    ) -> None:
        signed_at(world, NOW + timedelta(days=days), roster=True)
        daily(world, bed)
        assert bed.memory.clock_floor == NOW + timedelta(days=days)

    def test_heads_that_live_long_lift_it_no_further_than_offline_ends(
        self, world: World, bed: Bed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Online keys may sign any expiry; the roster's age and offline expiries stay."""
        signed_at(world, NOW + timedelta(days=200), roster=False)
        from interlock_core import tuf_repository  # noqa: PLC0415

        longer = {
            name: type(role)(timedelta(days=3000), timedelta(days=2999))
            for name, role in tuf_repository.ROLES.items()
        }
        monkeypatch.setattr(tuf_repository, "ROLES", longer)
        world.refresh()
        assert bed.check().reason == "nothing_wanted"
        assert bed.memory.clock_floor == NOW


class TestJumps:
    def test_back_within_a_boot_is_told_and_not_believed(self, world: World, bed: Bed) -> None:
        bed.seconds = 10_000
        bed.check()
        world.clock.now = NOW - timedelta(days=30)
        bed.seconds += 60
        found = clock(bed)
        assert found["alarms"] == ["clock_jumped"], "told before anything is decided"
        assert found["jumped_seconds"] == -30 * DAY - 60
        assert found["decides_at"] == NOW + timedelta(minutes=1)
        bed.check()
        world.clock.now = NOW + timedelta(minutes=5)
        bed.seconds += 240
        assert clock(bed)["alarms"] == ["clock_jumped"], "until the next boot"
        bed.power_on()
        assert clock(bed)["alarms"] == []

    def test_far_ahead_is_told_and_leaves_nothing(self, world: World, bed: Bed) -> None:
        bed.seconds = 10_000
        bed.check()
        world.clock.now = NOW.replace(year=2060)
        assert bed.check().reason == "expired_metadata"
        assert clock(bed)["alarms"] == ["clock_jumped"]
        assert load_trouble(StateDir(bed.home / "state")) is not None
        world.clock.now = NOW
        assert bed.check().exit_code is Exit.DONE
        assert load_trouble(StateDir(bed.home / "state")) is None
        assert bed.memory.clock_floor == NOW

    @pytest.mark.parametrize("days", [4, 9])
    def test_ahead_for_a_while_strands_nobody_in_the_same_boot(
        self, world: World, bed: Bed, days: int
    ) -> None:
        """What was decided then goes on for the whole boot, and must not expire what is fresh."""
        world.clock.pass_(days=days)
        bed.check()
        world.clock.pass_(days=-days)
        daily(world, bed)

    def test_a_clock_that_starts_at_1970_and_is_set_then_is_no_jump(
        self, world: World, bed: Bed
    ) -> None:
        bed.check()
        bed.power_on()
        world.clock.now = datetime(1970, 1, 1, tzinfo=UTC)
        bed.seconds = 20
        bed.check()
        assert clock(bed)["alarms"] == []
        world.clock.now = NOW + timedelta(hours=1)
        bed.seconds += 7200
        assert clock(bed)["alarms"] == []
        assert bed.check().exit_code is Exit.DONE

    @pytest.mark.parametrize("year", [1, 9999])
    def test_a_clock_beyond_all_calendars(self, world: World, bed: Bed, year: int) -> None:
        bed.check()
        world.clock.now = datetime(year, 12, 31, tzinfo=UTC)
        bed.check()
        assert clock(bed)["system"].startswith(f"{year:04}-12-31")


class TestReset:
    def test_what_was_pushed_ahead_is_forgotten_and_nothing_else(
        self, world: World, bed: Bed
    ) -> None:
        world.roll_out(world.release("1.0.0", IMAGE, raises_floor_to=1))
        assert bed.install().outcome == "confirmed"
        with bed.context() as made:
            # As by a bound that was not there yet: nothing can push it so far any more.
            wrong = NOW.replace(year=2060)
            memory = made.memory()
            made.remember(type(memory)(**{**_fields(memory), "clock_floor": wrong}))
        assert bed.check().reason == "expired_metadata"
        before = bed.memory
        outcome = reset(bed)
        assert (outcome.outcome, outcome.exit_code) == ("clock_reset", Exit.DONE)
        after = bed.memory
        assert (after.clock_floor, after.last) == (EPOCH, None)
        assert (
            _fields(after).items()
            >= {
                name: value
                for name, value in _fields(before).items()
                if name not in {"clock_floor", "last", "reading", "jumped", "ahead"}
            }.items()
        )
        assert bed.check().reason == "already_installed"
        assert bed.memory.clock_floor == NOW
        (act,) = acts(bed)
        assert (act["act"], act["reason"]) == ("clock_reset", "ticket 4711")
        assert act["changed"]["floor"] == {
            "from": "2060-01-01T12:00:00Z",
            "to": "1970-01-01T00:00:00Z",
        }
        assert isinstance(act["by"]["uid"], int)

    def test_it_is_no_decision(self, bed: Bed) -> None:
        bed.check()
        before = bed.status()
        reset(bed)
        after = bed.status()
        assert after["last_decision"] == before["last_decision"]
        assert after["why"] == before["why"]
        newest = max((bed.home / "state/decisions").iterdir())
        assert json.loads(newest.read_bytes())["previous"] is not None


def _fields(memory: Any) -> dict[str, Any]:
    return {name: getattr(memory, name) for name in memory.__struct_fields__}


class TestBack:
    def test_after_years_off_and_300_rotations_it_recovers_by_itself(
        self, world: World, bed: Bed
    ) -> None:
        """No human act: the clock starts at 1970, all that is kept expired long ago, every root
        key and every online key is another one, and only fresh metadata comes.
        """
        assert bed.check().reason == "nothing_wanted"
        world.clock.pass_(days=8 * 365)
        assert bed.check().reason == "expired_metadata", "nobody renewed anything yet"
        since = bed.status()["trouble"]["since"]
        assert since == "2037-12-30T12:00:00Z"
        assert "refused since" in bed.status()["why"]
        bed.power_on()
        world.sleep(image=300, director=2)
        world.put_targets()
        world.put_roster()
        world.image.publish()
        world.refresh()
        right = world.clock.now
        world.roll_out(world.release("1.0.0", IMAGE))
        world.clock.now = datetime(1970, 1, 1, tzinfo=UTC)
        assert bed.install().outcome == "confirmed"
        memory = bed.memory
        assert (memory.versions["image/root"], memory.versions["director/root"]) == (301, 3)
        assert memory.clock_floor == right, "by what people signed"
        assert bed.status()["trouble"] is None
