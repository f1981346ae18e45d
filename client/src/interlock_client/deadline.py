"""The time by which an exchange must have come further, or is ended (I/O: a thread).

A thread waits for it, because whoever reads may be held inside a read by a peer that sends a byte
now and then. The time may be moved on while the exchange goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Self

_LOOK_SECONDS: Final = 1.0
"""How often it is looked whether the time was moved to an earlier one."""

Monotonic = Callable[[], float]
"""Seconds that never go back."""


class Deadline:
    """A context manager: within it, ``end`` is called once if the time passes.

    Args:
        at: the time, by ``monotonic``.
        says: what the peer did not do by then, for people.
        end: ends the exchange, from another thread.
        monotonic: seconds.
    """

    def __init__(
        self, at: float, says: str, end: Callable[[], None], monotonic: Monotonic = time.monotonic
    ) -> None:
        self.says = says
        self._at = at
        self._end = end
        self._monotonic = monotonic
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="deadline", daemon=True)

    def move(self, at: float, says: str) -> None:
        """Set another time; one that is earlier is seen within a second."""
        self._at, self.says = at, says

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            left = self._at - self._monotonic()
            if left <= 0:
                self._end()
                return
            if self._over.wait(min(left, _LOOK_SECONDS)):
                return
