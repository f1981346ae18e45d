"""What is watched while a command runs: its names as they are now, and what was done to it.

Links that lead out of what is watched are followed on the disk, when the trace is read.
"""

from __future__ import annotations

import os
import posixpath
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from interlock_client.powercut.materialise import MOST_BYTES, Snapshot, Watched
from interlock_client.powercut.operations import (
    Add,
    Kind,
    Mode,
    Move,
    Node,
    Operation,
    Remove,
    Resize,
    Sync,
    Write,
)
from interlock_core.errors import ConfigurationError

_MOST_LINKS: Final = 40


def refused(why: str) -> ConfigurationError:
    """The command does what cannot be explored."""
    return ConfigurationError(f"This command cannot be explored: {why}.", reason="not_recordable")


class Spot(NamedTuple):
    """A name in a watched directory."""

    directory: int
    name: str


class Live:
    """Names and lengths as they are now, and the operations so far.

    Args:
        start: what was there before.
        what: what is watched.
    """

    def __init__(self, start: Snapshot, what: Watched) -> None:
        self.nodes = dict(start.nodes)
        self.operations: list[Operation] = []
        self.entries = dict(start.entries)
        self._roots = dict(start.roots)
        self._what = what
        self._sizes = {number: len(node.data) for number, node in start.nodes.items()}

    def node(self, path: str) -> int | None:
        """What stands at a real path, if that is watched."""
        for root, node in self._roots.items():
            if path == root:
                return node
            if path.startswith(f"{root}/"):
                at: int | None = node
                for name in path[len(root) + 1 :].split("/"):
                    if at is None or self._what.ignores(name):
                        return None
                    at = self.entries.get((at, name))
                return at
        return None

    def spot(self, path: str) -> Spot | None:
        """The directory and name that an absolute path means, if that is watched."""
        above, name = posixpath.split(path.rstrip("/"))
        directory = self.node(self.real(above))
        if directory is None or self._what.ignores(name):
            return None
        return Spot(directory, name)

    def at(self, spot: Spot) -> int:
        """What a name leads to.

        Raises:
            ConfigurationError: ``not_recordable``: nothing that was seen put it there.
        """
        node = self.entries.get(spot)
        if node is None:
            raise refused(f"{spot.name} came to its directory in a way that was not recorded")
        return node

    def real(self, path: str, *, links: int = 0) -> str:
        """An absolute path without symbolic links."""
        done = "/"
        for name in PurePosixPath(path).parts[1:]:
            if name == "..":
                done = posixpath.dirname(done)
                continue
            here = posixpath.join(done, name)
            target = self._target(here)
            if target is None:
                done = here
                continue
            if links > _MOST_LINKS:
                raise refused(f"{path} leads through too many symbolic links")
            done = self.real(posixpath.join(done, target), links=links + 1)
        return done

    def size(self, node: int) -> int:
        """Bytes that a file or device has."""
        return self._sizes[node]

    def new(self, kind: Kind, mode: int, directory: int, data: bytes = b"") -> int:
        """The number of something that was made in a directory's file system."""
        number = max(self.nodes) + 1
        self.nodes[number] = Node(kind, data, mode, self.nodes[directory].system)
        self._sizes[number] = len(data)
        return number

    # What is done to it

    def add(self, spot: Spot, node: int) -> None:
        """A name appears."""
        self.entries[spot] = node
        self.operations.append(Add(spot.directory, spot.name, node))

    def remove(self, spot: Spot) -> None:
        """A name goes."""
        self.at(spot)
        del self.entries[spot]
        self.operations.append(Remove(spot.directory, spot.name))

    def move(self, old: Spot, new: Spot, *, exchange: bool) -> None:
        """A name goes and another leads to the same; or two are exchanged."""
        node, there = self.at(old), self.entries.get(new)
        if exchange:
            there = self.at(new)
            self.entries[old], self.entries[new] = there, node
            self.operations.append(Move(*old, *new, node, there))
        elif there != node:
            # Two names of one file: POSIX leaves both.
            del self.entries[old]
            self.entries[new] = node
            self.operations.append(Move(*old, *new, node))

    def write(self, node: int, offset: int, data: bytes) -> None:
        """Bytes are written."""
        if not data:
            return
        if self.nodes[node].kind == "file":
            end = offset + len(data)
            self._bounded(end)
            self._sizes[node] = max(self._sizes[node], end)
        self.operations.append(Write(node, offset, data))

    def resize(self, node: int, length: int) -> None:
        """A file is cut or grows."""
        self._bounded(length)
        if self._sizes[node] != length and self.nodes[node].kind == "file":
            self._sizes[node] = length
            self.operations.append(Resize(node, length))

    def clear(self, node: int, offset: int, length: int) -> None:
        """Bytes that there are become zeros."""
        length = min(length, self._sizes[node] - offset)
        if length > 0:
            self.write(node, offset, bytes(length))

    def mode(self, node: int, mode: int) -> None:
        """Mode bits change."""
        self.operations.append(Mode(node, mode))

    def flush(self, nodes: set[int], before: int, *, modes: bool = True) -> None:
        """A flush; arguments as of ``operations.Sync``."""
        self.operations.append(Sync(frozenset(nodes), before, modes))

    def _target(self, path: str) -> str | None:
        node = self.node(path)
        if node is not None:
            known = self.nodes[node]
            return os.fsdecode(known.data) if known.kind == "link" else None
        if any(path.startswith(f"{root}/") for root in self._roots):
            return None
        try:
            return os.readlink(path)  # noqa: PTH115  # as text, as the kernel takes it
        except OSError:
            return None

    def _bounded(self, length: int) -> None:
        if length > MOST_BYTES:
            raise refused(
                f"a file grows over {MOST_BYTES >> 20} MiB; try it with a smaller image: what is "
                "done in which order does not depend on its size"
            )
