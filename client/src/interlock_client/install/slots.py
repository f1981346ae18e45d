"""A/B slots that are files or block devices (I/O).

Rules beside those of the package:

1. The image is streamed into the slot: one pass, bounded memory, no copy beside it.
2. A slot file is cut to the image's length; a device keeps its size.
3. Reading back goes past the page cache where the kernel lets it: what counts is on the disk.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock_client import boot
from interlock_client.boot import BootEnvironment, Slot
from interlock_client.config import Slots
from interlock_client.install import Standing
from interlock_core import disk, durable
from interlock_core.errors import ConfigurationError, RefusedError

CHUNK: Final = 1 << 20

# A pipe that somebody put in a slot's place is an error, and nothing to wait for.
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True)
class SlotInstaller:
    """Two slots and a boot environment.

    Attributes:
        settings: where they are.
    """

    settings: Slots

    @property
    def environment(self) -> BootEnvironment:
        """The boot state."""
        return BootEnvironment(self.settings.boot_environment, self.settings.booted)

    def booted(self) -> Slot:
        """As ``Installer.booted``."""
        return self.environment.require_booted()

    def inactive(self) -> Slot:
        """As ``Installer.inactive``; refused where the committed slot would be overwritten.

        Raises:
            RefusedError: ``unexpected_slot``: the slot that runs is not the committed one.
            ConfigurationError: both slots are one file or device under two names.
        """
        with durable.translated("look at", self.settings.b):
            if _same(self.settings.a, self.settings.b):
                raise ConfigurationError(
                    f"The slots {self.settings.a} and {self.settings.b} are one and the same: "
                    "mend [installer], or the firmware that runs would be overwritten."
                )
        standing = self.standing()
        if standing.booted != standing.active:
            raise RefusedError(
                f"Slot {standing.booted} runs and slot {standing.active} is the committed one: "
                "confirm or roll back first, or boot the committed slot.",
                reason="unexpected_slot",
            )
        return boot.other(standing.booted)

    def standing(self) -> Standing:
        """As ``Installer.standing``."""
        booted = self.booted()
        state = self.environment.load()
        return Standing(booted, state.active, state.armed, state.good, state.fell_back)

    def room(self) -> int:
        """As ``Installer.room``."""
        path = self._path(self.inactive())
        with durable.translated("look at", path):
            if _is_device(path):
                return _device_size(path)
            if not path.parent.is_dir() or (not path.exists() and path.is_relative_to("/dev")):
                raise ConfigurationError(f"There is no slot {path}: mend [installer].")
            system = os.statvfs(path.parent)
            held = path.stat().st_blocks * 512 if path.exists() else 0
            return system.f_bavail * system.f_frsize + held

    def size(self, slot: Slot) -> int:
        """As ``Installer.size``."""
        path = self._path(slot)
        with durable.translated("look at", path):
            if _is_device(path):
                return _device_size(path)
            return path.stat().st_size if path.exists() else 0

    def write(self, chunks: Iterator[bytes]) -> None:
        """As ``Installer.write``."""
        slot = self.inactive()
        path = self._path(slot)
        # From here on the slot holds nothing good, whatever happens.
        self.environment.change(lambda state: boot.invalidate(state, slot))
        with durable.translated("open", path):
            disk.step("make", path)
            descriptor = os.open(path, _WRITE, 0o600)
        try:
            written = 0
            for chunk in chunks:
                with durable.translated("write", path):
                    disk.step("write", path)
                    written += _write_all(descriptor, chunk)
            with durable.translated("write", path):
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    disk.step("write", path)
                    os.ftruncate(descriptor, written)
                disk.step("sync", path)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with durable.translated("write", path):
            disk.sync_directory(path.parent)

    def read_back(self, slot: Slot, length: int) -> str:
        """As ``Installer.read_back``."""
        path = self._path(slot)
        digest = hashlib.sha256()
        with durable.translated("read", path):
            if not path.exists():
                return digest.hexdigest()
            descriptor = os.open(path, _READ)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                while length > 0 and (chunk := os.read(descriptor, min(CHUNK, length))):
                    digest.update(chunk)
                    length -= len(chunk)
            finally:
                os.close(descriptor)
        return digest.hexdigest()

    def arm(self) -> None:
        """As ``Installer.arm``."""
        slot = self.inactive()
        self.environment.change(lambda state: boot.arm(state, slot, self.settings.tries))

    def disarm(self) -> None:
        """As ``Installer.disarm``."""
        self.environment.change(boot.disarm)

    def commit(self, slot: Slot) -> None:
        """As ``Installer.commit``."""
        self.environment.change(lambda state: boot.commit(state, slot))

    def abandon(self, slot: Slot) -> None:
        """As ``Installer.abandon``."""
        self.environment.change(lambda state: boot.abandon(state, slot))

    def _path(self, slot: Slot) -> Path:
        return self.settings.a if slot == "a" else self.settings.b


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file or one device, by whatever names."""
    try:
        found, beside = one.stat(), other.stat()
    except FileNotFoundError:
        return False
    if stat.S_ISBLK(found.st_mode) and stat.S_ISBLK(beside.st_mode):
        return found.st_rdev == beside.st_rdev
    return os.path.samestat(found, beside)


def _is_device(path: Path) -> bool:
    return path.is_block_device()


def _device_size(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, chunk: bytes) -> int:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(chunk)
