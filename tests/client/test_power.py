"""The power goes before any change of the disk: something good boots, and a re-run finishes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from interlock_client.journal import State
from interlock_core import durable
from tests.client.bed import FACTORY, Bed
from tests.client.web import Web
from tests.client.world import World

OLD = b"release one " * 100
NEW = b"release two " * 100


class PowerCut(BaseException):
    """The power goes."""


def cut(act: Callable[[], object], step: int) -> bool:
    """Run ``act``, and let the power go before its change number ``step``; False if it ended."""
    seen = 0

    def watch(_act: str, _path: Path) -> None:
        nonlocal seen
        seen += 1
        if seen > step:
            # Dead stays dead: nothing that runs on the way out changes anything either.
            raise PowerCut

    try:
        with durable.watching(watch):
            act()
    except PowerCut:
        return True
    return False


def good(bed: Bed, *contents: bytes) -> None:
    """What runs after a boot is whole, and one of these."""
    assert bed.running in contents


def finish(bed: Bed) -> None:
    """What the machine does unattended: confirm at every boot, and update now and then."""
    for _ in range(6):
        bed.confirm()
        if bed.wants_reboot:
            bed.power_on()
            continue
        if bed.update().outcome == "rebooting":
            bed.power_on()
        elif bed.journal.state is not State.WAITING:
            return


@pytest.fixture
def waiting(tmp_path: Path, world: World, web: Web) -> Bed:
    """A gateway that runs ``OLD``, and ``NEW`` is ordered; nothing clinical depends on it."""
    world.roll_out(world.release("1.0.0", OLD))
    bed = Bed(tmp_path / "gateway", world, web, interlock="none", health="none")
    bed.power_on()
    assert bed.install().outcome == "confirmed"
    world.roll_out(world.release("2.0.0", NEW, raises_floor_to=2))
    return bed


def finally_new(bed: Bed) -> None:
    assert bed.running == NEW
    assert bed.journal.state is State.CONFIRMED
    memory = bed.memory
    assert memory.highest_confirmed_counter == 2
    assert memory.release_floor == 2
    assert memory.rolled_back == ()
    assert bed.environment.load().active == bed.environment.require_booted()
    assert bed.check().reason == "already_installed"
    assert len(list((bed.home / "state").glob("trusted-*"))) == 1


def every_step(bed: Bed, explore: Callable[[Bed, int], bool]) -> int:
    """Explore each step from the same beginning until there are no more; returns how many."""
    bed.save()
    step = 0
    while explore(bed, step):
        step += 1
        bed.restore()
    return step


def test_during_an_update(waiting: Bed) -> None:
    def explore(bed: Bed, step: int) -> bool:
        was_cut = cut(bed.update, step)
        bed.power_on()
        good(bed, OLD, NEW)
        if bed.running == OLD:
            assert bed.memory.release_floor == 0, "nothing rises before it is confirmed"
        finish(bed)
        finally_new(bed)
        return was_cut

    assert every_step(waiting, explore) > 60


def test_during_a_confirmation(waiting: Bed) -> None:
    waiting.update()
    waiting.power_on()

    def explore(bed: Bed, step: int) -> bool:
        was_cut = cut(bed.confirm, step)
        bed.power_on()
        assert bed.running == NEW
        finish(bed)
        finally_new(bed)
        return was_cut

    assert every_step(waiting, explore) > 15


def test_while_a_permit_is_spent(waiting: Bed) -> None:
    """Before the change that confirms it, it is whole; from then on it is spent, once."""
    assert waiting.install().outcome == "confirmed"
    old, new = waiting.world.releases
    recall = waiting.world.roll_out(old, kind="recall")
    permit = waiting.world.permit(recall, new, old)
    assert waiting.update().outcome == "rebooting"
    waiting.power_on()

    def explore(bed: Bed, step: int) -> bool:
        was_cut = cut(bed.confirm, step)
        assert bed.memory.spent_permits in {(), (permit,)}
        if bed.memory.spent_permits:
            assert bed.environment.load().active == bed.environment.require_booted()
        bed.power_on()
        finish(bed)
        assert bed.running == OLD
        assert bed.memory.spent_permits == (permit,)
        assert bed.memory.release_floor == 2
        return was_cut

    assert every_step(waiting, explore) > 15


def test_while_booting(waiting: Bed) -> None:
    waiting.update()

    def explore(bed: Bed, step: int) -> bool:
        was_cut = cut(bed.power_on, step)
        bed.power_on()
        assert bed.running == NEW
        finish(bed)
        finally_new(bed)
        return was_cut

    assert every_step(waiting, explore) > 5


def test_during_an_automatic_rollback(waiting: Bed) -> None:
    waiting.update()
    booted = waiting.power_on()
    (waiting.home / "slots" / booted).write_bytes(b"rotten")

    def explore(bed: Bed, step: int) -> bool:
        was_cut = cut(bed.confirm, step)
        bed.power_on()
        for _ in range(3):
            bed.confirm()
            if bed.wants_reboot:
                bed.power_on()
        assert bed.running == OLD
        assert bed.journal.state is State.ROLLED_BACK
        assert bed.update().reason == "rolled_back_here"
        assert bed.memory.release_floor == 0
        return was_cut

    assert every_step(waiting, explore) > 10


def test_a_rollback_that_was_begun_is_finished(waiting: Bed) -> None:
    """The process dies and the machine does not: what was given up is not taken back."""
    waiting.update()
    booted = waiting.power_on()
    slot = waiting.home / "slots" / booted
    given_up = 0

    def explore(bed: Bed, step: int) -> bool:
        nonlocal given_up
        slot.write_bytes(b"rotten")
        was_cut = cut(bed.confirm, step)
        slot.write_bytes(NEW)
        state = bed.environment.load()
        if was_cut and state.armed is None:
            given_up += 1
            assert bed.confirm().outcome in {"rolled_back", "nothing_to_do", "transient"}
            bed.power_on()
            assert bed.running == OLD
        return was_cut

    every_step(waiting, explore)
    assert given_up > 3


def test_an_order_after_one_that_fell_back_is_not_taken_for_it(world: World, waiting: Bed) -> None:
    """Cut off before it was armed: it never booted, so it cannot have failed."""
    waiting.update()
    while waiting.power_on() == "a":
        assert waiting.boots < 10
    assert waiting.confirm().reason == "tries_used_up"
    world.roll_out(world.release("3.0.0", b"release three " * 100))

    def explore(bed: Bed, step: int) -> bool:
        was_cut = cut(bed.update, step)
        bed.power_on()
        bed.confirm()
        assert [pair.sha256 for pair in bed.memory.rolled_back] == [world.releases[1].target.sha256]
        return was_cut

    assert every_step(waiting, explore) > 60


def test_a_person_may_go_back_wherever_an_update_was_cut_off(world: World, waiting: Bed) -> None:
    world.roll_out(world.release("3.0.0", NEW + OLD))
    assert waiting.install().outcome == "confirmed"
    world.roll_out(world.release("4.0.0", OLD + NEW))
    went = 0

    def explore(bed: Bed, step: int) -> bool:
        nonlocal went
        was_cut = cut(bed.update, step)
        bed.power_on()
        outcome = bed.rollback()
        assert outcome.reason in {"by_hand", "nothing_good"}, outcome
        went += outcome.outcome == "rolling_back"
        return was_cut

    assert every_step(waiting, explore) > 60
    assert went > 5


def test_the_last_moment_is_over_when_the_power_comes_back(world: World, waiting: Bed) -> None:
    """Whatever is decided then: nobody shall read that it is still going on."""
    rollout = world.rollouts[-1]
    waiting.save()
    step, found = 0, False
    while not found and cut(waiting.update, step):
        found = waiting.journal.state is State.LAST_MOMENT
        step += 1
        if not found:
            waiting.restore()
    assert found
    world.stop(rollout)
    world.show("wards", rollout)
    assert waiting.update().reason == "stopped"
    assert waiting.journal.state is State.WAITING


def test_during_a_rollback_by_hand(bed: Bed, world: World) -> None:
    world.roll_out(world.release("1.0.0", NEW))
    assert bed.install().outcome == "confirmed"

    def explore(bed: Bed, step: int) -> bool:
        was_cut = cut(bed.rollback, step)
        bed.power_on()
        good(bed, FACTORY, NEW)
        if bed.running == NEW:
            bed.rollback()
            bed.power_on()
        assert bed.running == FACTORY
        assert bed.confirm().outcome == "nothing_to_do"
        assert bed.update().reason == "rolled_back_here"
        return was_cut

    assert every_step(bed, explore) > 10


def test_during_a_check(waiting: Bed) -> None:
    def explore(bed: Bed, step: int) -> bool:
        was_cut = cut(bed.check, step)
        assert bed.memory.orders["ward-gateway/wards"].seq >= 1
        assert bed.check().outcome == "update_available"
        return was_cut

    assert every_step(waiting, explore) > 20
