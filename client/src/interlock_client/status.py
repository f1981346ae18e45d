"""How this gateway stands, from what it keeps; nothing is asked of the network (I/O: reads)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from interlock_client import interlock
from interlock_client.boot import Slot
from interlock_client.context import Context, running
from interlock_client.journal import Deferral
from interlock_client.poll import load_seen, load_trouble
from interlock_core.errors import InterlockError


def status(context: Context) -> dict[str, Any]:
    """Everything that a person or a monitor wants to know, as plain values.

    Raises:
        RefusedError: ``damaged_state``.
        TransientError: something cannot be read.
    """
    settings = context.settings
    memory, journal = context.memory(), context.journal()
    now = context.times.decision_time(memory.clock_floor, memory.last)
    booted, slots = _slots(context)
    present = running(memory, journal, booted) if booted else None
    seen = load_seen(context.state)
    newest = context.decisions().newest()
    floor = memory.order_floor(settings.product, settings.cohort)
    return {
        "device": settings.device,
        "product": settings.product,
        "hardware": settings.hardware,
        "cohort": settings.cohort,
        "state": journal.state.value,
        "running": _plain(present),
        "slots": slots,
        "attempt": _plain(journal.attempt),
        "deferral": deferral(journal.deferral, now),
        "ended": _plain(journal.ended),
        "last_decision": newest and {"at": newest.get("at"), "verdict": newest.get("verdict")},
        "trouble": _plain(load_trouble(context.state)),
        "settled_until": seen.settled.until if seen and seen.settled else None,
        "interlock": interlock.mode(settings),
        "clock_floor": memory.clock_floor,
        "floors": {
            "release": memory.release_floor,
            "highest_confirmed_counter": memory.highest_confirmed_counter,
            "order": floor.seq,
            "roster": memory.roster_seq,
            "metadata": memory.versions,
            "stops": len(floor.stops),
        },
        "rolled_back": [_plain(pair) for pair in memory.rolled_back],
    }


def deferral(waiting: Deferral | None, now: datetime) -> dict[str, Any] | None:
    """Since when an installation waits, how long that is, and for what."""
    if waiting is None:
        return None
    age = max(0, int((now - waiting.since).total_seconds()))
    return {
        "since": waiting.since,
        "age_seconds": age,
        "reason": waiting.reason,
        "detail": waiting.detail,
    }


def _slots(context: Context) -> tuple[Slot | None, dict[str, Any]]:
    try:
        standing = context.installer.standing()
    except InterlockError as e:
        return None, {"booted": None, "trouble": str(e)}
    return standing.booted, {
        "booted": standing.booted,
        "active": standing.active,
        "armed": standing.armed,
        "good": list(standing.good),
    }


def _plain(value: object) -> Any:
    return None if value is None else msgspec.to_builtins(value)
