"""The power goes while an executable of the integrator's unpacks, and before and after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from interlock_client.journal import State
from tests.client.test_power import cut
from tests.client.unpacking import UnpackingBed
from tests.client.web import Web
from tests.client.world import World

EVERY = 5
"""One of so many steps is cut: an update has about a hundred, and each starts programs."""


@pytest.fixture
def waiting(tmp_path: Path, world: World, web: Web) -> UnpackingBed:
    """A gateway that runs one release of two slots, and the next is ordered."""
    bed = UnpackingBed(tmp_path / "gateway", world, web, interlock="none", health="none")
    bed.power_on()
    bed.order("1.0.0", "one")
    assert bed.install().outcome == "confirmed"
    bed.order("2.0.0", "two", raises_floor_to=2)
    return bed


def finish(bed: UnpackingBed) -> None:
    """What the machine does unattended."""
    for _ in range(6):
        bed.confirm()
        if bed.wants_reboot or bed.update().outcome == "rebooting":
            bed.power_on()
        elif bed.journal.state is not State.WAITING:
            return


def is_done(bed: UnpackingBed) -> None:
    assert bed.environment.load().active == bed.environment.require_booted() == "a"
    assert bed.holds("a", "two")
    assert bed.holds("b", "one")
    assert bed.journal.state is State.CONFIRMED
    assert (bed.memory.release_floor, bed.memory.rolled_back) == (2, ())
    assert not bed.copy.exists()


def test_during_an_update(waiting: UnpackingBed, web: Web) -> None:
    """The old firmware boots whole, and a re-run finishes; what came is not fetched again."""
    waiting.save()
    step, cuts = 0, 0
    while True:
        web.requests.clear()
        was_cut = cut(waiting.update, step)
        found = waiting.journal
        booted = waiting.power_on()
        assert waiting.holds(booted, "one" if booted == "b" else "two")
        if booted == "b":
            assert waiting.memory.release_floor == 0
        finish(waiting)
        is_done(waiting)
        if found.unpacking is not None:
            fetched = sum(path.endswith("image.bin") for path in web.requests)
            assert fetched == 1, "the copy was there"
        if not was_cut:
            break
        cuts, step = cuts + 1, step + EVERY
        waiting.restore()
    assert cuts > 15


def breaking(line: str) -> Callable[[str], str]:
    """The executable does this before it unpacks a slot."""
    old = '        tar -xOf "/proc/self/fd/$3" "$slot.img" > "$store/$2/$slot"\n'
    return lambda text: text.replace(old, f"{line}\n{old}")


def test_while_the_executable_writes(waiting: UnpackingBed) -> None:
    """It dies with the machine, half done: garbage that nothing boots."""
    for line in ('echo half > "$store/$2/rootfs"; kill -9 $$', "[ $slot = rootfs ] || kill -9 $$"):
        waiting.rig.write_program(breaking(line))
        assert waiting.update().reason == "installer_failed"
        state = waiting.environment.load()
        assert (state.armed, state.good) == (None, ("b",))
        assert waiting.power_on() == "b"
        assert waiting.rollback().reason == "nothing_good"
    waiting.rig.write_program(lambda text: text)
    waiting.world.clock.pass_(hours=1)
    finish(waiting)
    is_done(waiting)
