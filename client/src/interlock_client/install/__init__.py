"""Installers: how an image gets into the slots that do not run.

A machine has two sides, ``a`` and ``b``; a side is one slot or several (``rootfs``, ``appfs``). Two
flavours: one writes the target's bytes into its slot as they come, the other unpacks a private
copy of the target that was verified. Rules, which every installer keeps:

1. The side that runs is never written. Where it is not known which one runs, nothing is.
2. What is written stays unarmed: a power cut boots the old firmware until ``arm`` returns, which is
   one atomic act.
3. Every method is durable when it returns, and may be called again after it was cut off.
4. Only the agent calls them, under its lock. What unpacks gets an open descriptor of a verified
   copy that nobody else can write, never a path that can change.
5. What an installer says of its work counts for nothing: the slots are read back, and hold what
   was signed for them, or are not armed.

Writing and booting are apart: ``BootControl`` says which side boots, and is the same for every
installer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from interlock_client.boot import Slot
from interlock_client.contents import SlotContent
from interlock_client.installers import AnyInstaller, Command, Rauc, Slots, SWUpdate

if TYPE_CHECKING:
    from interlock_client.install.destination import Destination


class Budget(Protocol):
    """How long a piece of work may still take."""

    def left(self) -> float:
        """Seconds; not below 0."""

    def check(self) -> None:
        """Raise if nothing is left; called between two pieces of long work.

        Raises:
            TransientError: of the reason that whoever gave the time has for it.
        """


class Unbounded:
    """The work may take as long as it takes."""

    def left(self) -> float:
        """For ever."""
        return math.inf

    def check(self) -> None:
        """Nothing is ever wrong."""


UNBOUNDED: Final = Unbounded()


@dataclass(frozen=True)
class Standing:
    """How the sides stand.

    Attributes:
        booted: the side that runs.
        active: the side that boots when nothing is armed.
        armed: the side that is tried at the next boot, or None.
        good: sides whose content was committed and not touched since.
        fell_back: the side whose tries were used up, until it is written or something is armed.
    """

    booted: Slot
    active: Slot
    armed: Slot | None
    good: tuple[Slot, ...]
    fell_back: Slot | None


@dataclass(frozen=True)
class Wanted:
    """A target that is to be installed, before any of it was fetched.

    Attributes:
        path: in the image repository.
        contents: what each slot must hold afterwards, as it was signed.
    """

    path: str
    length: int
    sha256: str
    contents: tuple[SlotContent, ...]


@dataclass(frozen=True)
class Artefact:
    """A target whose signed digest was verified, to be unpacked.

    Attributes:
        descriptor: of the private copy, read-only and at its beginning; closed by whoever made it.
    """

    wanted: Wanted
    descriptor: int


class BootControl(Protocol):
    """Which side boots.

    Every method raises ``TransientError`` when the disk or the boot loader fails, and
    ``ConfigurationError`` (``booted_unknown``) when it is not known which side runs.
    """

    def booted(self) -> Slot:
        """The side that runs."""

    def standing(self) -> Standing:
        """How the sides stand."""

    def invalidate(self, slot: Slot) -> None:
        """Before ``slot`` is written: it holds nothing good, is not tried, and did not fall back.

        A committed ``slot`` is never invalidated.
        """

    def arm(self, slot: Slot) -> None:
        """Boot ``slot`` next, a limited number of times, and the committed side after that."""

    def disarm(self) -> None:
        """Boot the committed side next."""

    def commit(self, slot: Slot) -> None:
        """Boot ``slot`` from now on."""

    def abandon(self, slot: Slot) -> None:
        """Go back from the committed ``slot`` to the other side, which must be good."""


class Installer(Protocol):
    """What the agent needs of an installer; raises as ``BootControl`` does."""

    def booted(self) -> Slot:
        """The side that runs."""

    def inactive(self) -> Slot:
        """The side that may be written.

        Raises:
            RefusedError: ``unexpected_slot``: the side that runs is not the committed one.
            ConfigurationError: a slot of one side is one of the other under another name.
        """

    def standing(self) -> Standing:
        """How the sides stand."""

    def check(self, wanted: Wanted) -> None:
        """Whether this installer can install that at all; asked before anything is fetched.

        Raises:
            RefusedError: ``installer_refused``.
            TransientError: ``no_space``: a slot is too small.
        """

    def room(self) -> int:
        """Bytes that a target may have."""

    def destination(self) -> Destination:
        """Where the target's bytes go: the slot itself, or a private copy."""

    def install(self, wanted: Wanted) -> None:
        """After the target was written to its destination whole, and verified: put it in place.

        Where the destination is the slot itself there is nothing to do.

        Raises:
            RefusedError: ``installer_refused``: it will not have this, however often it is asked.
            TransientError: ``installer_failed``.
        """

    @property
    def unpacks(self) -> bool:
        """Whether ``install`` does anything: then what came out of it is read back at once."""

    def discard(self) -> None:
        """Remove the private copy of a target, if there is one."""

    def place(self, slot: Slot, name: str) -> Destination | None:
        """Where a slot of a side is, to be read; None if the side has no such slot."""

    def measure(self, slot: Slot) -> tuple[SlotContent, ...]:
        """What the slots of a side hold now, each as a whole; those that are there."""

    def read_back(
        self, slot: Slot, contents: Sequence[SlotContent], within: Budget = UNBOUNDED
    ) -> Mapping[str, str]:
        """SHA-256 of the first bytes of each slot of a side, as they are on the disk.

        Args:
            slot: the side.
            contents: which slots, and how many bytes of each.
            within: how long it may take.

        Returns:
            Lower-case hexadecimal by the names of the slots; of a shorter slot the digest of what
            there is, of an unknown one nothing.
        """

    def arm(self) -> None:
        """Boot the inactive side next, a limited number of times."""

    def disarm(self) -> None:
        """Boot the committed side next."""

    def commit(self, slot: Slot) -> None:
        """Boot ``slot`` from now on."""

    def abandon(self, slot: Slot) -> None:
        """Go back from the committed ``slot`` to the other one, which must be good."""


def make(settings: AnyInstaller, state: Path) -> Installer:
    """The installer of a configuration.

    Args:
        settings: the table ``installer``.
        state: the agent's directory.
    """
    # Each is imported by those alone who use it: most commands cost what they need and no more.
    match settings:
        case Slots():
            from interlock_client.install.slots import SlotInstaller  # noqa: PLC0415

            return SlotInstaller(settings)
        case Rauc():
            from interlock_client.install.rauc import RaucInstaller  # noqa: PLC0415

            return RaucInstaller(settings, state)
        case Command():
            from interlock_client.install.command import CommandInstaller  # noqa: PLC0415

            return CommandInstaller(settings, state)
        case SWUpdate():
            from interlock_client.install.swupdate import SWUpdateInstaller  # noqa: PLC0415

            return SWUpdateInstaller(settings, state)
