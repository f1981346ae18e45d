"""The gateway's own surroundings: power, clock, clinical use, slots, and other hands on them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from interlock_core.errors import Exit
from tests.attacks.simulator import CANARY, IMAGE, Simulator
from tests.client.bed import FACTORY
from tests.client.web import Handler
from tests.client.world import NOW


def test_power_lost_in_the_ward(sim: Simulator) -> None:
    """Between the write and the last moment the old firmware boots, and nothing is armed."""
    sim.world.roll_out(sim.release())
    sim.bed.script("interlock.d/10-idle", "exit 1")
    assert sim.bed.update().reason == "interlock_not_clear"
    assert sim.bed.slot("b") == IMAGE
    assert sim.bed.environment.load().armed is None
    assert sim.bed.power_on() == "a"
    assert sim.bed.running == FACTORY


class TestInterlock:
    def deferred(self, sim: Simulator) -> None:
        """Not safe: the image waits unarmed; once it is safe, it is installed."""
        sim.world.roll_out(sim.release())
        outcome = sim.bed.update()
        assert (outcome.reason, outcome.exit_code) == ("interlock_not_clear", Exit.DEFERRED)
        assert sim.bed.environment.load().armed is None
        assert not sim.bed.wants_reboot

    def test_none_configured(self, sim: Simulator) -> None:
        sim.bed.change(interlock=None)
        self.deferred(sim)

    def test_an_empty_directory(self, sim: Simulator) -> None:
        (sim.bed.home / "interlock.d/10-idle").unlink()
        self.deferred(sim)

    def test_no_directory(self, sim: Simulator) -> None:
        (sim.bed.home / "interlock.d").rename(sim.bed.home / "away")
        self.deferred(sim)

    @pytest.mark.parametrize(
        "body",
        [
            "exit 1",
            "kill -9 $$",
            "sleep 60",
            "sleep 60 & wait",
            "while :; do echo not yet; done",
            "exec 1>&- 2>&-; sleep 60",
        ],
    )
    def test_a_check_that_does_not_say_yes(self, sim: Simulator, body: str) -> None:
        checks = sim.bed.settings.interlock
        assert isinstance(checks, msgspec.Struct)
        sim.bed.change(interlock=msgspec.structs.replace(checks, timeout_seconds=1))
        sim.bed.script("interlock.d/20-more", body)
        self.deferred(sim)

    def test_a_check_that_cannot_be_run(self, sim: Simulator) -> None:
        (sim.bed.home / "interlock.d/20-more").write_text("exit 0")
        self.deferred(sim)

    def test_a_link_to_nowhere(self, sim: Simulator) -> None:
        (sim.bed.home / "interlock.d/20-more").symlink_to("nowhere")
        self.deferred(sim)

    def test_answers_of_before_do_not_count(self, sim: Simulator) -> None:
        """A patient comes while the image is being downloaded."""
        sim.world.roll_out(sim.release())

        def arrive(handler: Handler) -> None:
            sim.bed.script("interlock.d/10-idle", "exit 1")
            handler.serve(handler.path)

        sim.web.lies["/image/targets/ward-gateway/"] = arrive
        outcome = sim.bed.update()
        assert (outcome.reason, outcome.exit_code) == ("interlock_not_clear", Exit.DEFERRED)
        assert sim.bed.environment.load().armed is None


class TestSlots:
    @pytest.mark.parametrize("when", range(4))
    def test_an_image_swapped_after_it_was_verified(self, sim: Simulator, when: int) -> None:
        """At any request, the last one too: what is armed is what was read back after it."""
        sim.world.roll_out(sim.release())
        evil, seen = b"evil" + IMAGE[4:], [0]
        other = sim.bed.home / "slots" / "b"

        def swap(handler: Handler) -> None:
            if seen[0] == when and other.exists():
                other.write_bytes(evil)
            seen[0] += 1
            handler.serve(handler.path)

        sim.web.lies["/"] = swap
        outcome = sim.bed.update()
        armed = sim.bed.environment.load().armed
        assert outcome.outcome == "rebooting" or (outcome.reason, armed) == ("slot_mismatch", None)
        assert armed is None or sim.bed.slot("b") == IMAGE

    @pytest.mark.parametrize("how", ["symlink", "hardlink", "another-name"])
    def test_two_names_of_one_slot(self, sim: Simulator, how: str) -> None:
        """The slot that runs would be overwritten."""
        a, b = sim.bed.home / "slots" / "a", sim.bed.home / "slots" / "b"
        match how:
            case "symlink":
                b.symlink_to(a)
            case "hardlink":
                b.hardlink_to(a)
            case _:
                twice = msgspec.structs.replace(
                    sim.bed.settings.installer, b=a.parent / "." / "../slots/a"
                )
                sim.bed.change(installer=twice)
        sim.world.roll_out(sim.release())
        outcome = sim.bed.update()
        assert (outcome.reason, outcome.exit_code) == ("configuration", Exit.USAGE), outcome
        assert a.read_bytes() == FACTORY

    @pytest.mark.timeout(30)
    def test_a_pipe_in_place_of_a_slot(self, sim: Simulator) -> None:
        """It would wait for a reader for ever, with the lock held."""
        os.mkfifo(sim.bed.home / "slots" / "b")
        sim.world.roll_out(sim.release())
        assert sim.bed.update().exit_code in {Exit.USAGE, Exit.TRANSIENT}
        assert sim.bed.running == FACTORY

    def test_a_slot_that_was_longer(self, sim: Simulator) -> None:
        """Nothing of what stood there before follows the image."""
        (sim.bed.home / "slots" / "b").write_bytes(bytes(len(IMAGE) * 3))
        sim.world.roll_out(sim.release())
        assert sim.bed.install().outcome == "confirmed"
        assert sim.bed.slot("b") == IMAGE


class TestClock:
    def test_set_back(self, sim: Simulator) -> None:
        """Within one boot time goes on; after the next, the floor holds."""
        sim.world.clock.now = NOW - timedelta(days=400)
        sim.bed.seconds += 11 * 86_400
        assert sim.bed.check().reason == "expired_metadata"
        sim.bed.power_on()
        assert sim.bed.check().reason == "nothing_wanted"
        assert sim.bed.memory.clock_floor == NOW

    @pytest.mark.parametrize("year", [1, 1970, 2029])
    def test_wrong_at_boot(self, sim: Simulator, year: int) -> None:
        sim.world.clock.now = datetime(year, 1, 1, tzinfo=UTC)
        sim.bed.power_on()
        assert sim.bed.check().reason == "nothing_wanted"
        assert sim.bed.memory.last is not None
        assert sim.bed.memory.last.at >= NOW
        sim.world.clock.now = NOW
        sim.recovers()

    @pytest.mark.parametrize(
        "then", [NOW + timedelta(days=11), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
    )
    def test_far_ahead(self, sim: Simulator, then: datetime) -> None:
        sim.world.clock.now = then
        with sim.unchanged():
            assert sim.bed.update().reason == "expired_metadata"
        sim.world.clock.now = NOW
        sim.recovers()

    def test_ahead_so_that_only_the_roster_is_old(self, sim: Simulator) -> None:
        """Whoever signs long-lived heads gains nothing: once the time is right, all is well."""
        honest = sim.world.clock
        honest.pass_(days=40)
        sim.world.refresh()
        assert sim.bed.check().reason == "roster_stale"
        honest.now = NOW
        assert sim.bed.check().exit_code is Exit.DONE
        sim.recovers()


def test_a_stop_holds_in_another_cohort_too(sim: Simulator) -> None:
    """Once seen, it is remembered for the product, wherever the gateway is moved."""
    rollout = sim.world.roll_out(sim.release())
    sim.world.stop(rollout)
    sim.show(rollout)
    assert sim.bed.check().reason == "stopped"
    rollout.stops.clear()
    sim.world.show(CANARY, rollout)
    sim.bed.change(cohort=CANARY)
    outcome = sim.bed.update()
    assert (outcome.reason, outcome.exit_code) == ("stopped", Exit.REFUSED)


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../etc/passwd", "a\0b", "x" * 300])
def test_an_order_cannot_name_such_a_path(sim: Simulator, path: str, tmp_path: Path) -> None:
    """Refused where it is parsed: neither people's tools nor the gateway take it."""
    release = sim.release()
    rollout = sim.world.order(release)
    with pytest.raises(msgspec.ValidationError, match="path"):
        msgspec.convert({**msgspec.to_builtins(release.target), "path": path}, type(release.target))
    assert rollout.order.said.targets[0].path == release.path
