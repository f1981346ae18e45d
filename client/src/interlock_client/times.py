"""What the machine says about time (I/O, all of it injected).

``interlock_core.clock`` has the rules; here are the three readings that they need.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from interlock_core.clock import (
    Clock,
    ClockReading,
    LastDecision,
    decision_time,
    jumped,
    system_clock,
    whole_utc,
)

_FIRST_YEAR, _LAST_YEAR = 1970, 9998
"""Of times that can be kept (``wire.Record``)."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Name the present boot; empty where the kernel does not tell, which counts as unknown."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def since_boot() -> float:
    """Seconds since boot, also those of a suspended machine."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def local_offset(now: datetime) -> timedelta:
    """Local time minus UTC at ``now``."""
    return now.astimezone().utcoffset() or timedelta(0)


@dataclass(frozen=True)
class Times:
    """The machine's clocks.

    Attributes:
        clock: the system clock.
        boot_id: names the present boot.
        monotonic: seconds that only ever rise within a boot.
        utc_offset: local time minus UTC at a time.
    """

    clock: Clock = system_clock
    boot_id: Callable[[], str] = boot_id
    monotonic: Callable[[], float] = since_boot
    utc_offset: Callable[[datetime], timedelta] = local_offset

    def decision_time(self, floor: datetime, last: LastDecision | None) -> datetime:
        """The time of a decision made now (``statements.md``, "Time of a decision")."""
        boot = self.boot_id()
        known = last if boot else None
        return decision_time(self.clock(), floor, known, boot, int(self.monotonic()))

    def in_this_boot(self, last: LastDecision | None) -> bool:
        """Whether a decision was made in the present boot, so that time since it is known."""
        return last is not None and last.boot_id == self.boot_id()

    def remember(self, at: datetime) -> LastDecision | None:
        """What to keep of a decision made at ``at``, or None if the boot has no name."""
        boot = self.boot_id()
        if not boot:
            return None
        return LastDecision(at=at, boot_id=boot, monotonic_seconds=int(self.monotonic()))

    def read(self, at: datetime) -> ClockReading | None:
        """What the system clock says at a decision that is made at ``at``; None if it is absurd."""
        boot, system = self.boot_id(), whole_utc(self.clock())
        if not boot or not _FIRST_YEAR <= system.year <= _LAST_YEAR:
            return None
        return ClockReading(
            system=system,
            boot_id=boot,
            monotonic_seconds=int(self.monotonic()),
            behind=system < at,
        )

    def jumped(self, known: ClockReading | None) -> timedelta:
        """By how much the system clock jumped since ``known`` (``clock``, rule 6)."""
        return jumped(known, self.clock(), self.boot_id(), int(self.monotonic()))
