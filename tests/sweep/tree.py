"""A directory tree as it stands: to see that nothing was left behind, and to put it back."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final
from unittest import mock

_READ_WHOLE: Final = 1 << 20
"""Larger files are told apart by their length: they are sparse, and were made by the sweep."""

_CAPABILITY_VERSION: Final = 0x20080522
_DAC: Final = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: why permission bits do not bind root."""

Snapshot = dict[str, tuple[object, ...]]
"""By path: what it is, its permission bits, and its content."""


@dataclass
class Eye:
    """Looks at a tree again and again; a file that did not change is hashed once."""

    known: dict[tuple[int, int, int, int], str] = field(default_factory=dict)

    def look(self, home: Path) -> Snapshot:
        """Everything under ``home``, by path."""
        return {".": (home.stat().st_mode,), **self._under(home, home)}

    def look_again(self, home: Path, before: Snapshot, name: str) -> Snapshot:
        """What was there ``before``, with what is at ``name`` now."""
        path = (home / name).parent.resolve() / Path(name).name
        inside = str(path.relative_to(home.resolve()))
        found = {
            key: value
            for key, value in before.items()
            if key != inside and not key.startswith(f"{inside}/")
        }
        if path.is_symlink() or path.exists():
            found[inside] = self._describe(str(path), path.lstat())
            if path.is_dir() and not path.is_symlink():
                found |= self._under(home.resolve(), path)
        return found

    def _under(self, home: Path, top: Path) -> Snapshot:
        found: Snapshot = {}
        stack = [str(top)]
        skip = len(str(home)) + 1
        while stack:
            # What may not be looked into is not changed by anybody who may not either.
            with suppress(PermissionError), os.scandir(stack.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    found[entry.path[skip:]] = self._describe(entry.path, status)
                    if stat.S_ISDIR(status.st_mode):
                        stack.append(entry.path)
        return found

    def _describe(self, path: str, status: os.stat_result) -> tuple[object, ...]:
        mode = status.st_mode
        if stat.S_ISLNK(mode):
            return ("link", str(Path(path).readlink()))
        if not stat.S_ISREG(mode):
            return (mode,)
        if status.st_size > _READ_WHOLE:
            return (mode, status.st_size)
        key = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if key not in self.known:
            try:
                self.known[key] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            except PermissionError:
                return (mode, *key)
        return (mode, self.known[key])


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """Every path that appeared, went away, or is something else now."""
    return sorted(p for p in before.keys() | after.keys() if before.get(p) != after.get(p))


def remove(path: Path) -> None:
    """Remove whatever stands at ``path``."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class Kept:
    """A tree, and a copy of it to put it back from."""

    def __init__(self, home: Path, copy: Path) -> None:
        self.home = home
        self.copy = copy
        self.eye = Eye()
        shutil.copytree(home, copy, symlinks=True)
        self.first = self.eye.look(home)

    def put_back(self) -> None:
        """Make the tree what it was at first."""
        for name in changes(self.first, self.eye.look(self.home)):
            here, there = self.home / name, self.copy / name
            if name not in self.first:
                remove(here)
            elif there.is_dir() and not there.is_symlink():
                if here.is_symlink() or not here.is_dir():
                    remove(here)
                    here.mkdir()
                here.chmod(stat.S_IMODE(there.stat().st_mode))
            else:
                remove(here)
                shutil.copy2(there, here, follow_symlinks=False)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Permission bits bind this thread, and threads that it starts, even if it is root's."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(_CAPABILITY_VERSION, 0), (_Data * 2)()
    _done(libc.capget(ctypes.byref(header), data))
    before = data[0].effective
    data[0].effective = before & ~_DAC
    _done(libc.capset(ctypes.byref(header), data))
    try:
        # Which asks about the real user unless it is told not to, and click asks it.
        with mock.patch.object(os, "access", partial(os.access, effective_ids=True)):
            yield
    finally:
        data[0].effective = before
        _done(libc.capset(ctypes.byref(header), data))


def _done(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
