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
5. What pushes time ahead is bounded, so that one wrong clock strands nobody. An issue time raises
   the floor only if nothing that was believed with it is over by then: no metadata expired, the
   roster not too old. One that lies further ahead is not cut down to that bound: it counts for
   nothing, and is asked about again at the next refresh. A decision's time is kept as the last one
   only if everything outlasts it by ``MARGIN``, because it goes on from there for a whole boot. So
   heads that are signed anew in time are never expired by what was kept. The ends that online roles
   sign can only keep a time from counting: the time itself is always one of rule 3's, and offline
   ends bound it too, so that no online role raises anything.
6. Within one boot the system clock goes on as the monotonic clock does. Where it does not, it
   jumped: that is told to people, and decides nothing. A clock that is set for the first time is
   no jump: one that was behind (rule 2) goes ahead, or one goes ahead soon after the boot.
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

MARGIN: Final = timedelta(days=5)
"""By how much everything must outlast a decision whose time is kept (rule 5).

Heads have at least 7 days left when they are signed in time (``tuf_repository.ROLES``). A clock
that runs ahead is kept only as far as leaves 5 of their 10: it never uses up those 7."""

JUMP: Final = timedelta(minutes=5)
"""How far the system clock may leave the monotonic clock before it jumped (rule 6)."""

SETTLING: Final = timedelta(minutes=15)
"""How long after a boot a clock may be set ahead for the first time (rule 6)."""


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


class ClockReading(Record, frozen=True, kw_only=True):
    """What the system clock said, to be compared with what it says later in the same boot.

    Attributes:
        system: the system clock.
        boot_id: names the boot.
        monotonic_seconds: the monotonic clock then, in whole seconds.
        behind: whether the time of the decision was later: then the clock was not right.
    """

    system: datetime
    boot_id: str
    monotonic_seconds: int
    behind: bool


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


def first_end(ends: Iterable[datetime]) -> datetime:
    """From when on something that was believed is over (rule 5); ``EPOCH`` if there is nothing.

    Args:
        ends: expiries of all metadata that was believed, and when the roster becomes too old.
    """
    return max(EPOCH, min((whole_utc(end) for end in ends), default=EPOCH))


def kept_until(first: datetime) -> datetime:
    """The latest time of a decision that is kept as the last one (rule 5).

    Args:
        first: the first end of all that was believed.
    """
    return first - MARGIN if first > EPOCH + MARGIN else EPOCH


def jumped(
    known: ClockReading | None, system: datetime, boot_id: str, monotonic_seconds: int
) -> timedelta:
    """By how much the system clock jumped since ``known``, ahead or back; zero if not (rule 6).

    Args:
        known: what it said before.
        system: the system clock, now.
        boot_id: names the present boot.
        monotonic_seconds: the monotonic clock now, in whole seconds.
    """
    if known is None or not boot_id or known.boot_id != boot_id:
        return timedelta(0)
    elapsed = timedelta(seconds=max(0, monotonic_seconds - known.monotonic_seconds))
    off = whole_utc(system) - known.system - elapsed
    first_set = off > timedelta(0) and (
        known.behind or timedelta(seconds=monotonic_seconds) < SETTLING
    )
    return timedelta(0) if first_set or abs(off) <= JUMP else off
