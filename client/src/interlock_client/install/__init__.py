"""Installers: how an image gets into the slot that does not run.

Rules, which every installer keeps:

1. The slot that runs is never written. Where it is not known which one runs, nothing is.
2. What is written stays unarmed: a power cut boots the old firmware until ``arm`` returns.
3. Every method is durable when it returns, and may be called again after it was cut off.
4. Only the agent calls them, under its lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from interlock_client.boot import Slot


@dataclass(frozen=True)
class Standing:
    """How the slots stand.

    Attributes:
        booted: the slot that runs.
        active: the slot that boots when nothing is armed.
        armed: the slot that is tried at the next boot, or None.
        good: slots whose content was committed and not touched since.
        fell_back: the slot whose tries were used up, until it is written or something is armed.
    """

    booted: Slot
    active: Slot
    armed: Slot | None
    good: tuple[Slot, ...]
    fell_back: Slot | None


class Installer(Protocol):
    """An A/B installer.

    Every method raises ``TransientError`` when the disk fails, and ``ConfigurationError``
    (``booted_unknown``) when it is not known which slot runs.
    """

    def booted(self) -> Slot:
        """The slot that runs."""

    def inactive(self) -> Slot:
        """The slot that may be written."""

    def standing(self) -> Standing:
        """How the slots stand."""

    def room(self) -> int:
        """Bytes that an image in the inactive slot may have."""

    def size(self, slot: Slot) -> int:
        """Bytes that a slot holds now."""

    def write(self, chunks: Iterator[bytes]) -> None:
        """Write the inactive slot from its beginning, disarmed before and flushed after.

        If ``chunks`` raises, what was written so far is garbage in an unarmed slot.
        """

    def read_back(self, slot: Slot, length: int) -> str:
        """SHA-256 of the first ``length`` bytes of a slot, as they are on the disk.

        Returns:
            Lower-case hexadecimal; of a shorter slot, the digest of what there is.
        """

    def arm(self) -> None:
        """Boot the inactive slot next, a limited number of times."""

    def disarm(self) -> None:
        """Boot the committed slot next."""

    def commit(self, slot: Slot) -> None:
        """Boot ``slot`` from now on."""

    def abandon(self, slot: Slot) -> None:
        """Go back from the committed ``slot`` to the other one, which must be good."""
