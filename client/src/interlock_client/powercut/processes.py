"""The processes of a command, and which watched files their descriptors lead to (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass
class Opened:
    """An open file, which copies of its descriptor share.

    Attributes:
        node: of the model.
        append: each write goes to its end.
        syncs: each write is flushed before it returns (``O_SYNC``, ``O_DSYNC``).
        offset: where the next read or write is.
    """

    node: int
    append: bool = False
    syncs: bool = False
    offset: int = 0


class Slot(NamedTuple):
    """A descriptor.

    Attributes:
        closes: it is closed by ``exec``.
    """

    opened: Opened
    closes: bool


@dataclass
class Where:
    """What threads share beside their descriptors."""

    directory: str
    umask: int


@dataclass
class Process:
    """One process.

    Attributes:
        files: watched files by descriptor.
    """

    where: Where
    files: dict[int, Slot] = field(default_factory=dict)

    def child(self, flags: str) -> Process:
        """A process or thread that this one makes, by the flags of the call."""
        where = self.where if "CLONE_FS" in flags else Where(**vars(self.where))
        files = self.files if "CLONE_FILES" in flags else dict(self.files)
        return Process(where, files)

    def put(self, number: int, opened: Opened | None, *, closes: bool) -> None:
        """A descriptor leads to a file now; None for one that is not watched."""
        if opened is None:
            self.files.pop(number, None)
        else:
            self.files[number] = Slot(opened, closes)

    def closing(self, number: int | None, *, closes: bool) -> None:
        """Whether ``exec`` closes a descriptor."""
        if number in self.files:
            self.files[number] = self.files[number]._replace(closes=closes)

    def unshare(self) -> None:
        """What was shared with threads is shared no more."""
        self.files, self.where = dict(self.files), Where(**vars(self.where))

    def exec(self) -> None:
        """Another program runs."""
        self.files = {n: slot for n, slot in self.files.items() if not slot.closes}
