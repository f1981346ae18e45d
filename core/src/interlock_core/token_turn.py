"""Processes of one host take turns at a token (I/O).

Rules:

1. A token in software keeps its objects in files, and a login rewrites them: another process that
   initialises the library just then sees no token at all. So whoever uses a library holds a lock on
   the library's own file meanwhile: every process that can use it can open it, nothing is created,
   and the lock goes with the process that held it.
2. The lock is a courtesy, and no protection: it is waited for ``PATIENCE_SECONDS``, and after that
   the token is used all the same, so that nobody on the host can keep a key from being used by
   holding it. Where the library's file cannot be opened here, there is no turn either.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.01

_log = logging.getLogger(__name__)


@contextmanager
def turn_at(library: str) -> Iterator[None]:
    """Hold the turn at the token that a library speaks to.

    Args:
        library: path of the PKCS#11 library.
    """
    try:
        descriptor = os.open(library, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        # A bare name, which only the loader finds; what is wrong with a path the library says.
        yield
        return
    try:
        _take(descriptor, library)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, library: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            # Anything but "somebody has it" is a file system without locks.
            if not isinstance(e, BlockingIOError) or time.monotonic() >= deadline:
                _log.warning("no turn at %s (%s): the token is used all the same", library, e)
                return
            time.sleep(_AGAIN_SECONDS)
        else:
            return
