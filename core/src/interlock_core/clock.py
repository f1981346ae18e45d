"""What time a decision is made at.

Rules (``statements.md``, "Time of a decision" and "What raises the clock's floor"):

1. A clock is a function without arguments that returns an aware time in UTC, in whole seconds.
   Code that decides takes a ``Clock`` or a time; nothing below the edge asks the machine.
2. The time of a decision is the latest of three: the system clock, the persisted floor, and the
   last decision's time plus the monotonic seconds since then, if both lie within one boot. So a
   clock that is set back, or starts at 1970, gains an attacker nothing that was already past.
3. Only issue times under offline threshold signatures that were accepted raise the floor: root,
   targets, product and ``interlock`` metadata and the roster. Never an online role's time and
   never one person's: a stolen online key must not be able to push a gateway into the future.
4. The floor never falls by itself. A local, logged command resets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from interlock_core.wire import Record

Clock = Callable[[], datetime]
"""Returns now: aware, UTC, whole seconds (rule 1)."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The floor of a gateway that has accepted nothing yet."""


class LastDecision(Record, frozen=True, kw_only=True):
    """When the gateway last decided, kept so that time cannot go back within one boot.

    Attributes:
        at: the time of that decision.
        boot_id: names the boot in which it was made (``/proc/sys/kernel/random/boot_id``).
        monotonic_seconds: the monotonic clock then, in whole seconds.
    """

    at: datetime
    boot_id: str
    monotonic_seconds: int


def whole_utc(time: datetime) -> datetime:
    """``time`` in UTC, cut to whole seconds.

    Raises:
        ValueError: the time is naive: nobody can say which instant it means.
    """
    if time.tzinfo is None:
        raise ValueError("a time without a zone means no instant")
    return time.astimezone(UTC).replace(microsecond=0)


def system_clock() -> datetime:
    """Now, by the machine. The function itself is a ``Clock``: pass it without calling it."""
    return datetime.now(UTC).replace(microsecond=0)


def fixed_clock(time: datetime) -> Clock:
    """A clock that stands still at ``time``."""
    fixed = whole_utc(time)
    return lambda: fixed


def decision_time(
    system: datetime,
    floor: datetime,
    last: LastDecision | None,
    boot_id: str,
    monotonic_seconds: int,
) -> datetime:
    """The time at which a decision is made (rule 2).

    Args:
        system: the system clock, now.
        floor: the persisted floor; ``EPOCH`` if there is none yet.
        last: the last decision, if one was kept.
        boot_id: names the present boot.
        monotonic_seconds: the monotonic clock now, in whole seconds.
    """
    times = [whole_utc(system), whole_utc(floor)]
    if last is not None and last.boot_id == boot_id:
        since = max(0, monotonic_seconds - last.monotonic_seconds)
        times.append(last.at + timedelta(seconds=since))
    return max(times)


def raised_floor(floor: datetime, offline_issued: Iterable[datetime | None]) -> datetime:
    """The floor after accepting things that were signed offline by a threshold (rules 3 and 4).

    Args:
        floor: the floor until now.
        offline_issued: their issue times (``issued`` of accepted root, targets, product and
            ``interlock`` metadata, and the roster's); None stands for one that states none.
    """
    return max([whole_utc(floor), *(whole_utc(t) for t in offline_issued if t is not None)])
