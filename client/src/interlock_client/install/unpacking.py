"""Installers that unpack a private copy of the target, which was verified (I/O).

Rules beside those of the package:

1. The copy lies in a directory that nobody but the agent may enter, and is opened anew after it was
   verified; it is verified again through the descriptor that is handed on, so that what is unpacked
   is what was signed.
2. Before anything is unpacked the side is invalidated: whatever comes of it, nothing boots it.
3. While it unpacks, and only then, ``installing`` tells whoever asks that the agent is at it.
4. The copy stays until it is of no use, so that a power cut costs no second download.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock_client import installing
from interlock_client.boot import Slot
from interlock_client.install import Artefact, Wanted
from interlock_client.install.destination import Destination
from interlock_client.install.sides import TwoSides
from interlock_client.installers import Unpacks
from interlock_core import disk, durable
from interlock_core.errors import ConfigurationError, RefusedError

COPY: Final = "target"


@dataclass(frozen=True)
class Unpacking(TwoSides):
    """The part of ``Installer`` that does not depend on who unpacks; subclasses say ``unpack``.

    Attributes:
        state: the agent's directory.
    """

    settings: Unpacks
    state: Path
    unpacks = True

    def unpack(self, artefact: Artefact, slot: Slot) -> None:
        """Put the artefact into the slots of a side, durably.

        Raises:
            RefusedError: ``installer_refused``: it will not have this, however often it is asked.
            TransientError: ``installer_failed``.
        """
        raise NotImplementedError

    def room(self) -> int:
        """As ``Installer.room``: for the copy; ``check`` asks the slots."""
        return self.destination().room()

    def destination(self) -> Destination:
        """The private copy.

        Raises:
            ConfigurationError: its directory is not private.
        """
        directory = self._directory
        durable.mkdir(directory, mode=0o700)
        with durable.translated("look at", directory):
            found = directory.stat()
        if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid != os.geteuid():
            raise ConfigurationError(
                f"{directory} is not private: it must belong to the agent's user, with the mode "
                "0700."
            )
        return Destination(directory / COPY, mode=0o600)

    def install(self, wanted: Wanted) -> None:
        """As ``Installer.install`` (rules 1 to 3)."""
        slot = self.inactive()
        with self.destination().reading() as descriptor:
            _verify(descriptor, wanted)
            self.require_unused(slot)
            self.control.invalidate(slot)
            with installing.announced(self.state, wanted.sha256):
                self.unpack(Artefact(wanted, descriptor), slot)
            self.flush(slot)

    def discard(self) -> None:
        """As ``Installer.discard``."""
        copy = self._directory / COPY
        if copy.exists():
            durable.remove(copy)

    @property
    def _directory(self) -> Path:
        return self.settings.spool or self.state / "spool"

    def flush(self, slot: Slot) -> None:
        """Put on the disk what whoever unpacked may have left in the page cache."""
        for path in self.side(slot):
            with durable.translated("flush", path):
                if path.exists():
                    disk.step("sync", path)
                    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                    try:
                        os.fsync(descriptor)
                    finally:
                        os.close(descriptor)
                    # Whoever unpacked may have made the file, or given it its name.
                    disk.sync_directory(path.parent)


def require_packed(wanted: Wanted) -> None:
    """See that the target was not signed as the content of a slot itself, which no bundle is.

    Said before it costs a download, and what the other side holds.

    Raises:
        RefusedError: ``installer_refused``.
    """
    for content in wanted.contents:
        if content.sha256 == wanted.sha256:
            raise RefusedError(
                f"{wanted.path} was released as the content of the slot {content.name} itself, and "
                "this installer unpacks it: release it with `contents`.",
                reason="installer_refused",
            )


def _verify(descriptor: int, wanted: Wanted) -> None:
    """Raise unless the signed bytes are behind the descriptor; leave it at its beginning."""
    found, length = hashlib.sha256(), 0
    with durable.translated("read", Path(f"/proc/self/fd/{descriptor}")):
        while chunk := os.read(descriptor, durable.CHUNK):
            found.update(chunk)
            length += len(chunk)
        os.lseek(descriptor, 0, os.SEEK_SET)
    if (length, found.hexdigest()) != (wanted.length, wanted.sha256):
        raise RefusedError(
            f"The private copy of {wanted.path} is not what was signed: nothing was unpacked.",
            reason="hash_mismatch",
        )
