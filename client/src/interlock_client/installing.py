"""Whether the agent itself is unpacking something right now (I/O).

Rules:

1. While an installer unpacks, the agent holds a record lock on a file that is named for the digest
   of what it unpacks, in a directory that nobody else may enter. The kernel keeps the lock, and
   drops it when the agent ends, however it ends: there is no stale answer, and none for another
   digest.
2. Whoever asks takes no lock: asking often, or never finishing to ask, hinders nobody.
3. The journal must say the same. So what is asked for was verified, and is on its way into the
   inactive side by the decision that the journal names.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from interlock_client.journal import State
from interlock_client.journal import load as load_journal
from interlock_client.state import StateDir
from interlock_core import durable
from interlock_core.errors import RefusedError

_FLOCK: Final = "@hhqqi"
"""``struct flock`` with 64-bit offsets: type, whence, start, length, pid."""


@contextmanager
def announced(state: Path, sha256: str) -> Iterator[None]:
    """Tell whoever asks that ``sha256`` is being unpacked, for as long as this lasts (rule 1).

    Raises:
        TransientError: the disk did not do it.
    """
    directory = _directory(state)
    durable.mkdir(directory, mode=0o700)
    path = directory / sha256
    with durable.translated("lock", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with durable.translated("lock", path):
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
        with suppress(OSError):
            path.unlink()


def require(state: StateDir, sha256: str) -> int:
    """The process that unpacks ``sha256`` right now.

    Raises:
        RefusedError: ``not_installing``: nobody does, or the journal knows nothing of it (rule 3).
        TransientError: the journal cannot be read.
    """
    pid = _holder(_directory(state.root) / sha256)
    if pid is None:
        raise RefusedError(
            f"The agent is not installing {sha256[:12]}: only 'interlock-client update' and 'run' "
            "install, after they have verified and decided.",
            reason="not_installing",
        )
    journal = load_journal(state.journal)
    if journal.state is not State.DOWNLOADING or journal.unpacking != sha256:
        raise RefusedError(
            f"Process {pid} holds the lock for {sha256[:12]}, and the journal says nothing of it.",
            reason="not_installing",
        )
    return pid


def _holder(path: Path) -> int | None:
    """Who holds the lock on ``path``; None if nobody does, or it cannot be asked (rule 2)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return int(answer[4]) if answer[0] != fcntl.F_UNLCK else None


def _directory(state: Path) -> Path:
    return state / "installing"
