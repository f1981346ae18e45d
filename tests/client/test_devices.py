"""Slots that something on the machine uses, by way of whatever other device."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock_client.install import Installer, Wanted, devices
from interlock_client.install.layers import Extent, Layers, Thing
from interlock_client.tables import SlotPaths
from interlock_core.errors import ConfigurationError, TransientError
from tests.client.rigs import CommandRig, FileRig, Rig, in_use

MIB = 1 << 20


def disk(number: int) -> Thing:
    return Thing("device", number)


def file(number: int) -> Thing:
    return Thing("file", 1, number)


SDA, SDA1, SDA2, LOOP0, LOOP1, LOOP2, DM0, DM1 = (disk(number) for number in range(1, 9))
IMAGE, OTHER = file(1), file(2)


def layers(**fields: Any) -> Layers:
    known: dict[str, Any] = {"loops": {}, "partitions": {}, "members": {}, "files": frozenset()}
    return Layers(**known | fields)


def users(these: Layers, slot: Thing) -> set[Thing]:
    found, used = these.users(slot)
    assert not used
    return set(found)


class TestLayers:
    def test_a_file_and_the_loop_devices_on_it(self) -> None:
        these = layers(loops={LOOP0: Extent(IMAGE), LOOP1: Extent(LOOP0), LOOP2: Extent(OTHER)})
        assert these.one(IMAGE, LOOP0)
        assert these.one(LOOP1, IMAGE)
        assert not these.one(LOOP2, IMAGE)
        assert users(these, IMAGE) == {LOOP0, LOOP1}
        assert users(these, LOOP0) == {LOOP0, LOOP1}
        assert users(these, OTHER) == {LOOP2}

    def test_ranges_of_one_file_are_apart_unless_they_overlap(self) -> None:
        apart = layers(loops={LOOP0: Extent(IMAGE, 0, MIB), LOOP1: Extent(IMAGE, MIB, 2 * MIB)})
        assert not apart.one(LOOP0, LOOP1)
        assert users(apart, LOOP1) == {LOOP1}
        touching = layers(loops={LOOP0: Extent(IMAGE, 0, MIB + 1), LOOP1: Extent(IMAGE, MIB)})
        assert touching.one(LOOP0, LOOP1)
        assert users(touching, LOOP1) == {LOOP0, LOOP1}

    def test_the_other_partition_of_the_disk_is_no_hindrance(self) -> None:
        parts = {SDA1: Extent(SDA, 0, MIB), SDA2: Extent(SDA, MIB, 2 * MIB)}
        these = layers(partitions=parts)
        assert not these.one(SDA1, SDA2)
        assert users(these, SDA2) == {SDA2}
        assert these.one(SDA, SDA2)
        hidden = layers(partitions=parts, loops={LOOP0: Extent(SDA, MIB, 2 * MIB)})
        assert hidden.one(LOOP0, SDA2)
        assert not hidden.one(LOOP0, SDA1)
        assert users(hidden, SDA2) == {SDA2, LOOP0}
        assert users(hidden, LOOP0) == {LOOP0, SDA2, SDA}

    def test_two_volumes_on_one_member_are_no_hindrance_and_another_way_to_it_is(self) -> None:
        members = {DM0: (SDA2,), DM1: (SDA2,)}
        assert users(layers(members=members), DM1) == {DM1}
        loops = {LOOP0: Extent(IMAGE), LOOP1: Extent(IMAGE)}
        verity = layers(members={DM0: (LOOP0,)}, loops=loops)
        assert users(verity, DM0) == {DM0, LOOP1}
        assert users(verity, IMAGE) == {LOOP0, LOOP1}

    def test_a_file_that_is_used_without_a_device(self) -> None:
        these = layers(loops={LOOP0: Extent(IMAGE)}, files=frozenset({IMAGE}))
        assert these.users(LOOP0)[1]
        assert these.users(IMAGE)[1]
        assert not these.users(OTHER)[1]

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8))
    def test_whatever_circles_there_are_it_ends(self, pairs: list[tuple[int, int]]) -> None:
        these = layers(
            loops={disk(one): Extent(disk(other)) for one, other in pairs},
            members={disk(other): (disk(one),) for one, other in pairs},
        )
        for number in range(6):
            assert all(user.kind == "device" for user in users(these, disk(number)))


class TestReading:
    """A sample of the kernel's files."""

    @staticmethod
    def sample(root: Path) -> Path:
        """A disk of two partitions, a loop device on a slot file, and verity on that."""
        tree = {
            "sys/devices/sda/dev": "8:0",
            "sys/devices/sda/sda1/dev": "8:1",
            "sys/devices/sda/sda1/partition": "1",
            "sys/devices/sda/sda1/start": "2048",
            "sys/devices/sda/sda1/size": "4096",
            "sys/devices/loop0/dev": "7:0",
            "sys/devices/loop0/loop/backing_file": "/slots/a b",
            "sys/devices/loop0/loop/offset": "512",
            "sys/devices/loop0/loop/sizelimit": "0",
            "sys/devices/loop1/dev": "7:1",
            "sys/devices/loop2/dev": "7:2",
            "sys/devices/loop2/loop/backing_file": "/gone (deleted)",
            "sys/devices/dm-0/dev": "253:0",
            "sys/devices/dm-0/slaves/loop0/dev": "7:0",
            "slots/a b": "the slot",
            "slots/swap": "swap",
            "slots/mounted": "an image",
            "proc/swaps": "Filename Type Size Used Priority\n/slots/swap file 8 0 -2\n"
            "/slots/gone\\040(deleted) file 8 0 -3\n",
            "proc/self/mountinfo": "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
            "2 1 0:40 / /m rw shared:1 - erofs /slots/mounted ro\n3 1 0:41 / /n rw - tmpfs none rw",
        }
        for name, text in tree.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        block = root / "sys/class/block"
        block.mkdir(parents=True)
        for name in ("sda", "sda/sda1", "loop0", "loop1", "loop2", "dm-0"):
            (block / Path(name).name).symlink_to(root / "sys/devices" / name)
        return root

    def test_it_reads_how_devices_lie_on_one_another(self, tmp_path: Path) -> None:
        root = self.sample(tmp_path)
        slot, *used = (
            found
            for name in ("a b", "swap", "mounted")
            if (found := devices.thing(root / "slots" / name)) is not None
        )
        sda, sda1, loop0, dm = (
            disk(os.makedev(*number)) for number in ((8, 0), (8, 1), (7, 0), (253, 0))
        )
        assert devices.read(root) == Layers(
            loops={loop0: Extent(slot, 512)},
            partitions={sda1: Extent(sda, MIB, 3 * MIB)},
            members={dm: (loop0,)},
            files=frozenset(used),
        )

    @pytest.mark.parametrize("name", ["swap", "mounted"])
    def test_a_slot_file_that_is_used_as_it_is(self, tmp_path: Path, name: str) -> None:
        root = self.sample(tmp_path)
        with pytest.raises(ConfigurationError, match="in use, as swap, or mounted"):
            devices.require_unused(root / "slots" / name, root)

    def test_a_device_that_has_gone_meanwhile_uses_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = self.sample(tmp_path)
        known = devices.read(root)
        for name in ("loop0", "dm-0"):
            (root / "sys/class/block" / name).unlink()
        monkeypatch.setattr(devices, "read", lambda _: known)
        devices.require_unused(root / "slots" / "a b", root)

    def test_a_device_to_which_no_node_leads_is_not_taken_for_unused(self, tmp_path: Path) -> None:
        root = self.sample(tmp_path)
        with pytest.raises(TransientError, match="loop0"):
            devices.require_unused(root / "slots" / "a b", root)

    def test_what_cannot_be_asked_is_no_yes(self, tmp_path: Path) -> None:
        root = self.sample(tmp_path)
        (root / "dev").mkdir()
        (root / "dev" / "loop0").symlink_to("loop0")
        with pytest.raises(TransientError):
            devices.require_unused(root / "slots" / "a b", root)

    def test_a_machine_without_such_files_uses_nothing(self, tmp_path: Path) -> None:
        assert devices.read(tmp_path) == layers()
        devices.require_unused(tmp_path / "none", tmp_path)


Attach = Callable[..., Path]


@pytest.fixture
def attach() -> Iterator[Attach]:
    """Makes loop devices, which go at the end."""
    if os.geteuid() != 0 or shutil.which("losetup") is None:
        pytest.skip("only root makes loop devices, with losetup")
    with ExitStack() as stack:

        def made(behind: Path, *options: str) -> Path:
            words = ["losetup", *options, "--find", "--show", str(behind)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.skip(f"no loop device can be made here: {done.stderr}")
            device = Path(done.stdout.strip())
            stack.callback(lambda: subprocess.run(["losetup", "--detach", device], check=True))
            return device

        yield made


@pytest.fixture(params=[FileRig, CommandRig])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    (tmp_path / "rig").mkdir()
    made: Rig = request.param(tmp_path / "rig")
    for name in made.names:
        made.fill("b", name, bytes(MIB))
    return made


def writes(rig: Rig, **changes: Any) -> None:
    """What the agent does until a slot holds something."""
    wanted, target = rig.wanted(rig.contents("new"))
    installer = rig.installer(**changes)
    installer.check(wanted)
    puts(installer, wanted, target)


def puts(installer: Installer, wanted: Wanted, target: bytes) -> None:
    with installer.destination().open() as writer:
        writer.write(target)
        writer.finish()
    installer.install(wanted)


class TestSlotFiles:
    """The side that runs does so through a loop device, and is called the other one."""

    def test_what_runs_is_not_written(self, rig: Rig, attach: Attach) -> None:
        device = attach(rig.path("b", rig.names[-1]))
        before, good = rig.holds("b"), rig.installer().standing().good
        wanted, target = rig.wanted(rig.contents("new"))
        with in_use(device):
            with pytest.raises(ConfigurationError, match=f"in use, through {device.name}"):
                rig.installer().check(wanted)
            # As if it was taken into use after it was looked at.
            with pytest.raises(ConfigurationError, match=f"in use, through {device.name}"):
                puts(rig.installer(), wanted, target)
        assert rig.holds("b") == before
        assert rig.installer().standing().good == good
        writes(rig)

    def test_nor_by_way_of_a_loop_device_on_a_loop_device(self, rig: Rig, attach: Attach) -> None:
        device = attach(attach(rig.path("b", rig.names[0])))
        with in_use(device), pytest.raises(ConfigurationError, match="in use"):
            writes(rig)

    def test_nor_by_another_loop_device(self, tmp_path: Path, attach: Attach) -> None:
        """Slot ``b`` is a device on the file that runs through another."""
        (tmp_path / "rig").mkdir()
        rig = FileRig(tmp_path / "rig")
        backing = tmp_path / "disk"
        backing.write_bytes(bytes(MIB))
        runs, named = attach(backing), attach(backing)
        slots = SlotPaths({"rootfs": named})
        with in_use(runs), pytest.raises(ConfigurationError, match="in use"):
            writes(rig, b=slots)
        assert not any(backing.read_bytes())
        writes(rig, b=slots)

    def test_two_ranges_of_one_file_are_two_slots(self, tmp_path: Path, attach: Attach) -> None:
        (tmp_path / "rig").mkdir()
        rig = FileRig(tmp_path / "rig")
        backing = tmp_path / "disk"
        backing.write_bytes(bytes(2 * MIB))
        first = attach(backing, f"--sizelimit={MIB}")
        second = attach(backing, f"--offset={MIB}")
        with in_use(first):
            writes(rig, a=SlotPaths({"rootfs": first}), b=SlotPaths({"rootfs": second}))
        assert not any(backing.read_bytes()[:MIB])

    @pytest.mark.parametrize("hidden", ["a", "b"])
    def test_a_file_and_a_device_on_it_are_one_and_the_same(
        self, tmp_path: Path, attach: Attach, hidden: str
    ) -> None:
        (tmp_path / "rig").mkdir()
        rig = FileRig(tmp_path / "rig")
        other = rig.path("a" if hidden == "b" else "b", "rootfs")
        other.write_bytes(b"holds".ljust(MIB, b"\0"))
        device = attach(other)
        before = other.read_bytes()
        with pytest.raises(ConfigurationError, match="one and the same"):
            writes(rig, **{hidden: SlotPaths({"rootfs": device})})
        assert other.read_bytes() == before
