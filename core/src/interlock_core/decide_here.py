"""What this place says to a change, now: room, hold, windows, turn, slot, clinical interlock.

Pure: the answers were asked for by the caller (``facts.Local``). Rules (numbers are those of
``decide``):

14. what is still to be written fits;
15. the hospital does not hold it back, here or by a signed hold (22); its window and the order's
    are both open; this device's turn in the spread has come; each slot that was signed with the
    image holds what was signed for it; and the clinical interlock, asked for this very decision,
    said that now is safe. No answer is a no.

The turn counts from the later of the stage's opening and the windows', and the spread is cut to
the time for which the windows are open together, so that everybody's turn comes (architecture, 5).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from interlock_core.facts import Local, Reason, Refusal
from interlock_core.hold import Hold, holding
from interlock_core.order import Order, Target, Window
from interlock_core.placement import spread_offset
from interlock_core.release import Image
from interlock_core.statement import Opened
from interlock_core.wire import format_time

DAY: Final = 86_400


def no_space(wanted: Target, local: Local) -> Refusal | None:
    """Whether what is still to be written does not fit (14)."""
    needed = wanted.length if local.needed_bytes is None else local.needed_bytes
    if local.free_bytes < needed:
        return Refusal(
            Reason.NO_SPACE, f"{needed} bytes are needed and {local.free_bytes} are free"
        )
    return None


def held(local: Local) -> Refusal | None:
    """Whether the hospital holds updates back."""
    if local.hold is not None:
        return Refusal(Reason.LOCAL_HOLD, f"held here: {local.hold}")
    return None


def site_held(standing: Iterable[Opened[Hold]], site: str | None, now: datetime) -> Refusal | None:
    """Whether a hold that was signed for this site stands now (22)."""
    hold = holding(standing, site, now)
    if hold is None:
        return None
    assert hold.said.until is not None  # a release holds nothing
    return Refusal(
        Reason.SITE_HOLD,
        f"{hold.said.author} holds the site {hold.said.site} until "
        f"{format_time(hold.said.until)}: {hold.said.reason}",
    )


def outside_window(order: Order, local: Local, now: datetime) -> Refusal | None:
    """Whether one of the two windows is closed."""
    second = _second_of_day(now, local.utc_offset)
    for window in _windows(order, local):
        if _since(window, second) >= _length(window):
            return Refusal(
                Reason.OUTSIDE_WINDOW, f"the window is {window.opens} to {window.closes}"
            )
    return None


def not_my_turn(
    order: Opened[Order], device: str, opened: datetime, local: Local, now: datetime
) -> Refusal | None:
    """Whether this device's turn is still to come, once the windows are open.

    Args:
        order: for its spread, its window and its id.
        device: the factory device id.
        opened: when the device's stage opened.
        local: for this place's window and offset.
        now: the time of the decision.
    """
    elapsed = now - opened
    spread = order.said.spread_seconds
    second = _second_of_day(now, local.utc_offset)
    windows = _windows(order.said, local)
    if windows:
        since = min(_since(window, second) for window in windows)
        left = min(_length(window) - _since(window, second) for window in windows)
        elapsed = min(elapsed, timedelta(seconds=since))
        spread = min(spread, since + left - 1)
    turn = timedelta(seconds=spread_offset(order.id, device, spread))
    if elapsed < turn:
        return Refusal(Reason.SPREAD, f"this device's turn is in {turn - elapsed}")
    return None


def slot_differs(image: Image, local: Local) -> Refusal | None:
    """Whether a slot, as read back, holds anything but what was signed for it with the image.

    What is not named there is not asked for: an installer may keep things of its own.
    """
    for slot in image.slots:
        if local.slot_digests.get(slot.name) != slot.sha256:
            return Refusal(
                Reason.SLOT_MISMATCH,
                f"the inactive slot {slot.name} does not hold the wanted image",
            )
    return None


def not_safe(local: Local) -> Refusal | None:
    """Whether the clinical interlock gave anything but a clear yes."""
    answer = local.interlock
    if answer is None:
        return Refusal(Reason.INTERLOCK_NOT_CLEAR, "the clinical interlock was not asked")
    return None if answer.clear else Refusal(Reason.INTERLOCK_NOT_CLEAR, answer.detail)


def _windows(order: Order, local: Local) -> tuple[Window, ...]:
    both: Iterable[Window | None] = (local.window, order.window)
    return tuple(window for window in both if window is not None)


def _second_of_day(now: datetime, utc_offset: timedelta) -> int:
    utc = now.hour * 3600 + now.minute * 60 + now.second
    return (utc + int(utc_offset.total_seconds())) % DAY


def _seconds(time_of_day: str) -> int:
    return int(time_of_day[:2]) * 3600 + int(time_of_day[3:]) * 60


def _length(window: Window) -> int:
    return (_seconds(window.closes) - _seconds(window.opens)) % DAY


def _since(window: Window, second_of_day: int) -> int:
    """Seconds since the window last opened; at least its length when it is closed."""
    return (second_of_day - _seconds(window.opens)) % DAY
