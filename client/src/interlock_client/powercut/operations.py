"""A recorded command as a value: a file system, and the operations on it (pure).

The rules are what POSIX leaves open, not what one file system happens to do. POSIX promises that
``fsync`` returns when the data of a file, and of a directory its names, are on the disk, and that
``rename`` is atomic for whoever looks; of a crash it says no more. That real programs fail in the
gaps, and in which, is shown by ALICE ("All File Systems Are Not Created Equal", OSDI 2014); that
few operations and few lost ones suffice to find it, by CrashMonkey ("Finding Crash-Consistency Bugs
with Bounded Black-Box Crash Testing", OSDI 2018). Linux's documentation of ext4 says of
``data=writeback`` that a file's data may be lost while what was done to its names is not.

Of what is certain (which states come of the rest: ``model``, 6 to 9):

1. Until it is flushed, each operation is on the disk or not, whatever became of the others: caches
   write back in any order. Only an operation that was begun before the cut can be there.
2. A flush of a file (``fsync``, ``fdatasync``, a write with ``O_SYNC`` or ``O_DSYNC``) puts on the
   disk what was done to its content before the flush began. It says nothing of the file's name.
3. A flush of a directory puts on the disk which names it has, and says nothing of what the files
   hold. A move between two directories is certain when both were flushed; it happens or does not,
   and is never half there.
4. ``sync``, and ``syncfs`` for one file system, flush everything.
5. Mode bits are flushed by ``fsync``, and not by ``fdatasync``.
10. A flush is believed: a disk whose cache lies about it is outside of the model, and so is memory
    that is mapped for writing, which no system call shows (``replay`` refuses it).

Owners, times and extended attributes are not in the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["file", "directory", "link", "device"]


@dataclass(frozen=True)
class Node:
    """What a name may lead to.

    Attributes:
        data: of a file or a device its content, of a symbolic link its target.
        mode: permission bits.
        system: tells file systems apart (``st_dev``).
    """

    kind: Kind
    data: bytes = b""
    mode: int = 0o644
    system: int = 0


@dataclass(frozen=True)
class Write:
    """Bytes put into a file or a device."""

    node: int
    offset: int
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Resize:
    """A file cut or grown to a length."""

    node: int
    length: int


@dataclass(frozen=True)
class Mode:
    """New permission bits."""

    node: int
    mode: int


@dataclass(frozen=True)
class Add:
    """A name appears: a file, directory or symbolic link was made, or a hard link."""

    directory: int
    name: str
    node: int


@dataclass(frozen=True)
class Remove:
    """A name goes."""

    directory: int
    name: str


@dataclass(frozen=True)
class Move:
    """A name goes and another leads to the same, at once.

    Attributes:
        exchanged: what the new name led to before, if the two were exchanged.
    """

    directory: int
    name: str
    to_directory: int
    to_name: str
    node: int
    exchanged: int | None = None


@dataclass(frozen=True)
class Sync:
    """A flush (rules 2 to 5).

    Attributes:
        nodes: the files, devices or directories that it flushes.
        before: it covers operations with a number below this: those that were over when it began.
        modes: whether it flushes mode bits too.
    """

    nodes: frozenset[int]
    before: int
    modes: bool = True


Operation = Write | Resize | Mode | Add | Remove | Move | Sync


@dataclass(frozen=True)
class Recording:
    """What a command did to what is watched.

    Attributes:
        roots: the watched directories and devices, by absolute path.
        nodes: everything that was there, or came, by number; new files and directories are empty.
        entries: the names when it began, by directory.
        operations: in the order in which they ended.
        elsewhere: files that it opened for writing and that are not watched.
    """

    roots: Mapping[str, int]
    nodes: Mapping[int, Node]
    entries: Mapping[tuple[int, str], int]
    operations: Sequence[Operation]
    elsewhere: tuple[str, ...] = ()
