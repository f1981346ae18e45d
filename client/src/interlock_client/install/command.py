"""An executable of the integrator's that unpacks the image (I/O).

Rules beside those of the package, of ``unpacking`` and of ``answers``:

1. It gets the open descriptor of the verified copy by its number, and on its standard input what
   each slot must hold. There is no path to the copy.
2. Where the slots are files or devices whose bytes are their content, the agent reads them back by
   itself. Where they are not (``read_back``), the executable pours a slot's bytes out and the agent
   hashes them: a digest that it states would be its word, and its word counts for nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from interlock_client.boot import Slot
from interlock_client.contents import SlotContent
from interlock_client.install import UNBOUNDED, Artefact, Budget, Wanted
from interlock_client.install.answers import INSTALL, Program, Rooms
from interlock_client.install.destination import Destination
from interlock_client.install.sides import fills, fits
from interlock_client.install.unpacking import Unpacking
from interlock_client.installers import Command
from interlock_core.errors import TransientError
from interlock_core.wire import encode


@dataclass(frozen=True)
class CommandInstaller(Unpacking):
    """An executable that unpacks, and sides of slots."""

    settings: Command

    def check(self, wanted: Wanted) -> None:
        """As ``Installer.check``."""
        if not self.settings.read_back:
            super().check(wanted)
            return
        takes = self._program.ask("room", self.inactive(), type_=Rooms).slots
        for content in wanted.contents:
            fits(wanted, content, takes.get(content.name))
        fills(wanted, self.settings.a.by_name)

    def unpack(self, artefact: Artefact, slot: Slot) -> None:
        """As ``Unpacking.unpack``."""
        wanted = artefact.wanted
        paths = self.side(slot).by_name
        self._program.tell(
            INSTALL,
            slot,
            str(artefact.descriptor),
            stdin=encode(
                {
                    "target": wanted.path,
                    "length": wanted.length,
                    "sha256": wanted.sha256,
                    "slots": [
                        {
                            "name": content.name,
                            "length": content.length,
                            "sha256": content.sha256,
                            "path": str(paths[content.name]),
                        }
                        for content in wanted.contents
                    ],
                }
            )
            + b"\n",
            descriptors=(artefact.descriptor,),
            seconds=self.settings.install_timeout_seconds,
        )

    def place(self, slot: Slot, name: str) -> Destination | None:
        """As ``Installer.place``; only the executable reads slots that are no files."""
        return None if self.settings.read_back else super().place(slot, name)

    def measure(self, slot: Slot) -> tuple[SlotContent, ...]:
        """As ``Installer.measure``."""
        if not self.settings.read_back:
            return super().measure(slot)
        return tuple(
            content
            for name in self.side(slot).by_name
            if (content := self._poured(slot, name, None, UNBOUNDED)).length
        )

    def read_back(
        self, slot: Slot, contents: Sequence[SlotContent], within: Budget = UNBOUNDED
    ) -> dict[str, str]:
        """As ``Installer.read_back``."""
        if not self.settings.read_back:
            return super().read_back(slot, contents, within)
        names = self.side(slot).by_name
        return {
            one.name: self._poured(slot, one.name, one.length, within).sha256
            for one in contents
            if one.name in names
        }

    def flush(self, slot: Slot) -> None:
        """As ``Unpacking.flush``; slots that are no files are the executable's own to flush."""
        if not self.settings.read_back:
            super().flush(slot)

    @property
    def _program(self) -> Program:
        return Program(
            self.settings.program, self.settings.timeout_seconds, failed="installer_failed"
        )

    def _poured(self, slot: Slot, name: str, length: int | None, within: Budget) -> SlotContent:
        """What the executable pours out of a slot (rule 2)."""
        digest, seen = hashlib.sha256(), 0

        def take(chunk: bytes) -> None:
            nonlocal seen
            seen += len(chunk)
            if length is not None and seen > length:
                raise self._program.failure("read-back", f"poured more than {length} bytes")
            digest.update(chunk)
            within.check()

        arguments = () if length is None else (str(length),)
        seconds = min(self.settings.install_timeout_seconds, within.left())
        try:
            self._program.tell("read-back", slot, name, *arguments, sink=take, seconds=seconds)
        except TransientError:
            within.check()
            raise
        return SlotContent(name=name, length=seen, sha256=digest.hexdigest())
