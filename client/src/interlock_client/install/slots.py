"""A/B slots that are files or block devices, and take the image as it is (I/O).

Rule beside those of the package: the image is streamed into the slot, in one pass, in bounded
memory, with no copy beside it (``destination``).
"""

from __future__ import annotations

from dataclasses import dataclass

from interlock_client.boot import Slot
from interlock_client.install import Wanted
from interlock_client.install.destination import Destination
from interlock_client.install.sides import TwoSides
from interlock_client.installers import Slots
from interlock_core.errors import RefusedError


@dataclass(frozen=True)
class SlotInstaller(TwoSides):
    """Two slots and a boot control."""

    settings: Slots
    unpacks = False

    def check(self, wanted: Wanted) -> None:
        """As ``Installer.check``: the target is what the one slot is to hold."""
        contents = wanted.contents
        if [(one.length, one.sha256) for one in contents] != [(wanted.length, wanted.sha256)]:
            raise RefusedError(
                f"{wanted.path} is no image of one slot: it is for an installer that unpacks it.",
                reason="installer_refused",
            )
        super().check(wanted)

    def room(self) -> int:
        """As ``Installer.room``."""
        return self.destination().room()

    def destination(self) -> Destination:
        """The inactive slot; from its first change on it holds nothing good."""
        slot = self.inactive()
        (path,) = self.side(slot)
        return Destination(path, before=lambda: self._before(slot))

    def _before(self, slot: Slot) -> None:
        self.require_unused(slot)
        self.control.invalidate(slot)

    def install(self, wanted: Wanted) -> None:
        """Nothing: the target is where it belongs."""

    def discard(self) -> None:
        """Nothing: there is no copy."""
