"""What files and block devices rest on, and what uses the same bytes. Pure.

Rules:

1. A loop device is a range of what it was set up on, a partition a range of its disk. Two things
   are one and the same if their ranges overlap anywhere below, by whatever names.
2. A slot is in use if the kernel has claimed it (mounted, swap, a member of something), or has
   claimed anything that is a range of the same bytes: above it, below it, or beside it.
3. Of a mapped device or an array nobody says here where on its members its bytes lie. Its members
   are claimed by it, and others may lie on them too; but what uses the bytes of a member by another
   way is in the way of the slot as well.
4. A disk is asked only if a loop device is set up on it: one that holds the running side in another
   partition is claimed, and that is no hindrance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

_END: Final = 1 << 63
_DEEP: Final = 16
"""More layers than any machine has; a circle ends here."""


class Thing(NamedTuple):
    """A file or a block device.

    Attributes:
        kind: which.
        device: number of the device, or of that which holds the file's file system.
        inode: of the file; 0 of a device.
    """

    kind: Literal["file", "device"]
    device: int
    inode: int = 0


@dataclass(frozen=True)
class Extent:
    """A range of a thing, in bytes; ``end`` is not part of it."""

    thing: Thing
    start: int = 0
    end: int = _END


@dataclass(frozen=True)
class Layers:
    """How the machine's devices lie on one another.

    Attributes:
        loops: loop devices, and what each was set up on.
        partitions: partitions, and where each lies on its disk.
        members: mapped devices and arrays, and what each is made of.
        files: files that the kernel uses without a device: swap, and mounted as they are.
    """

    loops: Mapping[Thing, Extent]
    partitions: Mapping[Thing, Extent]
    members: Mapping[Thing, tuple[Thing, ...]]
    files: frozenset[Thing]

    def one(self, thing: Thing, other: Thing) -> bool:
        """Whether two things share bytes (rule 1)."""
        beside = list(self._down(other))
        return any(_overlap(mine, its) for mine in self._down(thing) for its in beside)

    def users(self, slot: Thing) -> tuple[frozenset[Thing], bool]:
        """Which devices nobody may have claimed if a slot is to be free (rules 2 to 4).

        Returns:
            The devices, and whether a file below is in use already.
        """
        members = self._members(slot)
        found = {slot} if slot.kind == "device" else set()
        used = False
        for thing in (slot, *members):
            found.update(user for user in (*self.loops, *self.partitions) if self.one(user, thing))
            for extent in self._down(thing):
                used = used or extent.thing in self.files
                if extent.thing in self.loops:
                    found.add(self.loops[extent.thing].thing)
        free = {thing for thing in found if thing.kind == "device"}
        return frozenset(free - set(members)), used

    def _down(self, thing: Thing) -> Iterator[Extent]:
        """The thing, and what it is a range of, downwards."""
        extent = Extent(thing)
        for _ in range(_DEEP):
            yield extent
            below = self.loops.get(extent.thing) or self.partitions.get(extent.thing)
            if below is None:
                return
            extent = Extent(
                below.thing,
                below.start + extent.start,
                min(below.end, below.start + extent.end),
            )

    def _members(self, thing: Thing) -> tuple[Thing, ...]:
        """All that a mapped device is made of, also by way of others."""
        found: dict[Thing, None] = {}
        left = list(self.members.get(thing, ()))
        while left:
            member = left.pop()
            if member not in found:
                found[member] = None
                left += self.members.get(member, ())
        return tuple(found)


def _overlap(one: Extent, other: Extent) -> bool:
    return one.thing == other.thing and one.start < other.end and other.start < one.end
