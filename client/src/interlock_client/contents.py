"""What slots hold: names, lengths and digests, as they were signed or measured (pure).

Rules:

1. What a slot must hold is what the release managers signed for it (``Image.slots``), and not what
   an installer says that it put there.
2. A record of before there were several slots names none: then the target itself is the content of
   the one slot that there was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from interlock_client.sealed import Kept
from interlock_core.names import DEFAULT_SLOT
from interlock_core.wire import encode, sha256_hex

if TYPE_CHECKING:
    from interlock_core.release import Slot as SignedSlot


class SlotContent(Kept, frozen=True, kw_only=True):
    """What one slot of a side holds.

    Attributes:
        name: ``rootfs`` where there is only one.
        length: bytes from its beginning on; what a device holds behind them is not asked.
        sha256: of these bytes.
    """

    name: str
    length: int
    sha256: str


class Held(Kept, frozen=True, kw_only=True):
    """Base of the records of what a side holds.

    Attributes:
        length, sha256: of the target from which it was made.
        slots: what each slot holds; empty in old records (rule 2).
    """

    length: int
    sha256: str
    slots: tuple[SlotContent, ...] = ()

    @property
    def contents(self) -> tuple[SlotContent, ...]:
        """What each slot holds (rule 2)."""
        return self.slots or (
            SlotContent(name=DEFAULT_SLOT, length=self.length, sha256=self.sha256),
        )


def signed(slots: Iterable[SignedSlot]) -> tuple[SlotContent, ...]:
    """The contents that were signed with an image (rule 1)."""
    return tuple(
        SlotContent(name=slot.name, length=slot.length, sha256=slot.sha256) for slot in slots
    )


def digests(contents: Iterable[SlotContent]) -> dict[str, str]:
    """By slot name, the digest that is wanted."""
    return {content.name: content.sha256 for content in contents}


def differing(contents: Iterable[SlotContent], found: Mapping[str, str]) -> str | None:
    """The first slot that does not hold what is wanted, or None."""
    for content in contents:
        if found.get(content.name) != content.sha256:
            return content.name
    return None


def identity(contents: tuple[SlotContent, ...]) -> tuple[int, str]:
    """A length and a digest for a side that no target is known of.

    Of one slot its own, so that a release which is that very slot is recognised.
    """
    if len(contents) == 1:
        return contents[0].length, contents[0].sha256
    return sum(content.length for content in contents), sha256_hex(encode(list(contents)))
