"""Directories and devices as values, and back (I/O).

Rules:

1. What is watched are directories, with all below them, and block devices. A socket, a pipe or
   another special file below a directory is an error: it cannot be put back.
2. Names that match a pattern of ``ignore`` are left alone: they are in no state.
3. A state is put in place as it is, hard links and mode bits included. Between two states only what
   differs is changed; whoever changed something in between says so (``Stage.forget``).
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from interlock_client.powercut.model import Item, Model, State, Tree
from interlock_client.powercut.operations import Node
from interlock_core.durable import translated
from interlock_core.errors import ConfigurationError

MOST_BYTES: Final = 256 * 1024 * 1024
MOST_FILES: Final = 20_000


@dataclass(frozen=True)
class Watched:
    """What is recorded and put in place.

    Attributes:
        roots: directories and block devices, absolute and free of symbolic links.
        ignore: patterns of names that are left alone (rule 2).
    """

    roots: tuple[Path, ...]
    ignore: tuple[str, ...] = ()

    def ignores(self, name: str) -> bool:
        """Whether a name is left alone."""
        return any(fnmatchcase(name, pattern) for pattern in self.ignore)


@dataclass(frozen=True)
class Snapshot:
    """What stands in the watched places; fields as in ``operations.Recording``."""

    roots: Mapping[str, int]
    nodes: Mapping[int, Node]
    entries: Mapping[tuple[int, str], int]


def watched(paths: Sequence[Path], ignore: Sequence[str] = ()) -> Watched:
    """What to watch.

    Raises:
        ConfigurationError: one is neither a directory nor a block device, or lies in another.
        TransientError: it cannot be looked at.
    """
    roots = []
    for path in paths:
        with translated("look at", path):
            try:
                real = Path(os.path.realpath(path, strict=True))
            except FileNotFoundError as e:
                raise ConfigurationError(f"There is no {path}: mend `watch`.") from e
            if not (real.is_dir() or real.is_block_device()):
                raise ConfigurationError(
                    f"{path} is neither a directory nor a block device: only those are watched. "
                    "For a single file, name its directory."
                )
        roots.append(real)
    for one in roots:
        for other in roots:
            if one is not other and one.is_relative_to(other):
                raise ConfigurationError(f"{one} lies in {other}: watch {other} alone.")
    return Watched(tuple(roots), tuple(ignore))


def snapshot(what: Watched) -> Snapshot:
    """Read all of it.

    Raises:
        ConfigurationError: it holds something that cannot be put back, or more than is bearable.
        TransientError: it cannot be read.
    """
    reader = _Reader(what)
    roots = {}
    for root in what.roots:
        with translated("read", root):
            roots[str(root)] = reader.read(root)
    return Snapshot(roots, reader.nodes, reader.entries)


class _Reader:
    def __init__(self, what: Watched) -> None:
        self.what = what
        self.nodes: dict[int, Node] = {}
        self.entries: dict[tuple[int, str], int] = {}
        self._known: dict[tuple[int, int], int] = {}
        self._bytes = 0

    def read(self, path: Path) -> int:
        found = path.lstat()
        key = (found.st_dev, found.st_ino)
        if key in self._known and not stat.S_ISDIR(found.st_mode):
            return self._known[key]
        number = len(self.nodes) + 1
        self._known[key] = number
        mode, system = stat.S_IMODE(found.st_mode), found.st_dev
        if stat.S_ISDIR(found.st_mode):
            self.nodes[number] = Node("directory", mode=mode, system=system)
            for name in sorted(os.listdir(path)):  # noqa: PTH208  # names, to be matched as they are
                if not self.what.ignores(name):
                    self.entries[number, name] = self.read(path / name)
        elif stat.S_ISLNK(found.st_mode):
            self.nodes[number] = Node("link", os.fsencode(path.readlink()), 0o777, system)
        elif stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode):
            kind = "file" if stat.S_ISREG(found.st_mode) else "device"
            data = self._data(path)
            self.nodes[number] = Node("file" if kind == "file" else "device", data, mode, system)
        else:
            raise ConfigurationError(
                f"{path} is a special file, which cannot be put back: keep it out of what is "
                "watched, or ignore its name."
            )
        if len(self.nodes) > MOST_FILES:
            raise ConfigurationError(f"More than {MOST_FILES} files are watched: watch less.")
        return number

    def _data(self, path: Path) -> bytes:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1 - self._bytes)
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            raise ConfigurationError(
                f"More than {MOST_BYTES >> 20} MiB are watched: try it with smaller images; what "
                "is done in which order does not depend on their size."
            )
        return data


class Stage:
    """Where states are put in place.

    Args:
        what: what is watched.
        model: the states.
        elsewhere: directories to use instead of those that were recorded, by their path.
    """

    def __init__(
        self, what: Watched, model: Model, elsewhere: Mapping[str, Path] | None = None
    ) -> None:
        self._what = what
        self._model = model
        self._elsewhere = elsewhere or {}
        self._shown: Tree | None = None

    def forget(self) -> None:
        """Something else may have changed what is in place (rule 3)."""
        self._shown = None

    def show(self, state: State) -> Tree:
        """Put a state in place; returns what it looks like.

        Raises:
            TransientError: the disk did not do it.
        """
        tree = self._model.tree(state)
        with translated("write", self._what.roots[0]):
            if self._shown is None:
                self._clear()
                before: Tree = {
                    path: item
                    for path, item in tree.items()
                    if path in self._model.recording.roots and item.kind == "directory"
                }
            else:
                before = self._shown
            # Were it to fail half way, what is there is not known.
            self._shown = None
            self._change(before, tree, state)
            self._shown = tree
        return tree

    def real(self, path: str) -> Path:
        """Where what was recorded at ``path`` is put."""
        for root, instead in self._elsewhere.items():
            if path == root or path.startswith(f"{root}/"):
                return Path(f"{instead}{path[len(root) :]}")
        return Path(path)

    def _clear(self) -> None:
        for root, node in self._model.recording.roots.items():
            if self._model.recording.nodes[node].kind == "directory":
                real = self.real(root)
                real.mkdir(parents=True, exist_ok=True)
                self._empty(real)

    def _empty(self, directory: Path) -> None:
        for entry in list(os.scandir(directory)):
            if self._what.ignores(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)  # noqa: PTH108  # as scandir gave it

    def _change(self, before: Tree, after: Tree, state: State) -> None:
        same = {path for path, item in after.items() if before.get(path) == item}
        # Names of one node stay together: what is written anew gets all its names anew.
        torn = {after[path].node for path in after.keys() - same}
        torn |= {before[path].node for path in before.keys() - same}
        stale = [p for p, item in before.items() if p not in same or item.node in torn]
        for path in sorted(stale, reverse=True):
            kept = after.get(path)
            if before[path].kind == "directory":
                if kept is None or kept.kind != "directory":
                    self._remove_tree(path)
            elif before[path].kind != "device":
                self.real(path).unlink(missing_ok=True)
        made: dict[int, Path] = {}
        for path in sorted(p for p, item in after.items() if p not in same or item.node in torn):
            self._make(path, after[path], before.get(path), state, made)

    def _remove_tree(self, path: str) -> None:
        real = self.real(path)
        self._empty(real)
        # What is ignored goes with the directory that it is in.
        shutil.rmtree(real)

    def _make(
        self, path: str, item: Item, before: Item | None, state: State, made: dict[int, Path]
    ) -> None:
        real = self.real(path)
        match item.kind:
            case "directory":
                real.mkdir(exist_ok=True)
                real.chmod(item.mode)
            case "link":
                real.symlink_to(os.fsdecode(self._model.content(item.node, state)))
            case "device":
                if before is None or before.sha256 != item.sha256:
                    mode = "wb" if path in self._elsewhere else "r+b"
                    with real.open(mode) as device:
                        device.write(self._model.content(item.node, state))
            case "file" if item.node in made:
                real.hardlink_to(made[item.node])
            case "file":
                real.write_bytes(self._model.content(item.node, state))
                real.chmod(item.mode)
                made[item.node] = real


def listed(found: Snapshot) -> Iterator[tuple[str, Node]]:
    """Every path of a snapshot, and what stands there."""
    children: dict[int, list[tuple[str, int]]] = {}
    for (directory, name), node in found.entries.items():
        children.setdefault(directory, []).append((name, node))
    waiting = list(found.roots.items())
    while waiting:
        path, node = waiting.pop()
        yield path, found.nodes[node]
        if found.nodes[node].kind == "directory":
            waiting += [(f"{path}/{name}", child) for name, child in children.get(node, ())]
