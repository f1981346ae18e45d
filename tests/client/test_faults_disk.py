"""Whatever a disk does: it is named, nothing is lost, and it works again when the fault has ended.

Real file systems and block devices (``tests.support.disks``), and everything is flushed for real.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from interlock_client import boot
from interlock_client.outcome import Outcome
from interlock_client.tables import SlotPaths
from interlock_core.errors import Exit
from tests.client.bed import Bed
from tests.client.web import Web
from tests.client.world import PRODUCT, World
from tests.support.disks import Small, ext4, loop, small
from tests.support.faults import Exchange, FaultProxy

OLD = b"release one " * 100
NEW = os.urandom(300_000)
IMAGE = f"/image/targets/{PRODUCT}/"
MIB = 1 << 20


@pytest.fixture(autouse=True)
def _no_flushing() -> None:
    """Here flushing is what is tested."""


@pytest.fixture
def bed(tmp_path: Path, world: World, web: Web) -> Bed:
    """A gateway that runs ``OLD`` and is ordered ``NEW``."""
    world.roll_out(world.release("1.0.0", OLD))
    made = Bed(tmp_path / "gateway", world, web, interlock="none", health="none")
    made.power_on()
    assert made.install().outcome == "confirmed"
    world.roll_out(world.release("2.0.0", NEW))
    return made


def named(outcome: Outcome, *words: str, reason: str = "disk") -> None:
    assert (outcome.outcome, outcome.reason) == ("transient", reason), outcome
    assert outcome.exit_code is Exit.TRANSIENT
    for word in words:
        assert word in outcome.detail, outcome.detail


def still_old(bed: Bed) -> None:
    """Off and on: what ran before runs, and nothing is armed."""
    assert not bed.wants_reboot
    assert bed.environment.load().armed is None
    assert bed.running == OLD


def finishes(bed: Bed) -> None:
    """What an honest run comes to."""
    bed.power_on()
    bed.confirm()
    if bed.running != NEW:
        assert bed.running == OLD
        assert bed.update().outcome == "rebooting"
        bed.power_on()
        assert bed.confirm().outcome == "confirmed"
    assert bed.running == NEW
    assert bed.check().reason == "already_installed"
    assert not list(bed.home.rglob(".interlock-*.partial")), "nothing is left lying about"


@contextmanager
def full(disk: Small) -> Iterator[str]:
    disk.fill()
    yield "the disk is full"
    disk.make_room()


@contextmanager
def read_only(disk: Small) -> Iterator[str]:
    disk.read_only(True)
    yield "read-only"
    disk.read_only(False)


PLACES = ["state", "slots", "boot"]


Fault = Callable[[Small], AbstractContextManager[str]]


@pytest.mark.parametrize("fault", [full, read_only])
@pytest.mark.parametrize("place", PLACES)
def test_a_file_system_that_takes_nothing(bed: Bed, place: str, fault: Fault) -> None:
    with small(bed.home / place, 2 * MIB) as disk:
        with fault(disk) as word:
            outcome = bed.update()
            if (place, fault) == ("slots", full):
                named(outcome, "bytes are needed", reason="no_space")
            else:
                named(outcome, word, str(bed.home / place))
            still_old(bed)
        finishes(bed)


@pytest.mark.parametrize(
    ("place", "fault"), [("state", full), ("slots", full), ("boot", full), ("boot", read_only)]
)
def test_it_takes_nothing_any_more_in_the_middle_of_a_download(
    bed: Bed, web: Web, place: str, fault: Fault
) -> None:
    """It begins when half of the image has come, and ends after the command.

    No file system with open files is remounted read-only: the kernel refuses that.
    """
    with ExitStack() as stack:
        disk = stack.enter_context(small(bed.home / place, 2 * MIB))
        proxy = stack.enter_context(FaultProxy(web.url))
        bed.change(servers=(proxy.url,))
        trouble = stack.enter_context(ExitStack())

        def half(exchange: Exchange) -> None:
            exchange.send(exchange.head + exchange.body[:150_000])
            trouble.enter_context(fault(disk))
            exchange.send(exchange.body[150_000:])

        proxy.breaks(IMAGE, half)
        outcome = bed.update()
        named(outcome, str(bed.home / place))
        still_old(bed)
        proxy.heal()
        trouble.close()
        finishes(bed)


@pytest.mark.parametrize("fault", [full, read_only])
@pytest.mark.parametrize("place", ["state", "boot"])
def test_it_takes_nothing_when_new_firmware_is_confirmed(
    bed: Bed, place: str, fault: Fault
) -> None:
    """It is not confirmed, and not rolled back either: the next try or boot judges it."""
    assert bed.update().outcome == "rebooting"
    with small(bed.home / place, 2 * MIB) as disk:
        bed.power_on()
        assert bed.running == NEW
        with fault(disk) as word:
            named(bed.confirm(), word, str(bed.home / place))
            assert bed.memory.release_floor == 0
        assert bed.confirm().outcome == "confirmed"
        assert bed.running == NEW


@pytest.mark.parametrize("fault", [full, read_only])
def test_a_boot_state_that_cannot_be_written_boots_what_is_committed(
    bed: Bed, fault: Fault
) -> None:
    """A try that cannot be counted is not made (``boot``, rule 2)."""
    assert bed.update().outcome == "rebooting"
    with small(bed.home / "boot", 2 * MIB) as disk:
        with fault(disk):
            slot, trouble = bed.environment.boot()
            assert trouble is not None
            assert bed.slot(slot) == OLD
        bed.power_on()
        assert bed.confirm().outcome == "confirmed"
        assert bed.running == NEW


@pytest.mark.parametrize("place", ["state", "boot"])
def test_a_file_system_on_a_worn_disk(bed: Bed, place: str) -> None:
    """It takes everything, and fails when it is flushed."""
    with ext4(bed.home / place, bed.home / "worn") as disk:
        disk.fill()
        named(bed.update(), "Cannot", str(bed.home / place))
        still_old(bed)
        disk.make_room()
        finishes(bed)


@contextmanager
def worn(bed: Bed, room: int) -> Iterator[tuple[Small, Path]]:
    """Let the slot that is not running be a block device that has room for some bytes only."""
    place = bed.home / "worn"
    place.mkdir()
    with small(place, room) as disk, loop(place / "device", MIB) as device:
        sides = {side: SlotPaths.one(bed.home / "slots" / side) for side in ("a", "b")}
        sides[boot.other(bed.environment.require_booted())] = SlotPaths.one(device)
        bed.change(
            installer=msgspec.structs.replace(bed.settings.installer, a=sides["a"], b=sides["b"])
        )
        yield disk, device


def test_a_slot_that_reports_errors_when_it_is_flushed(bed: Bed) -> None:
    """Nothing of what it did not take counts as kept, and it is named."""
    with worn(bed, 64 * 1024) as (disk, device):
        disk.fill()
        for _ in range(2):
            named(bed.update(), "Cannot write", str(device))
            still_old(bed)
        disk.resize(4 * MIB)
        assert bed.update().outcome == "rebooting"
        assert device.read_bytes()[: len(NEW)] == NEW


def test_a_slot_that_loses_what_it_said_was_flushed(bed: Bed) -> None:
    """Found when it is read back at the last moment: it is not armed, and written anew next time.

    Linux's loop device takes a write that its file has room for in part, and says nothing.
    """
    with worn(bed, 128 * 1024) as (disk, device):
        outcome = bed.update()
        assert (outcome.outcome, outcome.reason) == ("refused", "slot_mismatch"), outcome
        still_old(bed)
        disk.resize(4 * MIB)
        assert bed.update().outcome == "rebooting"
        assert device.read_bytes()[: len(NEW)] == NEW


def test_a_slot_that_cannot_be_read_back(bed: Bed, web: Web) -> None:
    """It fails between the writing and the last moment, and never runs."""
    with ExitStack() as stack:
        disk, device = stack.enter_context(worn(bed, 4 * MIB))
        proxy = stack.enter_context(FaultProxy(web.url))
        bed.change(servers=(proxy.url,))

        def wears_out(exchange: Exchange) -> None:
            os.truncate(disk.path / "device", 64 * 1024)
            exchange.send(exchange.head + exchange.body)

        proxy.breaks("/poll/", wears_out, after=1)
        named(bed.update(), "the disk reported an error", str(device))
        still_old(bed)
        proxy.heal()
        os.truncate(disk.path / "device", MIB)
        assert bed.update().reason == "slot_mismatch"
        still_old(bed)
        assert bed.update().outcome == "rebooting"
