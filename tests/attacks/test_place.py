"""The gateway's own surroundings: power, clock, clinical use, slots, and other hands on them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from interlock_client import boot
from interlock_client.tables import SlotPaths
from interlock_core.errors import Exit
from interlock_core.hold import Hold
from interlock_core.statement import Envelope, open_as
from tests.attacks import lies
from tests.attacks.simulator import IMAGE, Simulator
from tests.client.bed import FACTORY
from tests.client.world import APPROVERS, NOW, OPERATOR, WARDS


class TestPower:
    def test_lost_in_the_ward(self, sim: Simulator) -> None:
        """Between the write and the last moment the old firmware boots, and nothing is armed."""
        sim.world.roll_out(sim.release())
        sim.bed.script("interlock.d/10-idle", "exit 1")
        with sim.unchanged(slot=True):
            assert sim.bed.update().reason == "interlock_not_clear"
        assert sim.bed.slot("b") == IMAGE
        assert sim.bed.power_on() == "a"
        assert sim.bed.running == FACTORY

    def test_lost_while_new_firmware_comes_up(self, sim: Simulator) -> None:
        """It never answers for its health: after its tries the old one boots."""
        sim.world.roll_out(sim.release())
        assert sim.bed.update().outcome == "rebooting"
        booted = [sim.bed.power_on() for _ in range(sim.bed.settings.installer.tries + 1)]
        assert booted[-1] == "a"
        assert sim.bed.running == FACTORY


class TestInterlock:
    """Anything but a clear yes is a no: the image waits unarmed, and no server can force it."""

    def deferred(self, sim: Simulator) -> None:
        sim.world.roll_out(sim.release())
        sim.defers("interlock_not_clear", slot=True)

    def test_none_configured(self, sim: Simulator) -> None:
        sim.bed.change(interlock=None)
        self.deferred(sim)

    def test_an_empty_directory(self, sim: Simulator) -> None:
        (sim.bed.home / "interlock.d/10-idle").unlink()
        self.deferred(sim)

    def test_no_directory(self, sim: Simulator) -> None:
        (sim.bed.home / "interlock.d").rename(sim.bed.home / "away")
        self.deferred(sim)

    def test_a_file_in_place_of_the_directory(self, sim: Simulator) -> None:
        (sim.bed.home / "interlock.d").rename(sim.bed.home / "away")
        (sim.bed.home / "interlock.d").write_text("exit 0")
        self.deferred(sim)

    @pytest.mark.parametrize(
        "body",
        [
            "exit 1",
            "exit 255",
            "kill -9 $$",
            "sleep 60",
            "sleep 60 & wait",
            "while :; do echo not yet; done",
            "exec 1>&- 2>&-; sleep 60",
            "no-such-command",
        ],
    )
    def test_a_check_that_does_not_say_yes(self, sim: Simulator, body: str) -> None:
        checks = sim.bed.settings.interlock
        assert isinstance(checks, msgspec.Struct)
        sim.bed.change(interlock=msgspec.structs.replace(checks, timeout_seconds=1))
        sim.bed.script("interlock.d/20-more", body)
        self.deferred(sim)

    @pytest.mark.parametrize(
        ("data", "mode"),
        [(b"exit 0", 0o644), (b"", 0o755), (b"\x7fELFnothing", 0o755), (b"#!/nowhere\n", 0o755)],
        ids=["not-executable", "empty", "no-program", "no-interpreter"],
    )
    def test_a_check_that_cannot_be_run(self, sim: Simulator, data: bytes, mode: int) -> None:
        path = sim.bed.home / "interlock.d/20-more"
        path.write_bytes(data)
        path.chmod(mode)
        self.deferred(sim)

    def test_a_link_to_nowhere(self, sim: Simulator) -> None:
        (sim.bed.home / "interlock.d/20-more").symlink_to("nowhere")
        self.deferred(sim)

    @pytest.mark.parametrize("when", ["/image/targets/ward-gateway/", "/poll/"])
    def test_answers_of_before_do_not_count(self, sim: Simulator, when: str) -> None:
        """A patient comes while the image is being downloaded, or the freshest order fetched."""
        sim.world.roll_out(sim.release())
        arrive = partial(sim.bed.script, "interlock.d/10-idle", "exit 1")
        sim.web.lies[when] = lies.doing(arrive)
        sim.defers("interlock_not_clear", slot=True)

    def test_a_patient_who_comes_at_the_last_question(self, sim: Simulator) -> None:
        """Armed already when the last answer is no: disarmed again."""
        sim.world.roll_out(sim.release())
        count = '"$(dirname "$0")/../asked"'
        body = f'echo >> {count}; test "$(wc -l < {count})" -lt 3'
        sim.bed.script("interlock.d/10-idle", body)
        sim.defers("interlock_not_clear", slot=True)
        assert (sim.bed.home / "asked").read_text() == "\n" * 3

    def test_a_hold_of_the_hospital(self, sim: Simulator) -> None:
        (sim.bed.home / "hold").write_text("theatre in use")
        sim.world.roll_out(sim.release())
        sim.defers("local_hold", slot=True)

    def held(self, sim: Simulator, author: str = OPERATOR, **said: Any) -> Envelope:
        """A hold of this hospital, signed by an operator."""
        now = sim.world.clock()
        made = {"site": "st-elsewhere", "begins": now, "until": now + timedelta(days=9)}
        return sim.world.by(author, Hold(**sim.world.said(author) | made | {"ends": None} | said))

    def test_a_signed_hold_of_the_hospital(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        sim.world.show(WARDS, rollout, holds=(self.held(sim),))
        sim.defers("site_hold", slot=True)

    def test_a_hold_that_is_left_out(self, sim: Simulator) -> None:
        """The hospital's own file is the lock: no server can leave it out."""
        (sim.bed.home / "hold").write_text("theatre in use")
        rollout = sim.world.roll_out(sim.release())
        sim.world.show(WARDS, rollout)
        sim.defers("local_hold", slot=True)

    def test_a_hold_or_a_release_that_nobody_entitled_signed(self, sim: Simulator) -> None:
        rollout = sim.world.roll_out(sim.release())
        forged = self.held(sim, APPROVERS[0])
        sim.world.show(WARDS, rollout, holds=(forged,))
        sim.grants()
        true = self.held(sim)
        over = {"begins": None, "until": None, "ends": open_as(true, Hold).id}
        sim.world.show(WARDS, rollout, holds=(true, self.held(sim, APPROVERS[0], **over)))
        sim.defers("site_hold", slot=True)


class TestSlots:
    @pytest.mark.parametrize("poll", [0, 1])
    def test_an_image_swapped_after_it_was_verified(self, sim: Simulator, poll: int) -> None:
        """While it waits, or with the very last poll: what is armed was read back after both."""
        sim.waits_for_the_ward()
        swap = partial((sim.bed.home / "slots/b").write_bytes, b"evil" + IMAGE[4:])
        sim.web.lies["/poll/"] = lies.doing(swap, at=poll)
        sim.refuses("slot_mismatch", slot=True)

    def test_an_image_swapped_after_it_was_armed(self, sim: Simulator) -> None:
        """It boots once, is not what was wanted, and is given up."""
        sim.world.roll_out(sim.release())
        assert sim.bed.update().outcome == "rebooting"
        (sim.bed.home / "slots" / "b").write_bytes(b"evil" + IMAGE[4:])
        assert sim.bed.power_on() == "b"
        assert sim.bed.confirm().outcome == "rolled_back"
        assert sim.bed.power_on() == "a"
        assert sim.bed.memory.release_floor == 0

    @pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
    def test_two_names_of_one_slot(self, sim: Simulator, link: str) -> None:
        """The slot that runs would be overwritten."""
        a, b = (sim.bed.home / "slots" / name for name in "ab")
        getattr(b, link)(a)
        sim.world.roll_out(sim.release())
        sim.refuses("configuration", online=True, exit_code=Exit.USAGE, mend=b.unlink)

    def test_one_slot_configured_twice(self, sim: Simulator) -> None:
        honest = sim.bed.settings.installer
        (path,) = honest.a
        same = SlotPaths.one(path.parent / "../slots/a")
        sim.bed.change(installer=msgspec.structs.replace(honest, b=same))
        sim.world.roll_out(sim.release())
        mend = partial(sim.bed.change, installer=honest)
        sim.refuses("configuration", online=True, exit_code=Exit.USAGE, mend=mend)

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

    def test_a_slot_that_somebody_else_armed(self, sim: Simulator) -> None:
        """With another tool, and with firmware of which nobody knows: it is disarmed."""
        (sim.bed.home / "slots" / "b").write_bytes(b"from a stick")
        sim.bed.environment.change(lambda state: boot.arm(state, "b", 3))
        with sim.unchanged(slot=True):
            assert sim.bed.update().reason == "nothing_wanted"
        assert sim.bed.power_on() == "a"


class TestState:
    @pytest.mark.parametrize("name", ["memory.json", "journal.json"])
    @pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[" * 9999])
    def test_evidence_that_was_damaged(self, sim: Simulator, name: str, data: bytes) -> None:
        """An empty memory in its place would let older releases in."""
        sim.world.roll_out(sim.release())
        path = sim.bed.home / "state" / name
        honest = path.read_bytes() if path.exists() else None
        path.write_bytes(data)
        assert sim.bed.update().reason == "damaged_state"
        assert not sim.bed.wants_reboot
        path.unlink() if honest is None else path.write_bytes(honest)

    def test_trusted_metadata_that_was_lost(self, sim: Simulator) -> None:
        """With TUF's own memory gone, the floors refuse what is older."""
        old = sim.newer("targets")
        sim.world.roll_out(sim.release())
        sim.grants()
        sim.meanwhile("lost-metadata")
        sim.sign_snapshot({"targets": old})
        with sim.unchanged(online=True):
            assert sim.bed.update().reason == "rollback"


class TestClock:
    """Whatever it says, the floor holds; once it is right again, so is everything."""

    def test_set_back(self, sim: Simulator) -> None:
        """Within one boot time goes on; after the next, the floor holds."""
        sim.world.clock.now = NOW - timedelta(days=400)
        sim.bed.seconds += 11 * 86_400
        sim.says("expired_metadata")
        sim.bed.power_on()
        sim.says("nothing_wanted", Exit.DONE)
        assert sim.bed.memory.clock_floor == NOW
        sim.world.clock.now = NOW

    def test_set_back_to_revive_what_lapsed(self, sim: Simulator) -> None:
        """What people signed since has raised the floor."""
        rollout = sim.world.roll_out(sim.release())
        sim.world.clock.pass_(days=8)
        sim.roster()
        sim.show(rollout)
        sim.says("go_lapsed")
        sim.world.clock.now = NOW
        sim.bed.power_on()
        sim.refuses("go_lapsed", online=True, mend=partial(sim.world.clock.pass_, days=8))

    @pytest.mark.parametrize("year", [1, 1970, 2029])
    def test_wrong_at_boot(self, sim: Simulator, year: int) -> None:
        sim.world.clock.now = datetime(year, 1, 1, tzinfo=UTC)
        sim.bed.power_on()
        sim.says("nothing_wanted", Exit.DONE)
        assert sim.bed.memory.last is not None
        assert sim.bed.memory.last.at >= NOW
        sim.world.clock.now = NOW

    @pytest.mark.parametrize(
        "then", [NOW + timedelta(days=11), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
    )
    def test_far_ahead(self, sim: Simulator, then: datetime) -> None:
        sim.world.clock.now = then
        with sim.unchanged():
            assert sim.bed.update().reason == "expired_metadata"
        sim.world.clock.now = NOW

    def test_ahead_so_that_only_the_roster_is_old(self, sim: Simulator) -> None:
        """Whoever signs long-lived heads gains nothing: once the time is right, all is well."""
        sim.world.clock.pass_(days=40)
        sim.world.refresh()
        sim.says("roster_stale")
        sim.world.clock.now = NOW
        sim.says("nothing_wanted", Exit.DONE)
