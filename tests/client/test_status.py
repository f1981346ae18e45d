"""``status`` says why: one sentence first, and then what it follows from."""

from __future__ import annotations

import pytest

from tests.client.bed import Bed
from tests.client.fleet import SECRET, Fleet
from tests.client.test_cli import client
from tests.client.world import World

NEW = b"release one " * 100
NOT_ENROLLED = "; not enrolled"


def why(bed: Bed) -> str:
    return str(bed.status()["why"])


class TestWhy:
    def test_before_the_first_decision(self, bed: Bed) -> None:
        assert why(bed) == (
            "nothing was decided here yet: run 'interlock-client check'; not enrolled"
        )

    def test_nothing_is_ordered(self, bed: Bed) -> None:
        bed.check()
        assert (
            why(bed) == f"nothing is ordered for it: runs what came from the factory{NOT_ENROLLED}"
        )

    def test_up_to_date(self, world: World, bed: Bed) -> None:
        rollout = world.roll_out(world.release("1.0.0", NEW))
        bed.install()
        bed.check()
        runs = "ward-gateway/1.0.0/image.bin"
        assert why(bed) == (
            f"up to date: runs {runs} by order {rollout.order.id[:12]}{NOT_ENROLLED}"
        )

    def test_an_update_is_there(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.check()
        assert why(bed).startswith("an update is authorised: ward-gateway/1.0.0/image.bin")

    def test_a_patient_depends_on_it(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.script("interlock.d/bedside", "echo infusion running; exit 1")
        bed.update()
        world.clock.pass_(hours=2)
        bed.update()
        assert why(bed).startswith("waiting for 2 h 0 min: a patient depends on it (")
        assert "bedside" in why(bed)

    def test_held_back(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        (bed.home / "hold").write_text("until Monday\n")
        bed.update()
        assert "the hospital holds it back (held here: until Monday)" in why(bed)

    def test_the_lease_is_held(self, world: World, bed: Bed) -> None:
        from interlock_client.state import exclusive  # noqa: PLC0415

        world.roll_out(world.release("1.0.0", NEW))
        with exclusive(bed.settings.lease, "A test is at work"):
            assert bed.update().reason == "interlock_not_clear"
        assert why(bed).startswith("waiting for 0 min: a patient depends on it (")

    def test_not_in_stage_yet(self, world: World, bed: Bed) -> None:
        rollout = world.order(world.release("1.0.0", NEW))
        world.authorise(rollout, "order", rollout.order.id)
        world.show("wards", rollout)
        bed.check()
        assert why(bed).startswith("waiting: not_started: nobody has started this order yet")

    def test_refused(self, world: World, bed: Bed) -> None:
        rollout = world.roll_out(world.release("1.0.0", NEW))
        world.stop(rollout)
        world.show("wards", rollout)
        bed.check()
        assert why(bed).startswith("refused: stopped: the rollout was stopped")

    def test_refused_at_every_poll(self, world: World, bed: Bed) -> None:
        bed.check()
        world.clock.pass_(days=20)
        bed.check()
        world.clock.pass_(days=3)
        bed.check()
        assert why(bed).startswith("refused since 2030-01-21T12:00:00Z (")
        assert ": expired_metadata: " in why(bed)

    def test_no_room(self, world: World, bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        monkeypatch.setattr("interlock_client.install.slots.SlotInstaller.room", lambda _: 3)
        bed.check()
        assert why(bed).startswith("cannot go on: no_space: ")

    def test_a_reboot_command_that_fails(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.script("reboot.sh", "exit 7")
        bed.update()
        assert why(bed).startswith("cannot go on with ward-gateway/1.0.0/image.bin: reboot_failed")

    def test_on_its_way_down_and_up_again(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.update()
        assert why(bed).startswith("rebooting into ward-gateway/1.0.0/image.bin")
        bed.power_on()
        assert why(bed).startswith("ward-gateway/1.0.0/image.bin has booted and waits")

    def test_confirmed_and_not_polled_since(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.install()
        assert why(bed).startswith("up to date: runs ward-gateway/1.0.0/image.bin by order ")

    def test_rolled_back_and_what_comes_after(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.update()
        bed.script("health.d/application", "exit 1")
        bed.power_on()
        bed.confirm()
        assert why(bed).startswith("rolled back: health_check_failed: ")
        world.roll_out(world.release("1.0.1", NEW + b"mended"))
        bed.power_on()
        bed.check()
        assert why(bed).startswith("an update is authorised: ward-gateway/1.0.1/image.bin")

    def test_nobody_knows_what_booted(self, bed: Bed) -> None:
        (bed.home / "booted").unlink()
        assert why(bed).startswith("cannot update: ")
        assert "does not say which slot booted" in why(bed)

    def test_moved(self, world: World, bed: Bed, fleet: Fleet) -> None:
        bed.change(cohort_patterns=("*",))
        bed.enrol()
        world.assign(bed.status()["enrolment"]["id"])
        world.show("wards")
        bed.check()
        assert why(bed) == "nothing is ordered for it: runs what came from the factory"


class TestEnrolment:
    @pytest.mark.parametrize(
        ("countersigned", "clause"),
        [(False, "; enrolled, waiting for a countersignature"), (True, "")],
    )
    def test_what_it_counts_for(
        self, bed: Bed, fleet: Fleet, countersigned: bool, clause: str
    ) -> None:
        fleet.countersigned = countersigned
        bed.enrol()
        assert why(bed) == f"nothing was decided here yet: run 'interlock-client check'{clause}"

    def test_a_lost_outbox_is_said(self, bed: Bed, fleet: Fleet) -> None:
        bed.enrol()
        (bed.home / "state" / "identity" / "sent.json").unlink()
        found = bed.status()["outbox"]
        assert found["waiting"] is None
        assert "--renew" in found["trouble"]
        assert bed.check().more["report_fault"] == "damaged_state"
        fleet.claims.add(SECRET)
        assert bed.enrol(renew=True).reason == "countersigned"
        assert bed.report().reason == "acknowledged"


def test_when_a_server_answered_last(world: World, bed: Bed) -> None:
    assert bed.status()["last_poll"] is None
    bed.check()
    first = world.clock()
    world.clock.pass_(minutes=5)
    assert bed.status()["last_poll"] == first
    bed.check()
    assert bed.status()["last_poll"] == world.clock()
    bed.change(servers=("http://127.0.0.1:9",))
    world.clock.pass_(minutes=5)
    bed.check()
    assert bed.status()["last_poll"] == world.clock.now.replace(minute=5)


def test_people_see_the_sentence_first(bed: Bed) -> None:
    said = client("status", "--config", bed.write_config())
    first, second, *_ = said.out.splitlines()
    assert first == "nothing was decided here yet: run 'interlock-client check'; not enrolled"
    assert second == ""
    assert "enrolment  none: this gateway makes no reports" in said.out


def test_machines_find_what_they_found_before(bed: Bed) -> None:
    found = client("status", "--config", bed.write_config(), "--json").json()
    before = {"device", "product", "hardware", "cohort", "state", "running", "slots", "attempt"}
    before |= {"deferral", "ended", "last_decision", "trouble", "settled_until", "interlock"}
    before |= {"clock_floor", "floors", "rolled_back"}
    new = {"why", "configured_cohort", "assigned", "enrolment", "outbox", "last_poll"}
    assert before | new <= set(found)
