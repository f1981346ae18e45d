"""Machines for the contract that every installer keeps: how each is set up, booted and fed.

To add an installer: a subclass of ``Rig``, and its name in ``RIGS``.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Final

import pytest

from interlock_client import install
from interlock_client.boot import Slot
from interlock_client.cli.sample import sample_text
from interlock_client.contents import SlotContent
from interlock_client.install import Installer, Wanted
from interlock_client.install.control import own_state
from interlock_client.installers import AnyInstaller, BootCommand, Command, Rauc, Slots, SWUpdate
from interlock_client.journal import Journal, State
from interlock_client.sealed import seal
from interlock_client.tables import SlotPaths
from interlock_core.wire import sha256_hex
from tests.client import swu
from tests.client.bundles import COMPATIBLE, RUNS, WHY, Signer, bundle, signer

DEVICE_SIZE: Final = 256 * 1024


class Rig:
    """A machine with two sides, of which ``a`` runs.

    Args:
        home: an empty directory.
    """

    names: tuple[str, ...] = ("rootfs",)
    """The slots of a side."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for side in "ab":
            (home / "slots" / side).mkdir(parents=True)
        self.set_up()
        for name in self.names:
            self.fill("a", name, b"runs: " + name.encode())
        self.boot()

    def set_up(self) -> None:
        """Make what else there is."""

    def tear_down(self) -> None:
        """Take down what is not only files."""

    def settings(self, **changes: Any) -> AnyInstaller:
        """The table ``installer``."""
        raise NotImplementedError

    def pack(self, contents: Mapping[str, bytes]) -> bytes:
        """The target that puts these contents into the slots."""
        raise NotImplementedError

    def path(self, side: Slot, name: str) -> Path:
        """Where a slot is."""
        return self.home / "slots" / side / name

    def fill(self, side: Slot, name: str, data: bytes) -> None:
        """Put bytes into a slot from outside."""
        self.path(side, name).write_bytes(data)

    def boot(self) -> Slot:
        """What the boot loader does; the side that runs then."""
        slot, fault = own_state(self.settings()).boot()
        assert fault is None
        return slot

    def forget_booted(self) -> None:
        """From now on nobody knows which side runs."""
        (self.home / "booted").unlink()

    def sides(self) -> dict[str, Any]:
        """What is said for every kind: the slots, and Interlock's own boot state."""
        return {
            "a": self.paths("a"),
            "b": self.paths("b"),
            "boot_environment": self.home / "boot",
            "booted": self.home / "booted",
        }

    # For the tests

    @property
    def state(self) -> Path:
        return self.home / "state"

    def installer(self, **changes: Any) -> Installer:
        """The installer as a command that begins now makes it."""
        return install.make(self.settings(**changes), self.state)

    def paths(self, side: Slot) -> SlotPaths:
        return SlotPaths({name: self.path(side, name) for name in self.names})

    def holds(self, side: Slot) -> dict[str, bytes]:
        """What the slots of a side hold, by name; of one that is not there, nothing."""
        paths = {name: self.path(side, name) for name in self.names}
        return {name: path.read_bytes() if path.exists() else b"" for name, path in paths.items()}

    def contents(self, seed: str) -> dict[str, bytes]:
        """Contents for every slot."""
        return {name: f"{seed} {name} ".encode() * 3000 for name in self.names}

    def wanted(self, contents: Mapping[str, bytes]) -> tuple[Wanted, bytes]:
        """What the agent knows of a target of these contents, and its bytes."""
        target = self.pack(contents)
        signed = tuple(
            SlotContent(name=name, length=len(data), sha256=sha256_hex(data))
            for name, data in contents.items()
        )
        return Wanted("ward-gateway/2/image", len(target), sha256_hex(target), signed), target


class FileRig(Rig):
    """Two slot files, built in."""

    def settings(self, **changes: Any) -> AnyInstaller:
        return Slots(**self.sides() | changes)

    def pack(self, contents: Mapping[str, bytes]) -> bytes:
        (data,) = contents.values()
        return data


class DeviceRig(FileRig):
    """Two block devices, built in."""

    devices: dict[str, Path]

    def set_up(self) -> None:
        if os.geteuid() != 0 or shutil.which("losetup") is None:
            pytest.skip("only root makes loop devices, with losetup")
        self.devices = {}
        for side in "ab":
            backing = self.home / f"{side}.disk"
            backing.write_bytes(bytes(DEVICE_SIZE))
            found = subprocess.run(
                ["losetup", "--find", "--show", backing],
                capture_output=True,
                text=True,
                check=False,
            )
            if found.returncode != 0:
                self.tear_down()
                pytest.skip(f"no loop device can be made here: {found.stderr}")
            self.devices[side] = Path(found.stdout.strip())

    def tear_down(self) -> None:
        for device in self.devices.values():
            subprocess.run(["losetup", "--detach", device], check=True)

    def path(self, side: Slot, name: str) -> Path:
        assert name == "rootfs"
        return self.devices[side]

    def fill(self, side: Slot, name: str, data: bytes) -> None:
        with self.path(side, name).open("r+b") as device:
            device.write(data)


class CommandRig(Rig):
    """The sample executable unpacks two files; the boot state is Interlock's own."""

    names = ("rootfs", "appfs")
    guard = "true"

    def set_up(self) -> None:
        self.write_program(lambda text: text)

    def write_program(self, edit: Callable[[str], str]) -> None:
        """The sample, with its three lines as they must be here, and edited."""
        text = sample_text("installer.sh")
        for old, new in {
            "store=/srv/gateway ": f'store="{self.home}/slots" ',
            "state=/srv/gateway-boot ": f'state="{self.home}/loader" ',
            "agent=/usr/bin/interlock-client ": f'agent="{self.home}/agent" ',
        }.items():
            assert old in text
            text = text.replace(old, new)
        self.write("program", edit(text))
        self.write("agent", f'#!/bin/sh\nexec {self.guard} "$@"\n')

    def write(self, name: str, text: str) -> None:
        """An executable."""
        path = self.home / name
        path.write_text(text)
        path.chmod(0o755)

    def settings(self, **changes: Any) -> AnyInstaller:
        fields: dict[str, Any] = {
            "a": self.paths("a"),
            "b": self.paths("b"),
            "program": self.home / "program",
            "timeout_seconds": 20,
            "install_timeout_seconds": 20,
        }
        return Command(**fields | self.boot_settings() | changes)

    def boot_settings(self) -> dict[str, Any]:
        return {"boot_environment": self.home / "boot", "booted": self.home / "booted"}

    def pack(self, contents: Mapping[str, bytes]) -> bytes:
        with io.BytesIO() as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                for name, data in contents.items():
                    member = tarfile.TarInfo(f"{name}.img")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
            return file.getvalue()

    def set_loader(self, line: str, booted: str) -> None:
        (self.home / "loader").mkdir(exist_ok=True)
        (self.home / "loader" / "line").write_text(line)
        (self.home / "loader" / "booted").write_text(booted)

    def boot(self) -> Slot:
        slot = super().boot()
        # The sample's own check that the committed side is not written.
        self.set_loader(f"{slot} - 0 {slot} -\n", f"{slot}\n")
        return slot


class LoaderRig(CommandRig):
    """The sample executable does all of it: it is the boot control, and reads back too."""

    def set_up(self) -> None:
        super().set_up()
        self.set_loader("a - 0 a -\n", "a\n")

    def boot_settings(self) -> dict[str, Any]:
        boot = BootCommand(kind="command", program=self.home / "program", timeout_seconds=20)
        return {"boot": boot, "read_back": True}

    def boot(self) -> Slot:
        done = subprocess.run(
            [self.home / "program", "select"], capture_output=True, text=True, check=True
        )
        slot: Slot = "b" if done.stdout.strip() == "b" else "a"
        return slot

    def forget_booted(self) -> None:
        (self.home / "loader" / "booted").unlink()


class RaucRig(Rig):
    """RAUC unpacks bundles into slot files, apart from the machine."""

    names = ("rootfs", "appfs")
    made: ClassVar[dict[str, bytes]] = {}
    """Bundles by what they hold: RAUC takes a while to make one, and may make it but once."""
    keys: ClassVar[TemporaryDirectory[str] | None] = None

    def set_up(self) -> None:
        if not RUNS:
            pytest.skip(WHY)
        if self.keys is None:
            type(self).keys = TemporaryDirectory(prefix="rauc-")
            signer(self.vendor.key.parent, "vendor")

    @property
    def vendor(self) -> Signer:
        """Who signs every bundle."""
        assert self.keys is not None
        return Signer(Path(self.keys.name, "vendor.pem"), Path(self.keys.name, "vendor.key"))

    def settings(self, **changes: Any) -> AnyInstaller:
        ours = {"compatible": COMPATIBLE, "keyring": self.vendor.certificate}
        return Rauc(**self.sides() | ours | changes)

    def pack(self, contents: Mapping[str, bytes]) -> bytes:
        key = sha256_hex(repr(sorted(contents.items())).encode())
        if key not in self.made:
            self.made[key] = bundle(self.home, self.vendor, contents)
        return self.made[key]

    def wanted(self, contents: Mapping[str, bytes]) -> tuple[Wanted, bytes]:
        wanted, target = super().wanted(contents)
        # The agent's journal, as RAUC's guard finds it.
        self.state.mkdir(exist_ok=True)
        journal = Journal().at(State.DOWNLOADING, unpacking=wanted.sha256)
        (self.state / "journal.json").write_bytes(seal(journal))
        return wanted, target


class SWUpdateRig(Rig):
    """SWUpdate unpacks two files; the boot state is Interlock's own."""

    names = ("rootfs", "appfs")
    by: swu.Vendor

    def set_up(self) -> None:
        if (why := swu.missing()) is not None:
            pytest.skip(why)
        self.by = swu.vendor(self.home, "vendor")

    def settings(self, **changes: Any) -> AnyInstaller:
        ours = {"certificate": self.by.certificate, "hardware": swu.HARDWARE}
        return SWUpdate(**self.sides() | ours | changes)

    def pack(self, contents: Mapping[str, bytes]) -> bytes:
        parts = {
            name: swu.Part(data, {side: self.path(side, name) for side in ("a", "b")})
            for name, data in contents.items()
        }
        return swu.swu(self.home, self.by, parts)


RIGS: Final[Mapping[str, type[Rig]]] = {
    "slot files": FileRig,
    "block devices": DeviceRig,
    "command": CommandRig,
    "command and boot loader": LoaderRig,
    "rauc": RaucRig,
    "swupdate": SWUpdateRig,
}


@contextmanager
def rigged(name: str, home: Path) -> Iterator[Rig]:
    """A machine of a kind."""
    home.mkdir()
    made = RIGS[name](home)
    try:
        yield made
    finally:
        made.tear_down()


@contextmanager
def in_use(device: Path) -> Iterator[None]:
    """The kernel has claimed ``device``, as when it is mounted."""
    claimed = os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
    try:
        yield
    finally:
        os.close(claimed)
