"""How fast bytes may come, and how fast they must (pure, but for the clocks that are passed in).

Rules:

1. Within every window at least the least rate must come: an average over the whole would let a
   peer that was fast once hold the gateway for hours.
2. A download is held at or below the configured rate; what is waited for here does not count as
   the peer's slowness, because the least rate is set below it (``servers.connect``).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from interlock_client.deadline import Monotonic

_MARKS: Final = 16
"""How many times within a window it is noted how much had come."""
CHUNK: Final = 256 * 1024
_LEAST_READ: Final = 4096


class LeastRate:
    """Rule 1, as the time by which more must have come.

    Args:
        bytes_per_second: the least rate.
        window_seconds: over which it is judged.
        now: when the exchange began.
    """

    def __init__(self, bytes_per_second: int, window_seconds: float, now: float) -> None:
        self._needed = max(1, int(bytes_per_second * window_seconds))
        self._window = window_seconds
        self._came = 0
        self._marks = deque([(now, 0)])

    def came(self, count: int, now: float) -> None:
        """``count`` bytes have come."""
        self._came += count
        marks = self._marks
        while marks and self._came - marks[0][1] >= self._needed:
            marks.popleft()
        if not marks or now - marks[-1][0] >= self._window / _MARKS:
            marks.append((now, self._came))

    @property
    def due(self) -> float:
        """When a window ends in which too little has come, unless more comes before."""
        return self._marks[0][0] + self._window


class Pace:
    """Rule 2.

    Args:
        bytes_per_second: the rate, or None for as fast as it comes.
        monotonic: seconds.
        pause: waits for seconds.
    """

    def __init__(
        self,
        bytes_per_second: int | None,
        monotonic: Monotonic = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = bytes_per_second
        self._monotonic = monotonic
        self._pause = pause
        self._began: float | None = None
        self._sent = 0

    @property
    def read_size(self) -> int:
        """How much to ask for at a time: about what may come in a second, so that no pause is
        taken for silence by the other side.
        """
        if self._rate is None:
            return CHUNK
        return min(CHUNK, max(_LEAST_READ, self._rate))

    def came(self, count: int) -> None:
        """``count`` bytes have come: wait until their time has come too."""
        if self._rate is None:
            return
        now = self._monotonic()
        if self._began is None:
            self._began = now
        self._sent += count
        early = self._sent / self._rate - (now - self._began)
        if early > 0:
            self._pause(early)
        elif early < -1.0:
            # What did not come in time is not made up for: that would be faster than allowed.
            self._began, self._sent = now, 0
