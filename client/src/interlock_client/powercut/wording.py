"""Operations in words, for people (pure)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from interlock_client.powercut.model import Model, State, Tear
from interlock_client.powercut.operations import (
    Add,
    Mode,
    Move,
    Operation,
    Remove,
    Resize,
    Sync,
    Write,
)

_NAMELESS: Final = "a file without a name"
_TORN: Final = {
    "none": "its length is there, and zeros",
    "stale": "its length is there, and what the disk held before",
    "first": "only its first {} bytes are there",
    "last": "only its last {} bytes are there",
    "but_first": "all but its first {} bytes are there",
    "but_last": "all but its last {} bytes are there",
}


class Words:
    """Says what operations of a recording do, with paths relative to a directory.

    Args:
        model: of the recording.
        directory: paths below it are shortened.
    """

    def __init__(self, model: Model, directory: Path) -> None:
        self._operations = model.recording.operations
        self._base = str(directory)
        recording = model.recording
        self._paths = dict.fromkeys(recording.nodes, _NAMELESS)
        self._paths |= {node: self.short(path) for path, node in recording.roots.items()}
        entries = list(recording.entries.items())
        waiting = list(recording.roots.values())
        below: dict[int, list[tuple[str, int]]] = {}
        for (above, name), node in entries:
            below.setdefault(above, []).append((name, node))
        while waiting:
            above = waiting.pop()
            for name, node in below.get(above, ()):
                self._paths[node] = self._join(above, name)
                waiting.append(node)
        for operation in self._operations:
            if isinstance(operation, Add) and self._paths[operation.node] == _NAMELESS:
                self._paths[operation.node] = self._join(operation.directory, operation.name)

    def said(self, number: int, tear: Tear | None = None) -> str:
        """One operation: ``17 write slots/b, bytes 0 to 65536``."""
        torn = ""
        if tear is not None:
            torn = f" ({_TORN[tear.keep].format(tear.sector)})"
        return f"{number} {self._act(self._operations[number])}{torn}"

    def lost(self, numbers: tuple[int, ...], state: State) -> list[str]:
        """Operations that a state lost, in words."""
        torn = dict(state.torn)
        return [self.said(number, torn.get(number)) for number in numbers]

    def _act(self, operation: Operation) -> str:
        match operation:
            case Write(node, offset, data):
                return f"write {self._paths[node]}, bytes {offset} to {offset + len(data)}"
            case Resize(node, length):
                return f"set the length of {self._paths[node]} to {length}"
            case Mode(node, mode):
                return f"chmod {mode:o} {self._paths[node]}"
            case Add(directory, name, _):
                return f"make the name {self._join(directory, name)}"
            case Remove(directory, name):
                return f"remove the name {self._join(directory, name)}"
            case Move(directory, name, to_directory, to_name, _, exchanged):
                verb = "rename" if exchanged is None else "exchange"
                source, there = self._join(directory, name), self._join(to_directory, to_name)
                return f"{verb} {source} to {there}"
            case Sync(nodes):
                names = sorted(self._paths[node] for node in nodes)
                return f"flush {names[0] if len(names) == 1 else 'everything'}"

    def _join(self, directory: int, name: str) -> str:
        above = self._paths[directory]
        return name if above == "." else f"{above}/{name}"

    def short(self, path: str) -> str:
        """A path relative to the directory, if it is below it."""
        if path == self._base or path.startswith(f"{self._base}/"):
            return os.path.relpath(path, self._base)
        return path
