"""What a power cut can leave of a file system on which operations were done (pure).

Rules (1 to 5 and 10, of what is certain, are those of ``operations``):

6. A write is on the disk sector by sector: a sector of 512 bytes (on other disks 4096) is old or
   new, and any of a write's sectors may be there without the others.
7. A file may have grown without its data: what was not written reads as zeros, or as whatever the
   disk held there before.
8. A file whose name is there and of whose data nothing was flushed may be empty.
9. Of two operations in one place the later wins, if it is there: one cache holds that place.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from interlock_client.powercut.operations import (
    Add,
    Kind,
    Mode,
    Move,
    Recording,
    Remove,
    Resize,
    Write,
)

Keep = Literal["none", "stale", "first", "last", "but_first", "but_last"]

STALE: Final = 0xA5
"""What a sector holds that was never written (rule 7)."""


@dataclass(frozen=True, order=True)
class Tear:
    """How much of a write is there (rules 6 and 7); its length always is.

    Attributes:
        keep: which sectors; ``none`` reads as zeros where nothing was before, ``stale`` as garbage.
        sector: bytes of a sector.
    """

    keep: Keep
    sector: int = 512

    def pieces(self, offset: int, length: int) -> tuple[int, int]:
        """The part of a write that is there: from and to, in bytes of the file."""
        end = offset + length
        after_first = min(end, (offset // self.sector + 1) * self.sector)
        before_last = max(offset, (end - 1) // self.sector * self.sector)
        match self.keep:
            case "first":
                return offset, after_first
            case "last":
                return before_last, end
            case "but_first":
                return after_first, end
            case "but_last":
                return offset, before_last
            case _:
                return offset, offset


@dataclass(frozen=True)
class State:
    """What of the operations is on the disk.

    Attributes:
        kept: bit n is set where operation n is there.
        torn: of kept writes that are there in part, how, by their number.
    """

    kept: int
    torn: tuple[tuple[int, Tear], ...] = ()

    def has(self, number: int) -> bool:
        """Whether an operation is there, be it in part."""
        return bool(self.kept >> number & 1)


@dataclass(frozen=True)
class Item:
    """What stands at a path in a state.

    Attributes:
        sha256: of a file's content or a link's target; empty for a directory.
    """

    node: int
    kind: Kind
    mode: int
    sha256: str


Tree = Mapping[str, Item]
"""What a state looks like, by absolute path; the roots are in it."""


class Model:
    """The states of one recording.

    Args:
        recording: what was done.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._changes: dict[int, list[tuple[int, Write | Resize | Mode]]] = defaultdict(list)
        self._masks: dict[int, int] = defaultdict(int)
        self._names: list[tuple[int, Add | Remove | Move]] = []
        for number, operation in enumerate(recording.operations):
            match operation:
                case Write() | Resize() | Mode():
                    self._changes[operation.node].append((number, operation))
                    self._masks[operation.node] |= 1 << number
                case Add() | Remove() | Move():
                    self._names.append((number, operation))
        self._names_mask = sum(1 << number for number, _ in self._names)
        self._placed: dict[int, dict[str, int]] = {}
        self._items: dict[tuple[object, ...], Item] = {}

    @cached_property
    def whole(self) -> State:
        """The state in which nothing was lost."""
        return State((1 << len(self.recording.operations)) - 1)

    def tree(self, state: State) -> Tree:
        """What a state looks like."""
        key = state.kept & self._names_mask
        if key not in self._placed:
            self._placed[key] = self._place(state)
        return {path: self._item(node, state) for path, node in self._placed[key].items()}

    def content(self, node: int, state: State) -> bytes:
        """What a file, device or link holds in a state (rules 6 to 9)."""
        data = bytearray(self.recording.nodes[node].data)
        device = self.recording.nodes[node].kind == "device"
        torn = dict(state.torn)
        for number, change in self._changes[node]:
            if not state.has(number):
                continue
            match change:
                case Resize(length=length):
                    _resize(data, length)
                case Write(offset=offset, data=new) if new:
                    _write(data, offset, new, torn.get(number), grows=not device)
        return bytes(data)

    def _place(self, state: State) -> dict[str, int]:
        entries = dict(self.recording.entries)
        for number, operation in self._names:
            if not state.has(number):
                continue
            match operation:
                case Add(directory, name, node):
                    entries[directory, name] = node
                case Remove(directory, name):
                    entries.pop((directory, name), None)
                case Move() as move:
                    source = (move.directory, move.name)
                    if move.exchanged is not None:
                        entries[source] = move.exchanged
                    elif entries.get(source) == move.node:
                        del entries[source]
                    entries[move.to_directory, move.to_name] = move.node
        children: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for (directory, name), node in entries.items():
            children[directory].append((name, node))
        placed: dict[str, int] = {}
        waiting = sorted(self.recording.roots.items(), reverse=True)
        seen: set[int] = set()
        while waiting:
            path, node = waiting.pop()
            placed[path] = node
            if self.recording.nodes[node].kind == "directory" and node not in seen:
                # Of a directory that two names lead to, one leads to nothing any more.
                seen.add(node)
                waiting += [(f"{path}/{name}", child) for name, child in children[node]]
        return placed

    def _item(self, node: int, state: State) -> Item:
        mask = self._masks[node]
        torn = tuple(tear for tear in state.torn if mask >> tear[0] & 1)
        key = (node, state.kept & mask, torn)
        if key not in self._items:
            known = self.recording.nodes[node]
            mode = known.mode
            for number, change in self._changes[node]:
                if isinstance(change, Mode) and state.has(number):
                    mode = change.mode
            directory = known.kind == "directory"
            sha256 = "" if directory else hashlib.sha256(self.content(node, state)).hexdigest()
            self._items[key] = Item(node, known.kind, mode, sha256)
        return self._items[key]


def digest(tree: Tree, paths: Iterable[str] | None = None) -> str:
    """One name for what a state looks like.

    Args:
        tree: the state.
        paths: those that count; all, if left out.
    """
    lines = sorted(
        f"{path}\0{item.kind}\0{item.mode:o}\0{item.sha256}"
        for path, item in (
            tree.items() if paths is None else ((path, tree[path]) for path in paths)
        )
    )
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _resize(data: bytearray, length: int) -> None:
    del data[length:]
    data.extend(bytes(length - len(data)))


def _write(data: bytearray, offset: int, new: bytes, tear: Tear | None, *, grows: bool) -> None:
    before, end = len(data), offset + len(new)
    if not grows and end > before:
        new = new[: max(0, before - offset)]
        end = before
    if end > before:
        _resize(data, end)
    if tear is None:
        data[offset:end] = new
        return
    start, stop = tear.pieces(offset, len(new))
    if tear.keep == "stale":
        fresh = max(offset, before)
        data[fresh:end] = bytes([STALE]) * max(0, end - fresh)
    data[start:stop] = new[start - offset : stop - offset]
