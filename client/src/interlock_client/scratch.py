"""Scratch copies of the trusted metadata, and the one act that puts one in force (I/O).

Rules:

1. What is in force is what the link ``trusted`` names; only ``adopt`` switches it, atomically and
   only to a copy that is flushed to the disk.
2. A copy costs links, not bytes: ``tuf.ngclient`` replaces files and never writes into one.
3. What a refresh, or any write, that was cut off has left is swept by the next.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from interlock_client.state import StateDir, remove_tree
from interlock_core import disk, durable

_TREE: Final = "trusted-"


@contextmanager
def copied(state: StateDir) -> Iterator[Path]:
    """A copy to work on; it is thrown away at the end unless it was adopted.

    Raises:
        TransientError: the disk did not do it.
    """
    tree = state.root / f"{_TREE}{secrets.token_hex(8)}"
    with durable.translated("copy the trusted metadata to", tree):
        if state.trusted.is_dir():
            shutil.copytree(state.trusted, tree, symlinks=True, copy_function=_link)
        else:
            tree.mkdir(mode=0o700)
    try:
        yield tree
    finally:
        if _in_force(state) != tree.name:
            shutil.rmtree(tree, ignore_errors=True)


def adopt(state: StateDir, tree: Path) -> None:
    """Put a copy in force, if it differs from what is (rule 1).

    Raises:
        TransientError: the disk did not do it; what was in force still is.
    """
    with durable.translated("read", tree):
        if state.trusted.is_dir() and _contents(tree) == _contents(state.trusted):
            return
    durable.fsync_tree(tree)
    with durable.translated("flush", state.root):
        disk.sync_directory(state.root)
    durable.switch_link(state.trusted, tree.name)
    sweep(state)


def sweep(state: StateDir) -> None:
    """Remove what refreshes and writes that were cut off have left (rule 3).

    Only who holds the lock may call it: no other writer is at work then.

    Raises:
        TransientError: the disk did not do it.
    """
    with durable.translated("sweep", state.root):
        kept = _in_force(state)
        left = [
            entry
            for entry in state.root.iterdir()
            if entry.name.startswith(_TREE) and entry.name != kept
        ]
    for tree in left:
        remove_tree(tree)
    durable.sweep(state.root, before=math.inf)


def _in_force(state: StateDir) -> str | None:
    return state.trusted.readlink().name if state.trusted.is_symlink() else None


def _link(source: str, destination: str) -> None:
    try:
        os.link(source, destination, follow_symlinks=False)
    except OSError:
        # Not every file system has hard links.
        shutil.copy2(source, destination, follow_symlinks=False)


def _contents(tree: Path) -> dict[str, bytes]:
    return {
        path.relative_to(tree).as_posix(): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file()
    }
