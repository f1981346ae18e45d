"""What is the same for every installer: two sides of slots, and the boot control (I/O).

Rules beside those of the package:

1. A slot that is reachable under a name of either side is never written: not by a symbolic or a
   hard link, as one device under two names, or through a loop device.
2. A slot that is in use (mounted, say, also by way of other devices) is not written, whatever the
   settings call it: the kernel is asked before anything is fetched, and before the first byte.
3. A side boots as a whole. So every slot of it must be signed with the image: what an older release
   left in one, or what a power cut left half, never runs beside a new one.
4. What is read back goes past the page cache where the kernel lets it: what counts is on the disk.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from interlock_client import boot
from interlock_client.boot import Slot
from interlock_client.contents import SlotContent
from interlock_client.install import UNBOUNDED, BootControl, Budget, Standing, Wanted
from interlock_client.install.control import control
from interlock_client.install.destination import Destination
from interlock_client.installers import Sides
from interlock_client.tables import SlotPaths
from interlock_core import durable
from interlock_core.errors import ConfigurationError, RefusedError, TransientError


@dataclass(frozen=True)
class TwoSides:
    """The part of ``Installer`` that does not depend on how an image is written.

    Attributes:
        settings: where everything is.
    """

    settings: Sides

    @cached_property
    def control(self) -> BootControl:
        """Which side boots."""
        return control(self.settings)

    def booted(self) -> Slot:
        """As ``Installer.booted``."""
        return self.control.booted()

    def inactive(self) -> Slot:
        """As ``Installer.inactive``."""
        for one in self.settings.a:
            for other in self.settings.b:
                with durable.translated("look at", other):
                    if same(one, other):
                        raise ConfigurationError(
                            f"The slots {one} and {other} are one and the same: mend [installer], "
                            "or the firmware that runs would be overwritten."
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
        return self.control.standing()

    def check(self, wanted: Wanted) -> None:
        """As ``Installer.check``: every slot is known and large enough, and none is left out."""
        paths = self.side(self.inactive()).by_name
        for content in wanted.contents:
            path = paths.get(content.name)
            fits(wanted, content, None if path is None else Destination(path).room())
        fills(wanted, paths)
        self.require_unused(self.inactive())

    def require_unused(self, slot: Slot) -> None:
        """See that nothing on the machine uses a slot of a side (rule 2).

        Raises:
            ConfigurationError: something does.
            TransientError: the machine did not say.
        """
        from interlock_client.install import devices  # noqa: PLC0415  # only needed to write

        for path in self.side(slot):
            devices.require_unused(path)

    def place(self, slot: Slot, name: str) -> Destination | None:
        """As ``Installer.place``."""
        path = self.side(slot).by_name.get(name)
        return Destination(path) if path is not None else None

    def measure(self, slot: Slot) -> tuple[SlotContent, ...]:
        """As ``Installer.measure``."""
        return tuple(
            SlotContent(name=name, length=length, sha256=digest(path, length, UNBOUNDED))
            for name, path in self.side(slot).by_name.items()
            if (length := Destination(path).size())
        )

    def read_back(
        self, slot: Slot, contents: Sequence[SlotContent], within: Budget = UNBOUNDED
    ) -> dict[str, str]:
        """As ``Installer.read_back``."""
        paths = self.side(slot).by_name
        return {
            content.name: digest(paths[content.name], content.length, within)
            for content in contents
            if content.name in paths
        }

    def arm(self) -> None:
        """As ``Installer.arm``."""
        self.control.arm(self.inactive())

    def disarm(self) -> None:
        """As ``Installer.disarm``."""
        self.control.disarm()

    def commit(self, slot: Slot) -> None:
        """As ``Installer.commit``."""
        self.control.commit(slot)

    def abandon(self, slot: Slot) -> None:
        """As ``Installer.abandon``."""
        self.control.abandon(slot)

    def side(self, slot: Slot) -> SlotPaths:
        """Where the slots of a side are."""
        return self.settings.a if slot == "a" else self.settings.b


def fits(wanted: Wanted, content: SlotContent, room: int | None) -> None:
    """Whether a slot is there and takes its content; ``room`` is None where there is none.

    Raises:
        RefusedError: ``installer_refused``.
        TransientError: ``no_space``.
    """
    if room is None:
        raise RefusedError(
            f"{wanted.path} fills a slot {content.name}, and [installer] names no such slot.",
            reason="installer_refused",
        )
    if room < content.length:
        raise TransientError(
            f"The slot {content.name} takes {room} bytes, and {wanted.path} puts "
            f"{content.length} there.",
            reason="no_space",
        )


def fills(wanted: Wanted, names: Iterable[str]) -> None:
    """Whether the content of every slot of a side was signed with the target (rule 3).

    Raises:
        RefusedError: ``installer_refused``.
    """
    signed = {content.name for content in wanted.contents}
    for name in names:
        if name not in signed:
            raise RefusedError(
                f"{wanted.path} says nothing of the slot {name}, which [installer] names: what "
                "stands there from before would run with it. Release it with the content of every "
                "slot.",
                reason="installer_refused",
            )


def digest(path: Path, length: int, within: Budget) -> str:
    """SHA-256 of the first ``length`` bytes on the disk; of less where there is less.

    Raises:
        TransientError: the disk did not do it.
    """
    found = hashlib.sha256()
    with durable.translated("read", path):
        if not path.exists():
            return found.hexdigest()
    with Destination(path).reading() as descriptor, durable.translated("read", path):
        while length > 0 and (chunk := os.read(descriptor, min(durable.CHUNK, length))):
            found.update(chunk)
            length -= len(chunk)
            within.check()
    return found.hexdigest()


def same(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same bytes, by whatever names and devices (rule 1).

    Raises:
        OSError: the disk did not say.
    """
    try:
        found, beside = one.stat(), other.stat()
    except FileNotFoundError:
        return False
    if stat.S_ISBLK(found.st_mode) or stat.S_ISBLK(beside.st_mode):
        from interlock_client.install import devices  # noqa: PLC0415  # not for slots that are files

        return devices.same(one, other)
    return os.path.samestat(found, beside)
