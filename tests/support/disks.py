"""File systems and devices that fail, made for one test, for real: they need root and mount(8).

* ``Small``: a tmpfs of a given size. It is filled, remounted read-only, or made larger again.
* ``loop``: a block device whose bytes lie in a file on such a tmpfs. Where that has no room, what
  is flushed fails as on a disk that wears out; where the file is cut, what is read does. It stands
  for dm-error, which needs the kernel's device mapper; many kernels of small machines have none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

PAGE: Final = 4096


def needed(*programs: str) -> None:
    """Skip, by name, where file systems cannot be mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    for program in ("mount", "umount", *programs):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def _run(*words: str | Path | int) -> str:
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{words[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


class Small:
    """A mounted file system of its own.

    Attributes:
        path: where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "somebody-elses"

    def resize(self, size: int) -> None:
        """Give it another size in bytes: no smaller than what it holds."""
        _run("mount", "-o", f"remount,size={size}", self.path)

    def fill(self) -> None:
        """Somebody else takes all the room that is left."""
        with self._filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * PAGE)
            except OSError:
                return

    def make_room(self) -> None:
        """Somebody else tidies up."""
        self._filler.unlink(missing_ok=True)

    def read_only(self, yes: bool) -> None:
        """Make it read-only, or writable again."""
        _run("mount", "-o", f"remount,{'ro' if yes else 'rw'}", self.path)


def _aside(path: Path) -> Path:
    before = path.with_name(f"{path.name}-before")
    path.rename(before)
    path.mkdir()
    return before


@contextmanager
def ext4(path: Path, store: Path) -> Iterator[Small]:
    """Mount an ext4 of 1 MiB at ``path``, with what lay there; yields the tmpfs that its bytes are
    on. When that is filled, what is flushed to the ext4 fails.

    Args:
        path: a directory.
        store: where the tmpfs is mounted.
    """
    needed("mkfs.ext4", "losetup", "fstrim")
    store.mkdir()
    with small(store, 2 << 20) as disk, loop(store / "device", 1 << 20) as device:
        _run("mkfs.ext4", "-q", "-b", PAGE, "-O", "^has_journal", device)
        before = _aside(path)
        _run("mount", "-t", "ext4", "-o", "errors=continue", device, path)
        try:
            shutil.copytree(before, path, symlinks=True, dirs_exist_ok=True)
            os.sync()
            # What is free there is free below: no write finds room by chance.
            _run("fstrim", path)
            yield disk
        finally:
            _run("umount", path)


@contextmanager
def small(path: Path, size: int) -> Iterator[Small]:
    """Mount a tmpfs of ``size`` bytes at ``path``, with what lay there copied into it."""
    needed()
    before = _aside(path)
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", path)
    except OSError as e:
        pytest.skip(f"a tmpfs cannot be mounted here: {e}")
    try:
        shutil.copytree(before, path, symlinks=True, dirs_exist_ok=True)
        yield Small(path)
    finally:
        _run("umount", "--lazy", path)


@contextmanager
def loop(backing: Path, size: int) -> Iterator[Path]:
    """A block device of ``size`` bytes, whose bytes lie in the sparse file ``backing``."""
    needed("losetup")
    with backing.open("wb") as file:
        file.truncate(size)
    try:
        device = Path(_run("losetup", "--find", "--show", backing))
    except OSError as e:
        pytest.skip(f"there is no loop device here: {e}")
    try:
        yield device
    finally:
        _run("losetup", "--detach", device)
