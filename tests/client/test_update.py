"""The whole way of an image: poll, decide, write, wait, last moment, reboot, confirm, roll back."""

from __future__ import annotations

import fcntl
from datetime import timedelta

import pytest

from interlock_client.config import LocalWindow
from interlock_client.context import Context
from interlock_client.journal import State
from interlock_client.state import exclusive
from interlock_core.errors import Exit
from interlock_core.order import Window
from tests.client.bed import FACTORY, Bed
from tests.client.web import Handler, Web
from tests.client.world import OPERATOR, World

OLD = b"release one " * 5000
NEW = b"release two " * 6000


def nothing_armed(bed: Bed) -> bool:
    return bed.environment.load().armed is None and not bed.wants_reboot


def downloads(web: Web) -> int:
    return sum(path.endswith("image.bin") for path in web.requests)


def test_a_release_reaches_the_gateway(world: World, bed: Bed) -> None:
    rollout = world.roll_out(world.release("1.0.0", NEW))

    outcome = bed.update()
    assert (outcome.outcome, outcome.exit_code) == ("rebooting", 0)
    assert bed.wants_reboot
    assert bed.slot("a") == FACTORY
    assert bed.slot("b") == NEW
    assert bed.memory.highest_confirmed_counter == 0, "nothing rises before it is confirmed"

    assert bed.power_on() == "b"
    confirmed = bed.confirm()
    assert (confirmed.outcome, confirmed.exit_code) == ("confirmed", 0)
    assert bed.memory.highest_confirmed_counter == 1
    assert bed.memory.slots["b"].order == rollout.order.id
    assert bed.power_on() == "b", "a committed slot boots by itself"
    assert bed.check().reason == "already_installed"
    assert bed.confirm().outcome == "nothing_to_do"


def test_the_next_release_goes_into_the_other_slot(world: World, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", OLD))
    bed.install()
    world.roll_out(world.release("2.0.0", NEW, raises_floor_to=2))
    assert bed.install().outcome == "confirmed"
    assert (bed.slot("a"), bed.slot("b")) == (NEW, OLD)
    assert bed.memory.release_floor == 2


def test_nothing_wanted_is_done(bed: Bed) -> None:
    outcome = bed.update()
    assert (outcome.outcome, outcome.reason, outcome.exit_code) == (
        "nothing_to_do",
        "nothing_wanted",
        0,
    )


def test_check_changes_no_slot(world: World, web: Web, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    outcome = bed.check()
    assert (outcome.outcome, outcome.exit_code) == ("update_available", 0)
    assert bed.slot("b") == b""
    assert downloads(web) == 0


def test_in_clinical_use_it_waits_and_does_not_download_again(
    world: World, web: Web, bed: Bed
) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    bed.script("interlock.d/10-idle", "echo infusion running; exit 1")
    outcome = bed.update()
    assert (outcome.outcome, outcome.reason, outcome.exit_code) == (
        "deferred",
        "interlock_not_clear",
        10,
    )
    assert "infusion running" in outcome.detail
    assert nothing_armed(bed)
    assert bed.slot("b") == NEW
    assert bed.journal.state is State.WAITING
    began = bed.journal.deferral
    world.clock.pass_(hours=3)
    assert bed.update().exit_code is Exit.DEFERRED
    assert bed.journal.deferral == began, "the age of a deferral counts from its beginning"
    assert bed.power_on() == "a"

    bed.script("interlock.d/10-idle", "exit 0")
    assert bed.install().outcome == "confirmed"
    assert downloads(web) == 1


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_patient_may_come_at_any_time_before_the_reboot(world: World, bed: Bed, at: int) -> None:
    """The interlock is asked before the last moment, in it, and right before the reboot."""
    world.roll_out(world.release("1.0.0", NEW))
    bed.script(
        "interlock.d/10-idle",
        f'echo x >> "{bed.home}/asked"; [ $(wc -l < "{bed.home}/asked") -lt {at} ]',
    )
    outcome = bed.update()
    assert (bed.home / "asked").read_text().count("x") == at
    assert (outcome.reason, outcome.exit_code) == ("interlock_not_clear", 10)
    assert nothing_armed(bed)
    assert bed.power_on() == "a"


def test_clinical_software_may_hold_the_lease(world: World, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    (bed.home / "state").mkdir()
    with (bed.home / "state" / "updating").open("w") as lease:
        fcntl.flock(lease, fcntl.LOCK_SH)
        outcome = bed.update()
        assert (outcome.reason, outcome.exit_code) == ("interlock_not_clear", 10)
        assert nothing_armed(bed)
    assert bed.update().outcome == "rebooting"


def test_clinical_software_can_see_the_lease(world: World, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    bed.change(lease_file=bed.home / "run" / "interlock" / "updating")
    bed.update()
    assert bed.settings.lease.stat().st_mode & 0o777 == 0o644
    assert bed.settings.lease.parent.stat().st_mode & 0o777 == 0o755
    assert (bed.home / "state").stat().st_mode & 0o777 == 0o755
    for name in ("memory.json", "journal.json", "bundle.json", "roster.json", "lock"):
        assert (bed.home / "state" / name).stat().st_mode & 0o777 == 0o600, name


def test_the_lease_is_held_while_the_gateway_reboots(world: World, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    lease = bed.home / "state" / "updating"
    bed.script(
        "reboot.sh", f'flock --nonblock --shared "{lease}" true; echo $? > "{bed.home}/held"'
    )
    assert bed.update().outcome == "rebooting"
    assert (bed.home / "held").read_text().strip() == "1"


def test_the_hospital_holds_it_back(world: World, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    (bed.home / "hold").write_text("ward is being moved\nsecond line\n")
    outcome = bed.update()
    assert (outcome.reason, outcome.exit_code) == ("local_hold", 10)
    assert "ward is being moved" in outcome.detail
    assert "second line" not in outcome.detail
    assert nothing_armed(bed)
    (bed.home / "hold").unlink()
    assert bed.update().outcome == "rebooting"


def test_a_hold_that_cannot_be_read_holds(world: World, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    (bed.home / "hold").mkdir()
    assert bed.update().reason == "local_hold"


def test_windows_are_local_time(world: World, web: Web, bed: Bed) -> None:
    """It is 12:00 UTC; the gateway stands two hours east."""
    world.roll_out(world.release("1.0.0", NEW), window=Window(opens="13:30", closes="15:00"))
    assert bed.update().reason == "outside_window"
    assert nothing_armed(bed)
    bed.local = timedelta(hours=2)
    assert bed.update().outcome == "rebooting"


def test_the_gateway_has_a_window_of_its_own(world: World, web: Web, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    settings = LocalWindow(opens="22:00", closes="05:00")
    other = Bed(bed.home.parent / "other", world, web, window=settings)
    other.power_on()
    assert other.update().reason == "outside_window"
    world.clock.pass_(hours=11)
    assert other.update().outcome == "rebooting"


def test_a_stop_reaches_an_image_that_waits(world: World, bed: Bed) -> None:
    rollout = world.roll_out(world.release("1.0.0", NEW))
    bed.script("interlock.d/10-idle", "exit 1")
    bed.update()
    bed.script("interlock.d/10-idle", "exit 0")
    world.stop(rollout)
    world.show("wards", rollout)
    outcome = bed.update()
    assert (outcome.reason, outcome.exit_code) == ("stopped", 20)
    assert nothing_armed(bed)
    # A stop once seen holds, even when it is not shown any more.
    rollout.stops.clear()
    world.show("wards", rollout)
    assert bed.update().reason == "stopped"


def test_the_freshest_directive_is_fetched_at_the_last_moment(
    world: World, web: Web, bed: Bed
) -> None:
    rollout = world.roll_out(world.release("1.0.0", NEW))

    def stop_meanwhile(handler: Handler) -> None:
        if not rollout.stops:
            world.stop(rollout)
            world.show("wards", rollout)
        handler.serve(handler.path)

    web.lies["/image/targets/ward-gateway/"] = stop_meanwhile
    outcome = bed.update()
    assert outcome.reason == "stopped"
    assert nothing_armed(bed)
    assert bed.slot("b") == NEW


def test_a_newer_order_at_the_last_moment_is_taken_by_the_next_run(
    world: World, web: Web, bed: Bed
) -> None:
    world.roll_out(world.release("1.0.0", OLD))
    newer = world.release("2.0.0", NEW)
    seen: list[str] = []

    def supersede(handler: Handler) -> None:
        if not seen:
            world.roll_out(newer)
        seen.append(handler.path)
        handler.serve(handler.path)

    web.lies["/image/targets/ward-gateway/1.0.0/"] = supersede
    outcome = bed.update()
    assert (outcome.reason, outcome.exit_code) == ("newer_order", 30)
    assert nothing_armed(bed)
    assert bed.install().outcome == "confirmed"
    assert bed.running == NEW


def test_a_slot_that_changed_since_it_was_written_is_not_armed(
    world: World, web: Web, bed: Bed
) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    bed.script("interlock.d/10-idle", "exit 1")
    bed.update()
    flipped = bytearray(NEW)
    flipped[1000] ^= 1
    (bed.home / "slots" / "b").write_bytes(flipped)
    bed.script("interlock.d/10-idle", "exit 0")
    outcome = bed.update()
    assert (outcome.reason, outcome.exit_code) == ("slot_mismatch", 20)
    assert nothing_armed(bed)
    assert bed.install().outcome == "confirmed"
    assert downloads(web) == 2


def test_a_reboot_that_fails_leaves_nothing_armed(world: World, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    bed.script("reboot.sh", "exit 3")
    outcome = bed.update()
    assert (outcome.reason, outcome.exit_code) == ("reboot_failed", 30)
    assert nothing_armed(bed)
    assert bed.power_on() == "a"


def test_a_person_who_interrupts_leaves_nothing_armed(
    world: World, bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.roll_out(world.release("1.0.0", NEW))

    def interrupted(_self: Context) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Context, "reboot", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bed.update()
    assert nothing_armed(bed)
    monkeypatch.undo()
    assert bed.install().outcome == "confirmed"


def test_an_armed_slot_that_was_never_booted_takes_another_decision(world: World, bed: Bed) -> None:
    rollout = world.roll_out(world.release("1.0.0", NEW))
    assert bed.update().outcome == "rebooting"
    (bed.home / "rebooting").unlink()
    world.stop(rollout)
    world.show("wards", rollout)
    assert bed.update().reason == "stopped"
    assert nothing_armed(bed)


def test_an_unhealthy_release_rolls_back_and_is_not_tried_again(world: World, bed: Bed) -> None:
    release = world.release("1.0.0", NEW)
    rollout = world.roll_out(release)
    bed.script("health.d/10-up", "echo no heartbeat; exit 1")
    assert bed.update().outcome == "rebooting"
    assert bed.power_on() == "b"
    outcome = bed.confirm()
    assert (outcome.outcome, outcome.reason, outcome.exit_code) == (
        "rolled_back",
        "health_check_failed",
        40,
    )
    assert "no heartbeat" in outcome.detail
    assert bed.wants_reboot
    assert bed.power_on() == "a"
    assert bed.running == FACTORY
    assert bed.confirm().outcome == "nothing_to_do"
    assert bed.memory.highest_confirmed_counter == 0

    assert bed.update().reason == "rolled_back_here"
    assert bed.slot("a") == FACTORY
    # Neither does it come back with a refreshed directive, but it does with a new order.
    world.show("wards", rollout)
    assert bed.update().exit_code is Exit.REFUSED
    world.roll_out(release)
    bed.script("health.d/10-up", "exit 0")
    assert bed.install().outcome == "confirmed"


def test_a_release_that_never_comes_up_falls_back(world: World, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    bed.update()
    assert [bed.power_on() for _ in range(4)] == ["b", "b", "b", "a"]
    outcome = bed.confirm()
    assert (outcome.reason, outcome.exit_code) == ("tries_used_up", 40)
    assert bed.confirm().exit_code is Exit.DONE
    assert bed.update().reason == "rolled_back_here"


def test_a_fall_back_that_nobody_confirmed_is_noticed_by_the_next_update(
    world: World, bed: Bed
) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    bed.update()
    assert [bed.power_on() for _ in range(4)][-1] == "a"
    assert bed.update().reason == "rolled_back_here"
    assert bed.journal.state is State.ROLLED_BACK


def test_a_slot_that_is_not_what_was_wanted_is_rolled_back(world: World, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    bed.update()
    bed.power_on()
    (bed.home / "slots" / "b").write_bytes(NEW[:-1] + b"?")
    assert bed.confirm().reason == "slot_mismatch"
    assert bed.power_on() == "a"


def test_unconfirmed_firmware_updates_nothing(world: World, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", OLD))
    bed.update()
    bed.power_on()
    world.roll_out(world.release("2.0.0", NEW))
    outcome = bed.update()
    assert (outcome.reason, outcome.exit_code) == ("confirm_pending", 30)
    assert bed.slot("a") == FACTORY, "the committed slot is still there to fall back to"


def test_a_committed_slot_that_does_not_run_is_named(world: World, bed: Bed) -> None:
    """Some boot loader of its own mind booted the old one; the power went in between."""
    world.roll_out(world.release("1.0.0", NEW))
    bed.update()
    bed.power_on()
    before = bed.journal
    bed.confirm()
    with bed.context() as made:
        made.note(before)
    (bed.home / "booted").write_text("a\n")
    for command in (bed.confirm, bed.update):
        outcome = command()
        assert (outcome.reason, outcome.exit_code) == ("unexpected_slot", 20)
    assert bed.slot("b") == NEW
    bed.power_on()
    assert bed.confirm().outcome == "confirmed"


def test_firmware_of_which_the_journal_knows_nothing_is_not_confirmed(
    world: World, bed: Bed
) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    bed.update()
    (bed.home / "state" / "journal.json").unlink()
    assert bed.power_on() == "b"
    assert bed.confirm().reason == "unexpected_slot"
    assert [bed.power_on() for _ in range(3)][-1] == "a"
    assert bed.confirm().outcome == "nothing_to_do"
    assert bed.install().outcome == "confirmed"


def test_confirm_before_the_reboot_confirms_nothing(world: World, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    bed.update()
    outcome = bed.confirm()
    assert (outcome.reason, outcome.exit_code) == ("reboot_pending", 30)
    assert bed.power_on() == "b"


def test_without_health_checks_only_the_slot_is_judged(world: World, web: Web, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    other = Bed(bed.home.parent / "other", world, web, health="none")
    other.power_on()
    assert other.install().outcome == "confirmed"


def test_one_agent_at_a_time(bed: Bed) -> None:
    bed.check()
    with bed.context() as made, exclusive(made.state.root / "lock", "A test is at work"):
        for command in (bed.check, bed.update, bed.confirm, bed.rollback):
            outcome = command()
            assert (outcome.reason, outcome.exit_code) == ("busy", 30)


def test_an_unknown_slot_changes_nothing(world: World, bed: Bed) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    (bed.home / "booted").unlink()
    for command in (bed.check, bed.update, bed.confirm):
        outcome = command()
        assert (outcome.reason, outcome.exit_code) == ("booted_unknown", 2)
    assert bed.slot("b") == b""


def test_a_recall_goes_back_to_the_floor_and_not_below(world: World, bed: Bed) -> None:
    first = world.release("1.0.0", OLD)
    second = world.release("2.0.0", NEW, raises_floor_to=2)
    third = world.release("3.0.0", b"release three")
    for release in (first, second, third):
        world.roll_out(release)
        assert bed.install().outcome == "confirmed"
    world.roll_out(second)
    assert bed.update().reason == "below_floor", "an update never goes back"
    world.roll_out(first, kind="recall")
    assert bed.update().reason == "below_floor"
    world.roll_out(second, kind="recall")
    assert bed.install().outcome == "confirmed"
    assert bed.running == NEW
    assert bed.memory.highest_confirmed_counter == 3


class TestRollback:
    def test_a_person_goes_back(self, world: World, bed: Bed) -> None:
        for version, data in (("1.0.0", OLD), ("2.0.0", NEW)):
            world.roll_out(world.release(version, data))
            bed.install()
        outcome = bed.rollback()
        assert (outcome.outcome, outcome.exit_code) == ("rolling_back", 0)
        assert bed.wants_reboot
        bed.power_on()
        assert bed.running == OLD
        assert bed.confirm().outcome == "nothing_to_do"
        assert bed.update().reason == "rolled_back_here"
        assert bed.rollback().reason == "nothing_good", "what was given up is not gone back to"

    def test_back_to_what_came_from_the_factory(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.install()
        assert bed.rollback().exit_code is Exit.DONE
        bed.power_on()
        assert bed.running == FACTORY

    def test_there_must_be_something_good(self, world: World, bed: Bed) -> None:
        assert bed.rollback().reason == "nothing_good"
        world.roll_out(world.release("1.0.0", NEW))
        bed.script("interlock.d/10-idle", "exit 1")
        bed.update()
        bed.script("interlock.d/10-idle", "exit 0")
        assert bed.rollback().reason == "nothing_good", "written is not confirmed"

    def test_it_must_be_unchanged(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.install()
        (bed.home / "slots" / "a").write_bytes(b"something else")
        outcome = bed.rollback()
        assert (outcome.reason, outcome.exit_code) == ("slot_mismatch", 20)
        assert bed.power_on() == "b"

    def test_it_must_not_be_below_the_floor(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", OLD))
        bed.install()
        world.roll_out(world.release("2.0.0", NEW, raises_floor_to=2))
        bed.install()
        assert bed.rollback().reason == "below_floor"

    def test_a_patient_comes_first(self, world: World, bed: Bed) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.install()
        bed.script("interlock.d/10-idle", "exit 1")
        assert bed.rollback().exit_code is Exit.DEFERRED
        assert not bed.wants_reboot

    def test_new_firmware_can_be_given_up_before_it_is_confirmed(
        self, world: World, bed: Bed
    ) -> None:
        world.roll_out(world.release("1.0.0", NEW))
        bed.update()
        bed.power_on()
        assert bed.rollback().reason == "by_hand"
        assert bed.power_on() == "a"
        assert bed.update().reason == "rolled_back_here"


def test_one_operator_alone_starts_nothing(world: World, bed: Bed) -> None:
    rollout = world.order(world.release("1.0.0", NEW))
    world.authorise(rollout, "order", rollout.order.id, OPERATOR)
    world.open_stage(rollout)
    world.show("wards", rollout)
    outcome = bed.update()
    assert (outcome.reason, outcome.exit_code) == ("unauthorised_rollout", 20)
    assert bed.slot("b") == b""
