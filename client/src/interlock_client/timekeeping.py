"""What a gateway keeps of time, and what it tells people about its clock (I/O: a reset).

Rules (``interlock_core.clock`` has those about what is kept):

1. A decision keeps its time only if everything believed then outlasts it, and what the system clock
   said in any case, so that a jump in the same boot is found.
2. ``clock_jumped`` is told until the next boot; ``issue_time_ahead`` while something that people
   signed offline is dated later than may be kept. Both are alarms, and refuse nothing.
3. A person resets the floor and the last decision, and no floor of a version: those never fall.
   Who, when and why is kept beside the decisions.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from interlock_client import local_acts
from interlock_client.context import Context
from interlock_client.memory import Jumped, Memory
from interlock_client.outcome import Outcome
from interlock_client.times import Times
from interlock_core.clock import EPOCH
from interlock_core.wire import format_time

CLOCK_JUMPED: Final = "clock_jumped"
ISSUE_TIME_AHEAD: Final = "issue_time_ahead"


def timed(memory: Memory, times: Times, now: datetime, until: datetime | None) -> Memory:
    """The memory after a decision (rule 1).

    Args:
        memory: before it.
        times: the machine's clocks.
        now: the time of the decision.
        until: the latest time that may be kept; None if nothing was believed.
    """
    keep = until is not None and now <= until
    return msgspec.structs.replace(
        memory,
        last=times.remember(now) if keep else memory.last,
        reading=times.read(now),
        jumped=_jumped(memory, times, now),
    )


def looked(memory: Memory, times: Times, now: datetime) -> Memory:
    """The memory with a jump of the clock that was not known yet, or else as it is."""
    found = _jumped(memory, times, now)
    if found == memory.jumped:
        return memory
    return msgspec.structs.replace(memory, reading=times.read(now), jumped=found)


def _jumped(memory: Memory, times: Times, now: datetime) -> Jumped | None:
    boot = times.boot_id()
    seconds = int(times.jumped(memory.reading).total_seconds())
    if seconds:
        return Jumped(at=now, boot_id=boot, seconds=seconds)
    known = memory.jumped
    return known if known is not None and known.boot_id == boot else None


def alarms(memory: Memory, times: Times, now: datetime) -> tuple[str, ...]:
    """The alarms about time that stand, by name (rule 2)."""
    jumped = _jumped(memory, times, now) is not None
    ahead = memory.ahead is not None and memory.ahead > now
    return ((CLOCK_JUMPED,) if jumped else ()) + ((ISSUE_TIME_AHEAD,) if ahead else ())


def shown(memory: Memory, times: Times) -> dict[str, Any]:
    """How time stands, as plain values."""
    now = times.decision_time(memory.clock_floor, memory.last)
    jumped = _jumped(memory, times, now)
    return {
        "system": _time(times.clock()),
        "decides_at": now,
        "floor": memory.clock_floor,
        "last_decision": None if memory.last is None else memory.last.at,
        "last_decision_in_this_boot": times.in_this_boot(memory.last),
        "jumped_seconds": None if jumped is None else jumped.seconds,
        "issued_ahead": memory.ahead,
        "alarms": list(alarms(memory, times, now)),
    }


def reset(context: Context, reason: str) -> Outcome:
    """Forget the floor and the last decision (rule 3).

    Raises:
        RefusedError: ``damaged_state``.
        TransientError: ``busy``, or the disk.
    """
    with context.state.lock():
        memory = context.memory()
        before = context.times.decision_time(memory.clock_floor, memory.last)
        changed = msgspec.structs.replace(
            memory, clock_floor=EPOCH, last=None, reading=None, jumped=None, ahead=None
        )
        after = context.times.decision_time(EPOCH, None)
        # Recorded first: a reset that nobody finds would be worse than a record of none.
        local_acts.record(
            context,
            after,
            "clock_reset",
            reason,
            {
                "floor": {"from": memory.clock_floor, "to": EPOCH},
                "last_decision": memory.last,
                "decides_at": {"from": before, "to": after},
            },
        )
        context.remember(changed)
    return Outcome(
        "clock_reset",
        "by_hand",
        f"It decided at {format_time(before)}, and decides at {format_time(after)} now. The next "
        "refresh raises the floor to what people signed offline.",
        more={"floor_before": memory.clock_floor, "decided_at": before, "decides_at": after},
    )


def _time(time: datetime) -> str:
    # A system clock may say what is no time of ours.
    return time.isoformat().replace("+00:00", "Z")
