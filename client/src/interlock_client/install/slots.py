"""A/B slots that are files or block devices (I/O).

Rules beside those of the package:

1. The image is streamed into the slot: one pass, bounded memory, no copy beside it.
2. Writing and reading keep the rules of ``destination``.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock_client import boot
from interlock_client.boot import BootEnvironment, BootState, Slot
from interlock_client.config import Slots
from interlock_client.install import Standing
from interlock_client.install.destination import Destination
from interlock_core import durable
from interlock_core.errors import ConfigurationError, RefusedError

CHUNK: Final = 1 << 20


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

    def destination(self) -> Destination:
        """The inactive slot; whatever stands there is no longer good once it is opened."""
        slot = self.inactive()
        return Destination(
            self._path(slot),
            before=lambda: self._change(lambda state: boot.invalidate(state, slot)),
        )

    def room(self) -> int:
        """As ``Installer.room``."""
        return self.destination().room()

    def size(self, slot: Slot) -> int:
        """As ``Installer.size``."""
        return Destination(self._path(slot)).size()

    def write(self, chunks: Iterator[bytes]) -> None:
        """As ``Installer.write``."""
        with self.destination().open() as writer:
            for chunk in chunks:
                writer.write(chunk)
            writer.finish()

    def read_back(self, slot: Slot, length: int) -> str:
        """As ``Installer.read_back``."""
        path = self._path(slot)
        digest = hashlib.sha256()
        with durable.translated("read", path):
            if not path.exists():
                return digest.hexdigest()
            with Destination(path).reading() as descriptor:
                while length > 0 and (chunk := os.read(descriptor, min(CHUNK, length))):
                    digest.update(chunk)
                    length -= len(chunk)
        return digest.hexdigest()

    def arm(self) -> None:
        """As ``Installer.arm``."""
        slot = self.inactive()
        self._change(lambda state: boot.arm(state, slot, self.settings.tries))

    def disarm(self) -> None:
        """As ``Installer.disarm``."""
        self._change(boot.disarm)

    def commit(self, slot: Slot) -> None:
        """As ``Installer.commit``."""
        self._change(lambda state: boot.commit(state, slot))

    def abandon(self, slot: Slot) -> None:
        """As ``Installer.abandon``."""
        self._change(lambda state: boot.abandon(state, slot))

    def _change(self, change: Callable[[BootState], BootState]) -> None:
        self.environment.change(change)

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
