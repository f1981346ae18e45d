"""When an installation that failed here is tried again (pure).

Rules:

1. What counts is named in ``COUNTED``: the bytes were right and came, and still the slots did not
   hold them, or the installer or the last moment failed, or the machine was to boot them and the
   old side runs on, and nothing says that it fell back. Networks, full disks and people who wait
   are none of that.
2. The first failure is followed by a try at the next run, for it may have been chance. After that
   the waits double from 30 minutes to a day, so that a gateway with a broken disk or a wrong
   installer does not wear it out, nor load the line, for weeks; and one whose boot loader does not
   boot what is armed does not reboot at every poll.
3. A new order or another image begins anew; so does a clock that went back behind the failure.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from interlock_client.journal import Attempt, Failures
from interlock_core.errors import Exit, InterlockError, RefusedError, TransientError
from interlock_core.wire import format_time

OVERRAN: Final = "last_moment_overran"
NOT_BOOTED: Final = "not_booted"
COUNTED: Final = frozenset(
    {"installer_failed", "installer_refused", "slot_mismatch", OVERRAN, NOT_BOOTED}
)
FIRST_WAIT: Final = timedelta(minutes=30)
MAX_WAIT: Final = timedelta(days=1)


def counting(
    known: Failures | None, attempt: Attempt, error: InterlockError, now: datetime
) -> Failures | None:
    """The failures known after ``error`` ended a try (rule 1)."""
    if error.reason not in COUNTED:
        return known
    before = known.times if known is not None and _of(known, attempt) else 0
    return Failures(
        order=attempt.order,
        sha256=attempt.sha256,
        reason=error.reason,
        refused=error.exit_code is Exit.REFUSED,
        times=before + 1,
        at=now,
    )


def waits_until(known: Failures | None, attempt: Attempt, now: datetime) -> datetime | None:
    """Until when it is not tried; None if it may be (rules 2 and 3)."""
    return due(known, now) if known is not None and _of(known, attempt) else None


def due(known: Failures, now: datetime) -> datetime | None:
    """Until when what failed is not tried; None if it may be (rules 2 and 3)."""
    if known.times < 2 or now < known.at:
        return None
    until = known.at + min(MAX_WAIT, FIRST_WAIT * (1 << min(known.times - 2, 10)))
    return until if now < until else None


def require_time(known: Failures | None, attempt: Attempt, now: datetime) -> None:
    """Raise unless it may be tried now.

    Raises:
        RefusedError, TransientError: by the reason for which it failed last.
    """
    until = waits_until(known, attempt, now)
    if known is None or until is None:
        return
    family = RefusedError if known.refused else TransientError
    raise family(
        f"{attempt.path} was tried {known.times} times here and failed ({known.reason}): it is "
        f"tried again from {format_time(until)} on; at once by a new order, or after "
        "'interlock-client retry'.",
        reason=known.reason,
    )


def _of(known: Failures, attempt: Attempt) -> bool:
    return (known.order, known.sha256) == (attempt.order, attempt.sha256)
