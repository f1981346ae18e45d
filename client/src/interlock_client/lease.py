"""The lease that clinical software sees, for no longer than it may be held (I/O: a lock, a thread).

Rules:

1. From the moment it is taken there is a time, and when that is over the lease is given back,
   whatever the agent is held up by then: a slow line, a dying disk, a program that hangs. A thread
   does it, because whoever is held up can do nothing.
2. Whoever holds it asks whether it still does before each step that cannot be undone, and once more
   before the last: then it is kept until the process ends, or it is gone and the step is not taken.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from interlock_client.failing import OVERRAN
from interlock_client.state import exclusive
from interlock_core.errors import TransientError


class Lease:
    """A lease that was taken; see ``taken``.

    Args:
        descriptor: of the locked file.
        seconds: how long it may be held.
        monotonic: seconds that never go back.
    """

    def __init__(self, descriptor: int, seconds: float, monotonic: Callable[[], float]) -> None:
        self._descriptor = descriptor
        self._seconds = seconds
        self._monotonic = monotonic
        self._began = monotonic()
        self._turn = threading.Lock()
        self._over = False
        self._timer = threading.Timer(seconds, self._give_back)
        self._timer.daemon = True

    def held_seconds(self) -> int:
        """How long it has been held."""
        return int(self._monotonic() - self._began)

    def left(self) -> float:
        """Seconds that it may still be held."""
        return max(0.0, self._seconds - (self._monotonic() - self._began))

    def check(self) -> None:
        """Raise unless it is still held.

        Raises:
            TransientError: ``last_moment_overran``.
        """
        if self._over or self.left() <= 0:
            raise TransientError(
                f"The last moment took longer than the {self._seconds:g} s that "
                "`last_moment_timeout_seconds` allows: nothing is armed, and the lease was given "
                "back.",
                reason=OVERRAN,
            )

    def keep(self) -> None:
        """Hold it until the process ends (rule 2).

        Raises:
            TransientError: as ``check``.
        """
        with self._turn:
            self.check()
            self._timer.cancel()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Within this its time runs."""
        self._timer.start()
        try:
            yield
        finally:
            self._timer.cancel()

    def _give_back(self) -> None:
        with self._turn:
            if not self._timer.finished.is_set():
                self._over = True
                with suppress(OSError):
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)


@contextmanager
def taken(path: Path, seconds: float, monotonic: Callable[[], float]) -> Iterator[Lease]:
    """Hold the lease.

    Args:
        path: the file.
        seconds: how long it may be held.
        monotonic: seconds that never go back.

    Raises:
        TransientError: ``busy``: clinical software holds it.
    """
    with exclusive(path, "Clinical software holds the lease", mode=0o644) as descriptor:
        lease = Lease(descriptor, seconds, monotonic)
        with lease.timed():
            yield lease
