"""Whether a monitor is at work: without one, rollouts stand still (pure).

Rules:

1. When a monitor was heard is the server's word. It can hide that one is dead, and gains nothing by
   it: what stands still goes on standing still.
2. One that was not heard for ``SILENT_AFTER`` is silent. While another one is heard, nobody is
   called.
3. A fleet that has no monitor, and an order that needs none, is no reason to warn.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from interlock_core.api import MonitorList
from interlock_ops.units import show_age, show_time

SILENT_AFTER: Final = timedelta(minutes=15)

_FOLLOWS: Final = "auto gates stay shut and nothing is renewed until one runs"


def silence(told: MonitorList, now: datetime, *, auto: bool) -> str | None:
    """What to say if no monitor is at work, or None (rules 2 and 3).

    Args:
        told: when each was heard.
        now: when.
        auto: whether the order has a gate that only a monitor opens.
    """
    if not told.items:
        return f"The roster has no monitor: {_FOLLOWS}." if auto else None
    heard = {one.name: one.seen_at for one in told.items}
    if any(time is not None and now - time < SILENT_AFTER for time in heard.values()):
        return None
    since = "; ".join(
        f"{name} silent since {show_time(time)}, {show_age(now, time)} ago"
        if time
        else f"{name} never heard"
        for name, time in sorted(heard.items())
    )
    return f"No monitor is at work ({since}): {_FOLLOWS}."


def monitor_facts(told: MonitorList | None, now: datetime) -> list[dict[str, Any]] | None:
    """For machines; None where the server could not say."""
    if told is None:
        return None
    return [
        {
            "name": one.name,
            "seen_at": _time(one.seen_at),
            "signed_at": _time(one.signed_at),
            "silent": one.seen_at is None or now - one.seen_at >= SILENT_AFTER,
        }
        for one in told.items
    ]


def _time(time: datetime | None) -> str | None:
    return None if time is None else show_time(time)
